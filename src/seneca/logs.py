"""Structured logging: one line for each request, with ids and route templates, never the content of a request."""

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
    """A logger that buffers lines for ``FLUSH_SECONDS`` while an event loop runs, and otherwise writes them at once.

    Writing each line separately costs a tenth of a short request (docs/performance.md).
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer: list[bytes] = []
        self._lock = threading.Lock()
        atexit.register(self.flush)

    def msg(self, line: bytes) -> None:
        """Buffer a line."""
        with self._lock:
            self._buffer.append(line)
            if len(self._buffer) > 1:
                return
        try:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        except RuntimeError:  # no loop in this thread
            self.flush()

    info = warning = error = msg

    def flush(self) -> None:
        """Write the buffered lines."""
        with self._lock:
            lines, self._buffer = self._buffer, []
        text = b"".join(lines)
        while text:
            text = text[os.write(self._descriptor, text) :]


LogFormat = Literal["auto", "json", "text"]


def configure(log_format: LogFormat) -> Callable[[], None]:
    """Configure logging to standard error: as JSON, as text, or with ``auto`` as text on a terminal and JSON elsewhere.

    Returns:
        A function that writes the buffered lines. A worker calls it before it exits.

    """
    flush: Callable[[], None] = sys.stderr.flush
    if is_text(log_format):
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


def is_text(log_format: LogFormat) -> bool:
    """Whether log lines are text."""
    return log_format == "text" or (log_format == "auto" and sys.stderr.isatty())


def console_renderer() -> structlog.dev.ConsoleRenderer:
    """Make the renderer of text lines."""
    formatter = structlog.dev.plain_traceback  # the others show local variables: passwords, answers
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=formatter)


class Formatter(logging.Formatter):
    """Render records of the standard library's loggers like structlog's events."""

    def __init__(self, log_format: LogFormat) -> None:
        super().__init__()
        self._console = console_renderer() if is_text(log_format) else None

    def format(self, record: logging.LogRecord) -> str:
        """Render a record as one line, without the line end."""
        event: dict[str, Any] = {"event": record.getMessage(), "logger": record.name}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        level = record.levelname.lower()
        if self._console is None:
            return render(None, level, event).decode().rstrip("\n")
        event |= {"level": level, "timestamp": iso(datetime.fromtimestamp(record.created, UTC))}
        return str(self._console(None, level, event))


def iso(time: datetime) -> str:
    """Format a time as structlog does."""
    return time.isoformat().replace("+00:00", "Z")


def standard_library(log_format: LogFormat) -> dict[str, Any]:
    """Make the configuration of the standard library's logging, which Granian and Python's warnings use."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"ours": {"()": Formatter, "log_format": log_format}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "ours", "stream": "ext://sys.stderr"}},
        "loggers": {"_granian": {"level": "INFO"}},
        "root": {"handlers": ["console"], "level": "WARNING"},
    }


_encoder: Final = msgspec.json.Encoder(enc_hook=str)
_tracebacks: Final = structlog.processors.ExceptionRenderer(
    ExceptionDictTransformer(show_locals=False)  # passwords, answers
)


def render(logger: Any, level: str, event: Any) -> bytes:
    """Render an event as a line of JSON, in a single step because every request does this."""
    if "exc_info" in event:
        event = _tracebacks(logger, level, event)
    event["level"] = level
    event["timestamp"] = datetime.now(UTC)
    return _encoder.encode(event) + b"\n"
