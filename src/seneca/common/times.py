"""Times: stored as whole milliseconds since 1970 (UTC), written as ISO 8601."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Final

from msgspec import Meta

EARLIEST_MS: Final = -62_135_596_800_000  # the year 1, the first that ``datetime`` supports
LATEST_MS: Final = 253_402_300_799_999  # the year 9999

TimeMs = Annotated[int, Meta(ge=EARLIEST_MS, le=LATEST_MS)]
"""A time in milliseconds since 1970."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
_MILLISECOND: Final = timedelta(milliseconds=1)
_ISO_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)", re.ASCII)
_BELOW_MILLISECONDS: Final = re.compile(r"(?<=[.,]\d{3})\d+")


def to_iso(milliseconds: int) -> str:
    """Write milliseconds since 1970 as ISO 8601 in UTC, with milliseconds and ``Z``."""
    day, rest = divmod(milliseconds, DAY_MS)
    seconds, thousandths = divmod(rest, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{_date(day)}T{minutes // 60:02}:{minutes % 60:02}:{second:02}.{thousandths:03}Z"


@lru_cache(4096)
def _date(day: int) -> str:
    """The ISO 8601 date of a day counted from 1970."""
    return (_EPOCH + timedelta(days=day)).date().isoformat()


MAX_REMEMBERED_CHARACTERS: Final = 40
ISO_CHARACTERS: Final = len("2026-11-23T13:42:55.919Z")


def time_rule(text: object) -> str | None:
    """Return the rule of ``from_iso`` that a time breaks, if any. What is not text has another error, or is left out."""
    if isinstance(text, str):
        try:
            from_iso(text)
        except ValueError as error:
            return str(error)
    return None


def from_iso(text: str) -> int:
    """Parse an ISO 8601 time with a zone, such as ``2026-11-23T13:42:55.919Z``, to milliseconds since 1970.

    Finer digits are truncated.

    Raises:
        ValueError: the broken rule, as a client may see it.

    """
    # A request has the same time several times, and each is checked before it is converted.
    return _remembered_from_iso(text) if len(text) <= MAX_REMEMBERED_CHARACTERS else _from_iso(text)


def _from_iso(text: str) -> int:
    if not _ISO_TIME.fullmatch(text):
        raise ValueError("must be an ISO 8601 time with its zone, such as 2026-11-23T13:42:55.919Z")
    try:
        time_ms = to_ms(
            datetime.fromisoformat(text if len(text) == ISO_CHARACTERS else _BELOW_MILLISECONDS.sub("", text))
        )
    except ValueError:
        raise ValueError("must be a time that exists") from None
    if not EARLIEST_MS <= time_ms <= LATEST_MS:
        raise ValueError("must be in the years 1 to 9999, in UTC")
    return time_ms


_remembered_from_iso: Final = lru_cache(1024)(_from_iso)


def to_ms(time: datetime) -> int:
    """Convert an aware ``datetime`` to whole milliseconds since 1970, truncating finer digits."""
    return (time - _EPOCH) // _MILLISECOND
