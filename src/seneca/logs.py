"""Log lines: structured, one for each request, with ids and route templates but never what a pupil wrote."""

import asyncio
import atexit
import logging
import os
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
import structlog
from structlog.tracebacks import ExceptionDictTransformer

FLUSH_SECONDS: Final = 0.05


class Lines:
    """A logger that writes lines together, a moment later, while an event loop runs; else at once.

    Writing each line by itself costs a tenth of a short request (docs/performance.md).
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: list[bytes] = []
        self._lock = threading.Lock()
        atexit.register(self.write_out)

    def msg(self, line: bytes) -> None:
        """Take a line; it is written soon."""
        with self._lock:
            self._waiting.append(line)
            if len(self._waiting) > 1:
                return
        try:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.write_out)
        except RuntimeError:  # no loop in this thread
            self.write_out()

    info = warning = error = msg

    def write_out(self) -> None:
        """Write what waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        text = b"".join(waiting)
        while text:
            text = text[os.write(self._descriptor, text) :]


class UtcFormatter(logging.Formatter):
    """Lines of others' loggers, with times as in ours."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


def configure(form: Literal["auto", "json", "text"]) -> None:
    """Write log lines to standard error: as JSON, as text, or (auto) as text where a person looks on."""
    colours = sys.stderr.isatty()
    if form == "text" or (form == "auto" and colours):
        plainly = structlog.dev.plain_traceback  # the others show local variables: passwords, answers
        processors: list[Any] = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plainly),
        ]
        factory: Any = structlog.PrintLoggerFactory(sys.stderr)
    else:
        lines = Lines(sys.stderr.fileno())
        processors, factory = [render], lambda *_: lines
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )


_encoder: Final = msgspec.json.Encoder(enc_hook=str)
_tracebacks: Final = structlog.processors.ExceptionRenderer(
    ExceptionDictTransformer(show_locals=False)  # passwords, answers
)


def render(logger: Any, level: str, event: Any) -> bytes:
    """A line of JSON: in one step, since every request pays for it."""
    if "exc_info" in event:
        event = _tracebacks(logger, level, event)
    event["level"] = level
    event["timestamp"] = datetime.now(UTC)
    return _encoder.encode(event) + b"\n"
