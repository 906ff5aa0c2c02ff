"""Active time: how long a learner was active in a session, computed from the times of its events.

Each event counts for a number of idle minutes: active time is the length of the union of the intervals [event, event + idle], cut at
the session's end, and at its last event while it is open. Hence neither the order nor the repetition of events matters.

Stored are the events between the session's start and its end, merged: events at most the idle time apart become one interval,
from the first to the last of them. The start is an event, too; it is not stored here, so that it can be corrected. An event at the end
would add nothing. All times are in milliseconds since 1970.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from seneca.common.times import to_iso
from seneca.errors import SessionFull

MAX_INTERVALS: Final = 500

Interval = tuple[int, int]
"""The first and the last of some events that follow each other within the idle time."""
Intervals = Sequence[Interval]
"""Intervals more than the idle time apart, in order."""

_decoder: Final = msgspec.json.Decoder(list[Interval])


def parse(text: str | None) -> Intervals:
    """Parse stored intervals. None: there are none."""
    return () if text is None else _decoder.decode(text)


def to_text(intervals: Intervals) -> str | None:
    """Make the text to store: JSON, or None if there are no intervals."""
    return msgspec.json.encode(intervals).decode() if intervals else None


def to_iso_pairs(intervals: Intervals) -> list[tuple[str, str]]:
    """Write intervals as pairs of ISO 8601 times."""
    return [(to_iso(first), to_iso(last)) for first, last in intervals]


def add_events(intervals: Intervals, times: Iterable[int], idle_ms: int) -> Intervals:
    """Add events to intervals.

    Args:
        intervals: the stored intervals. They stay unchanged.
        times: the times of the events, in any order.
        idle_ms: the idle time in milliseconds.

    Raises:
        SessionFull: there would be more than ``MAX_INTERVALS`` intervals.

    """
    merged = list(intervals)
    for time in times:
        # All intervals that the event joins: those that end at most the idle time before it, or begin at most that after it.
        start = bisect_left(merged, time - idle_ms, key=_last)
        stop = bisect_right(merged, time + idle_ms, key=_first)
        joined = merged[start:stop]
        merged[start:stop] = [(min(time, joined[0][0]), max(time, joined[-1][1])) if joined else (time, time)]
    if len(merged) > max(MAX_INTERVALS, len(intervals)):
        raise SessionFull(f"A session holds at most {MAX_INTERVALS:,} intervals of activity.")
    return merged


def last_event(started_at: int, intervals: Intervals) -> int:
    """Find the time of the last event of an open session."""
    return max(started_at, intervals[-1][1]) if intervals else started_at


def active_ms(started_at: int, ended_at: int | None, intervals: Intervals, idle_ms: int) -> int:
    """Compute the active time of a session in milliseconds.

    Args:
        started_at: the session's start.
        ended_at: its end; None if it is open.
        intervals: the stored intervals.
        idle_ms: the idle time in milliseconds.

    """
    end = last_event(started_at, intervals) if ended_at is None else ended_at
    # Everything before this time is counted, or before the session.
    counted_until = max(started_at, min(started_at + idle_ms, end))
    active = counted_until - started_at
    for first, last in intervals:
        start, stop = max(first, counted_until), min(last + idle_ms, end)
        if stop > start:
            active += stop - start
            counted_until = stop
    return active


def _first(interval: Interval) -> int:
    return interval[0]


def _last(interval: Interval) -> int:
    return interval[1]
