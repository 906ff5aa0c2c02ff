"""A clock that can be moved: Python imports this by its name before anything else, where PYTHONPATH leads here.

Everything that reads the time of day in a process of Seneca reads it moved by the seconds in the file that
``MOVED_CLOCK`` names: Seneca itself, PyJWT, and the identifiers of uuid-utils. Where ``STOPPED_CLOCK`` is set it always reads that time
(nanoseconds since 1970). Clocks that only measure (``time.monotonic``) are as they were.
"""

import os
import time
from datetime import datetime, tzinfo
from pathlib import Path

import jwt.api_jwt
import uuid_utils

real_ns, real_uuid7 = time.time_ns, uuid_utils.uuid7


def seconds() -> int:
    """How far the clock is ahead; 0 in a process that only loads Seneca for others."""
    file = os.environ.get("MOVED_CLOCK")
    return int(Path(file).read_text()) if file else 0


def time_ns() -> int:
    if stopped_at := os.environ.get("STOPPED_CLOCK"):
        return int(stopped_at)
    return real_ns() + seconds() * 1_000_000_000


class Moved(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.fromtimestamp(time_ns() / 1_000_000_000, tz)


time.time_ns = time_ns
time.time = lambda: time_ns() / 1_000_000_000
jwt.api_jwt.datetime = Moved
uuid_utils.uuid7 = lambda: real_uuid7(nanoseconds=time_ns())
