"""Log lines: structured, one for each request, with ids and route templates but never what a pupil wrote."""

import asyncio
import atexit
import os
import sys
from typing import Any, Final, Literal

import msgspec
import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer

FLUSH_SECONDS: Final = 0.05
_encoder: Final = msgspec.json.Encoder(enc_hook=str)


class Lines:
    """A binary file that writes lines together, a moment later, while an event loop runs; else at once.

    Writing each line by itself costs a tenth of a short request (docs/performance.md).
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: list[bytes] = []
        atexit.register(self.write_out)

    def write(self, line: bytes) -> None:
        """Take a line; it is written soon."""
        if self._waiting:
            self._waiting.append(line)
            return
        self._waiting.append(line)
        try:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.write_out)
        except RuntimeError:  # no loop in this thread
            self.write_out()

    def flush(self) -> None:
        """Nothing: lines are written when their moment has come."""

    def write_out(self) -> None:
        """Write what waits."""
        text, self._waiting = b"".join(self._waiting), []
        while text:
            text = text[os.write(self._descriptor, text) :]


def configure(form: Literal["auto", "json", "text"]) -> None:
    """Write log lines to standard error: as JSON, as text, or (auto) as text where a person looks on."""
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if as_text:
        plainly = structlog.dev.plain_traceback  # the others show local variables: passwords, answers
        shared.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plainly))
        factory: Any = structlog.PrintLoggerFactory(sys.stderr)
    else:
        tracebacks = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))  # passwords, answers
        shared += [tracebacks, structlog.processors.JSONRenderer(serializer=_serialize)]
        factory = structlog.BytesLoggerFactory(Lines(sys.stderr.fileno()))  # type: ignore[arg-type]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )


def _serialize(event: dict[str, Any], **_: Any) -> bytes:
    return _encoder.encode(event)
