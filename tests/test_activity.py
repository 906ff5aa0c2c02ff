"""Active time, against a model that counts the milliseconds of the union one by one."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seneca.errors import SessionFull
from seneca.sessions import activity

MINUTE = 60_000
IDLE = 5 * MINUTE


def count(started_at: int, ended_at: int | None, times: list[int], idle: int) -> int:
    """The model: the set of all milliseconds within the idle time after an event, cut at both ends."""
    events = [started_at, *times]
    end = max(events) if ended_at is None else ended_at
    return len({ms for event in events for ms in range(max(event, started_at), min(event + idle, end))})


small = st.integers(0, 120)


@given(small, st.none() | small, st.lists(small, max_size=12), st.integers(1, 30), st.randoms())
def test_active_time_is_the_union_in_any_order(
    start: int, length: int | None, times: list[int], idle: int, random: Random
) -> None:
    end = None if length is None else start + length
    intervals = activity.add_events([], times, idle)
    repeated = times * 2
    random.shuffle(repeated)
    one_by_one: activity.Intervals = []
    for time in repeated:
        one_by_one = activity.add_events(one_by_one, [time], idle)
    assert one_by_one == intervals
    assert all(first <= last for first, last in intervals)
    assert all(after[0] - before[1] > idle for before, after in pairwise(intervals))
    assert activity.active_ms(start, end, intervals, idle) == count(start, end, times, idle)
    assert list(activity.parse(activity.to_text(intervals))) == intervals


def test_ten_events_a_minute_apart_are_what_they_span() -> None:
    times = [minute * MINUTE for minute in range(1, 11)]
    intervals = activity.add_events([], times, IDLE)
    assert intervals == [(MINUTE, 10 * MINUTE)]
    assert activity.active_ms(0, None, intervals, IDLE) == 10 * MINUTE
    assert activity.active_ms(0, 10 * MINUTE, intervals, IDLE) == 10 * MINUTE


def test_a_tab_left_open_overnight_counts_the_idle_minutes() -> None:
    assert activity.active_ms(0, 9 * 60 * MINUTE, [], IDLE) == IDLE
    assert activity.active_ms(0, None, [], IDLE) == 0
    assert activity.active_ms(0, 2 * MINUTE, [], IDLE) == 2 * MINUTE


def test_events_outside_the_session_do_not_count() -> None:
    intervals = activity.add_events([], [0, 100 * MINUTE], IDLE)
    assert activity.active_ms(50 * MINUTE, 60 * MINUTE, intervals, IDLE) == IDLE
    assert activity.active_ms(2 * MINUTE, 60 * MINUTE, intervals, IDLE) == IDLE


def test_a_session_keeps_at_most_500_intervals() -> None:
    intervals = activity.add_events([], range(0, 500 * 10 * MINUTE, 10 * MINUTE), IDLE)
    assert len(intervals) == activity.MAX_INTERVALS
    assert activity.add_events(intervals, [MINUTE, 4994 * MINUTE], IDLE)[0] == (0, MINUTE)
    with pytest.raises(SessionFull, match="500 intervals"):
        activity.add_events(intervals, [6000 * MINUTE], IDLE)
