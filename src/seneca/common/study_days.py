"""Study days: the calendar day of a session's start in the database's time zone, counted from 1970, and its week."""

import re
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from seneca.common.times import DAY_MS, EARLIEST_MS, LATEST_MS, to_ms

_ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH: Final = date(1970, 1, 1).toordinal()
DAYS_PER_WEEK: Final = 7
MONDAY: Final = 4  # the first one after 1970-01-01, a Thursday
EARLIEST_DAY: Final = date.min.toordinal() - _EPOCH
LATEST_DAY: Final = date.max.toordinal() - _EPOCH


def to_zone(name: str) -> ZoneInfo:
    """Return the time zone of an IANA name, such as ``Europe/London``.

    Raises:
        ValueError: there is no such time zone.

    """
    try:
        zone = ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        zone = None
    if zone is None or not name[0].isupper():  # localtime, posixrules, posix/… and right/… differ between machines
        raise ValueError("must be the name of a time zone, such as Europe/London")
    return zone


def day_of(time: int, zone: ZoneInfo) -> int:
    """Compute the day of a time, in milliseconds since 1970. At the ends of the calendar, where a zone may leave it, it is that of UTC."""
    try:
        return datetime.fromtimestamp(time // 1000, zone).toordinal() - _EPOCH
    except (OverflowError, ValueError):
        return time // DAY_MS


def week_of(day: int) -> int:
    """Compute a day's week, which is its Monday."""
    return day - (day - MONDAY) % DAYS_PER_WEEK


def start_of(day: int, zone: ZoneInfo) -> int:
    """Compute when a day begins, in milliseconds since 1970."""
    if day > LATEST_DAY:
        return LATEST_MS
    midnight = datetime.fromordinal(day + _EPOCH).replace(tzinfo=zone)
    try:
        return min(max(to_ms(midnight), EARLIEST_MS), LATEST_MS)
    except OverflowError:
        return day * DAY_MS


def to_date(day: int) -> str:
    """Write a day as an ISO 8601 date."""
    return date.fromordinal(day + _EPOCH).isoformat()


def from_date(text: str) -> int:
    """Parse an ISO 8601 date, such as ``2026-11-23``.

    Raises:
        ValueError: the broken rule, as a client may see it.

    """
    try:
        if _ISO_DATE.fullmatch(text):
            return date.fromisoformat(text).toordinal() - _EPOCH
    except ValueError:
        pass
    raise ValueError("must be a date such as 2026-11-23")
