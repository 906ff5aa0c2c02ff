"""The units that are stored, and how they are written: times, scores, identifiers.

Times are stored as whole milliseconds since 1970 (UTC), scores as whole thousandths,
identifiers as lower-case UUID text. On the wire they are ISO 8601, plain numbers, and UUIDs.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Annotated, Final, cast
from zlib import crc32

import uuid_utils
from msgspec import Meta

MAX_POINTS: Final = 1_000_000
EARLIEST: Final = -62_135_596_800_000  # the year 1, as far back as ``datetime`` goes
LATEST: Final = 253_402_300_799_999  # the year 9999

Moment = Annotated[int, Meta(ge=EARLIEST, le=LATEST)]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = 86_400_000  # milliseconds
_MILLISECOND: Final = timedelta(milliseconds=1)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)", re.ASCII)
_FINER: Final = re.compile(r"(?<=[.,]\d{3})\d+")
_THOUSANDTH: Final = Decimal("0.001")
_HALF_EVEN: Final = Context(prec=20, rounding=ROUND_HALF_EVEN)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)  # 32 digits without hyphens are none


def new_id() -> str:
    """A fresh identifier: a UUID of version 7 (RFC 9562), which sorts by time of creation."""
    return str(uuid_utils.uuid7())


def identifier(text: str) -> str | None:
    """The stored form of a UUID in its usual 36-character form, or None if it is not one."""
    lowered = text.lower()
    return lowered if _UUID.fullmatch(lowered) else None


def bucket_of(id: str, buckets: int) -> int:
    """The bucket, 0 to ``buckets - 1``, in which everything about an account (or another identifier) is kept.

    CRC-32 of the identifier's text, modulo the number of buckets. Both are fixed when a
    database is created: changing either would lose sight of what is stored.
    """
    return crc32(id.encode()) % buckets


def iso(milliseconds: int) -> str:
    """ISO 8601 in UTC with milliseconds and ``Z``, of milliseconds since 1970."""
    day, rest = divmod(milliseconds, _DAY)
    seconds, thousandths = divmod(rest, 1000)
    minutes, second = divmod(seconds, 60)
    return f"{_date(day)}T{minutes // 60:02}:{minutes % 60:02}:{second:02}.{thousandths:03}Z"


@lru_cache(4096)
def _date(day: int) -> str:
    """The date, ISO 8601, of a day counted from 1970."""
    return (_EPOCH + timedelta(days=day)).date().isoformat()


def from_iso(text: str) -> int:
    """Milliseconds since 1970 of an ISO 8601 time with a zone, such as ``2026-11-23T13:42:55.919Z``; finer parts are cut.

    Raises:
        ValueError: with the rule that was broken, ready to be shown.

    """
    if not _TIME.fullmatch(text):
        raise ValueError("must be an ISO 8601 time with its zone, such as 2026-11-23T13:42:55.919Z")
    try:
        moment = milliseconds(datetime.fromisoformat(_FINER.sub("", text)))
    except ValueError:
        raise ValueError("must be a time that exists") from None
    if not EARLIEST <= moment <= LATEST:
        raise ValueError("must be in the years 1 to 9999, in UTC")
    return moment


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970 of an aware ``datetime`` (finer parts are cut)."""
    return (moment - _EPOCH) // _MILLISECOND


def check_score(score: object) -> None:
    """Check a score as the decoder makes it of a JSON number: an ``int``, or a ``Decimal`` where it had a fraction or an exponent.

    Raises:
        ValueError: with the rule that was broken, ready to be shown.

    """
    if type(score) is not int and not isinstance(score, Decimal):
        raise ValueError("must be a number")
    if not -MAX_POINTS <= score <= MAX_POINTS:
        raise ValueError("must be from -1,000,000 to 1,000,000")


def thousandths(score: object) -> int:
    """A score in whole thousandths: rounded half to even, from its exact decimals. Raises as ``check_score`` does."""
    check_score(score)
    if isinstance(score, Decimal):
        return int(_HALF_EVEN.quantize(score, _THOUSANDTH).scaleb(3))
    return cast("int", score) * 1000


def points(thousandths: int) -> int | Decimal:
    """The number that is shown for a sum of thousandths: exact, and whole where it is whole."""
    whole, rest = divmod(thousandths, 1000)
    return whole if rest == 0 else Decimal(thousandths).scaleb(-3).normalize()


def mean(thousandths: int, results: int) -> int | float:
    """The mean over module results of (adaptive + quiz) / 2, from their sum in thousandths.

    Python divides two integers to the nearest double, so no rounding happens before the last.
    """
    if results == 0:
        return 0
    value = thousandths / (2000 * results)
    return int(value) if value.is_integer() else value
