"""The filter parameters of lists of sessions. Dates are study days."""

from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo

from seneca.common.ids import parse_uuid
from seneca.common.study_days import from_date, start_of
from seneca.common.text_types import MAX_NAME_CHARACTERS, normalise_name
from seneca.common.times import from_iso
from seneca.errors import FieldError, InvalidInput
from seneca.http.app_state import Request, app_state
from seneca.sessions import time_zone
from seneca.sessions.lists import SessionFilter

PARAMS: Final = ("from", "to", "courseId", "topic", "isEnd", "order")
UTC: Final = ZoneInfo("UTC")
ISO_DATE_CHARACTERS: Final = len("2026-11-23")


async def read_filter(request: Request, params: Mapping[str, str]) -> SessionFilter:
    """Read the filter parameters of a request. Raises InvalidInput as ``to_filter``."""
    has_date = any(is_date(params.get(name, "")) for name in ("from", "to"))
    zone = await app_state(request).database.read(time_zone.get) if has_date else UTC
    return to_filter(params, zone)


def to_filter(params: Mapping[str, str], zone: ZoneInfo) -> SessionFilter:
    """Convert filter parameters.

    Of dates, both are included; of times, ``from`` is included and ``to`` is not.

    Args:
        params: the parameters.
        zone: the database's time zone, if there are dates.

    Raises:
        InvalidInput: parameters are not valid; the error names all of them.

    """
    errors: list[FieldError] = []
    since = _time(params.get("from"), "from", zone, errors)
    until = _time(params.get("to"), "to", zone, errors, days=1)
    is_last_day = is_date(params.get("to", ""))
    if since is not None and until is not None and (since >= until if is_last_day else since > until):
        errors.append(FieldError("to", "must not be before from"))
    course_id = params.get("courseId")
    if course_id is not None and (course_id := parse_uuid(course_id)) is None:
        errors.append(FieldError("courseId", "must be a UUID"))
    topic = params.get("topic")
    if topic is not None and not (topic.strip() and len(topic) <= MAX_NAME_CHARACTERS and "\0" not in topic):
        errors.append(
            FieldError("topic", f"must not be blank, have more than {MAX_NAME_CHARACTERS} characters or contain NUL")
        )
    is_end = _choice(params, "isEnd", {"true": True, "false": False}, errors)
    is_descending = _choice(params, "order", {"asc": False, "desc": True}, errors)
    if errors:
        raise InvalidInput(errors)
    return SessionFilter(
        since=since,
        until=until,
        course_id=course_id,
        topic=None if topic is None else normalise_name(topic),
        is_end=is_end,
        is_descending=bool(is_descending),
    )


def is_date(text: str) -> bool:
    """Whether a parameter is a date and not a time."""
    return len(text) == ISO_DATE_CHARACTERS


def _time(text: str | None, field: str, zone: ZoneInfo, errors: list[FieldError], *, days: int = 0) -> int | None:
    """Parse a time, or a date as the beginning of the day that is some days later: milliseconds since 1970."""
    if text is None:
        return None
    try:
        return start_of(from_date(text) + days, zone) if is_date(text) else from_iso(text)
    except ValueError:
        errors.append(
            FieldError(field, "must be a date such as 2026-11-23, or a time such as 2026-11-23T13:42:55.919Z")
        )
        return None


def _choice(params: Mapping[str, str], name: str, values: Mapping[str, bool], errors: list[FieldError]) -> bool | None:
    """Read a parameter with two values; None if it is missing."""
    text = params.get(name)
    if text is not None and text not in values:
        errors.append(FieldError(name, f"must be {' or '.join(values)}"))
    return None if text is None else values.get(text)
