"""Requests to record many sessions: each item is decoded for itself, so that a bad one does not affect the others."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Raw, Struct

from seneca.common import json_decoding, text_types
from seneca.common.text_types import Id, Name
from seneca.errors import ApiError, FieldError
from seneca.sessions.batch import BatchItem
from seneca.sessions.device_times import DeviceTimes, time_errors
from seneca.sessions.requests import OptionalTime, recorded_results
from seneca.sessions.results import MAX_MODULES_PER_UPDATE, ModuleUpdate, update_errors

MAX_ITEMS: Final = 500


class BatchSession(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A session to record: a start, an update and an end in one."""

    session_id: Id
    course_identifier: Name
    topic: Name
    session_start: OptionalTime = UNSET
    session_end: OptionalTime = UNSET
    module_stats: Annotated[
        list[ModuleUpdate],
        Meta(max_length=MAX_MODULES_PER_UPDATE, description="Modules with distinct names."),
    ] = []

    def __post_init__(self) -> None:
        """Normalise the names."""
        text_types.normalise_member(self, "course_identifier", "courseIdentifier")
        text_types.normalise_member(self, "topic", "topic")

    def find_errors(self) -> Iterator[FieldError]:
        """Check for repeated names, for scores out of range, and the times."""
        yield from time_errors(self.session_start, "sessionStart")
        yield from time_errors(self.session_end, "sessionEnd")
        yield from update_errors(self.module_stats, "moduleStats")


class SessionBatch(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A request to record sessions of the caller."""

    sessions: Annotated[list[BatchSession], Meta(min_length=1, max_length=MAX_ITEMS)]
    sent_at: OptionalTime = UNSET


class SentItem(Struct, frozen=True):
    """An item as it was sent: its session id, if it has one, and the session or what is wrong with it."""

    session_id: str | None
    session: BatchSession | ApiError


class SentBatch(Struct, frozen=True):
    """A decoded request."""

    items: list[SentItem]
    sent_at: OptionalTime


class _RawBatch(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    sessions: Annotated[list[Raw], Meta(min_length=1, max_length=MAX_ITEMS)]
    sent_at: OptionalTime = UNSET

    def find_errors(self) -> Iterator[FieldError]:
        """Check the time."""
        yield from time_errors(self.sent_at, "sentAt")


class _ItemWithId(Struct, frozen=True, rename="camel"):
    session_id: Any = None


_LIST_START: Final = re.compile(rb'"sessions"\s*:\s*\[')
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_id_decoder: Final = msgspec.json.Decoder(_ItemWithId)


def decode(raw: bytes) -> SentBatch:
    """Decode a request.

    Raises:
        MalformedJson: it is not JSON.
        InvalidInput: it is not a batch, or has no or too many items. What is wrong with an item is in its ``SentItem``.

    """
    # A lone surrogate in one item would make the decoder refuse the whole text. The replacement has the same length.
    text = _SURROGATE.sub(rb"\\u0000", raw)
    raw_batch = json_decoding.decode_types(text, _RawBatch)
    items = list(_find_items(text, [bytes(item) for item in raw_batch.sessions]))
    json_decoding.check(raw_batch, _without_items(raw, items), _RawBatch)
    return SentBatch([_decode_item(raw[item]) for item in items], raw_batch.sent_at)


def _find_items(raw: bytes, items: Sequence[bytes]) -> Iterator[slice]:
    """Find where each item is in the text."""
    list_start = _LIST_START.search(raw)
    position = 0 if list_start is None else list_start.end()
    for item in items:
        start = raw.index(item, position)
        position = start + len(item)
        yield slice(start, position)


def _without_items(raw: bytes, items: Sequence[slice]) -> bytes:
    """The text with 0 in place of each item, to check it without them."""
    starts, stops = [item.start for item in items], [item.stop for item in items]
    return b"0".join(raw[start:stop] for start, stop in zip([0, *stops], [*starts, len(raw)], strict=True))


def _decode_item(raw: bytes) -> SentItem:
    try:
        session = json_decoding.decode(raw, BatchSession, "The session")
    except ApiError as error:
        return SentItem(_session_id(raw), error)
    return SentItem(session.session_id.lower(), session)


def _session_id(raw: bytes) -> str | None:
    """The session id of a bad item, as it was sent, if it is a text."""
    try:
        session_id = _id_decoder.decode(raw).session_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return session_id if isinstance(session_id, str) and len(session_id) <= text_types.MAX_NAME_CHARACTERS else None


def to_items(batch: SentBatch, now: int, max_late_days: int) -> list[BatchItem | ApiError]:
    """Convert a request to what the domain records: in the order of the request, each item or what is wrong with it.

    Args:
        batch: the request.
        now: the time, in milliseconds since 1970.
        max_late_days: how long ago a time may be.

    """
    items: list[BatchItem | ApiError] = []
    for item in batch.items:
        if isinstance(item.session, ApiError):
            items.append(item.session)
            continue
        try:
            items.append(_to_item(item.session, DeviceTimes(batch.sent_at, now, max_late_days)))
        except ApiError as error:
            items.append(error)
    return items


def _to_item(session: BatchSession, times: DeviceTimes) -> BatchItem:
    """Convert a session. A result without a time counts as recorded at the session's end, if it has one. Raises TooLate."""
    started_at = times.convert(session.session_start, "sessionStart")
    ended_at = times.convert(session.session_end, "sessionEnd")
    results = recorded_results(session.module_stats, times, ended_at)
    times.check()
    return BatchItem(
        session_id=session.session_id.lower(),
        course_identifier=session.course_identifier,
        topic=session.topic,
        started_at=started_at,
        ended_at=ended_at,
        results=results,
    )
