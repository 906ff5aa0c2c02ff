"""The filter parameters of lists of sessions."""

from collections.abc import Mapping
from typing import Final

from seneca.common.ids import parse_uuid
from seneca.common.text_types import MAX_NAME_CHARACTERS, normalise_name
from seneca.common.times import DAY_MS, LATEST_MS, from_iso
from seneca.errors import FieldError, InvalidInput
from seneca.sessions.lists import SessionFilter

PARAMS: Final = ("from", "to", "courseId", "topic", "isEnd", "order")
ISO_DATE_CHARACTERS: Final = len("2026-11-23")


def read_filter(params: Mapping[str, str]) -> SessionFilter:
    """Read the filter parameters of a request.

    Dates are days in UTC, and both are included; of times, ``from`` is included and ``to`` is not.

    Raises:
        InvalidInput: parameters are not valid; the error names all of them.

    """
    errors: list[FieldError] = []
    since = _time(params.get("from"), "from", errors)
    until = _time(params.get("to"), "to", errors)
    is_date = until is not None and len(params["to"]) == ISO_DATE_CHARACTERS
    if since is not None and until is not None and since > until + (DAY_MS - 1 if is_date else 0):
        errors.append(FieldError("to", "must not be before from"))
    if until is not None and is_date:
        until = min(until + DAY_MS, LATEST_MS)
    course_id = params.get("courseId")
    if course_id is not None and (course_id := parse_uuid(course_id)) is None:
        errors.append(FieldError("courseId", "must be a UUID"))
    topic = params.get("topic")
    if topic is not None and (len(topic) > MAX_NAME_CHARACTERS or "\0" in topic):
        errors.append(FieldError("topic", f"must have at most {MAX_NAME_CHARACTERS} characters, and none of them NUL"))
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


def _time(text: str | None, field: str, errors: list[FieldError]) -> int | None:
    """Parse a date, as its beginning, or a time: milliseconds since 1970."""
    if text is None:
        return None
    try:
        return from_iso(f"{text}T00:00Z" if len(text) == ISO_DATE_CHARACTERS else text)
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
