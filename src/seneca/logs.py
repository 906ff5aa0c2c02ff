"""Log lines: structured, one for each request, with ids and route templates but never what a pupil wrote."""

import asyncio
import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
import structlog
from structlog.tracebacks import ExceptionDictTransformer

FLUSH_SECONDS: Final = 0.05


class BufferedLogger:
    """A logger that writes lines together, a moment later, while an event loop runs; else at once.

    Writing each line by itself costs a tenth of a short request (docs/performance.md).
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: list[bytes] = []
        self._lock = threading.Lock()
        atexit.register(self.flush)

    def msg(self, line: bytes) -> None:
        """Take a line; it is written soon."""
        with self._lock:
            self._waiting.append(line)
            if len(self._waiting) > 1:
                return
        try:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        except RuntimeError:  # no loop in this thread
            self.flush()

    info = warning = error = msg

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        text = b"".join(waiting)
        while text:
            text = text[os.write(self._descriptor, text) :]


Form = Literal["auto", "json", "text"]


def configure(form: Form) -> Callable[[], None]:
    """Write log lines to standard error: as JSON, as text, or (auto) as text where a person looks on.

    Returns:
        What a worker calls last: it writes the lines that still wait.

    """
    flush: Callable[[], None] = sys.stderr.flush
    if is_text(form):
        processors: list[Any] = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            console_renderer(),
        ]
        factory: Any = structlog.PrintLoggerFactory(sys.stderr)
    else:
        lines = BufferedLogger(sys.stderr.fileno())
        processors, factory, flush = [render], lambda *_: lines, lines.flush
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    logging.captureWarnings(True)  # noqa: FBT003
    return flush


def is_text(form: Form) -> bool:
    """Whether log lines are text."""
    return form == "text" or (form == "auto" and sys.stderr.isatty())


def console_renderer() -> structlog.dev.ConsoleRenderer:
    """What makes a line of text."""
    plainly = structlog.dev.plain_traceback  # the others show local variables: passwords, answers
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plainly)


class Formatter(logging.Formatter):
    """Give lines of the standard library's loggers the shape of ours."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self._console = console_renderer() if is_text(form) else None

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        event: dict[str, Any] = {"event": record.getMessage(), "logger": record.name}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        level = record.levelname.lower()
        if self._console is None:
            return render(None, level, event).decode().rstrip("\n")
        event |= {"level": level, "timestamp": iso(datetime.fromtimestamp(record.created, UTC))}
        return str(self._console(None, level, event))


def iso(moment: datetime) -> str:
    """A time as structlog writes it."""
    return moment.isoformat().replace("+00:00", "Z")


def standard_library(form: Form) -> dict[str, Any]:
    """A configuration of the standard library's logging: Granian's lines, warnings, and whatever else there is."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"ours": {"()": Formatter, "form": form}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "ours", "stream": "ext://sys.stderr"}},
        "loggers": {"_granian": {"level": "INFO"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
    }


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
