"""Times of devices, corrected by their clock's difference to the server's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from seneca.common.times import DAY_MS, EARLIEST_MS, LATEST_MS, to_iso
from seneca.errors import TooLate
from seneca.sessions.device_times import DeviceTimes, time_errors

NOW = 1_795_000_000_000


@given(st.integers(EARLIEST_MS + 40 * DAY_MS, LATEST_MS), st.integers(0, 31 * DAY_MS))
def test_a_wrong_clock_reports_true_times(device_now: int, ago: int) -> None:
    times = DeviceTimes(to_iso(device_now), NOW, 31)
    assert times.convert(to_iso(device_now - ago), "recordedAt") == NOW - ago
    times.check()


def test_without_the_time_of_sending_times_are_those_of_the_server() -> None:
    for sent_at in (None, UNSET):
        times = DeviceTimes(sent_at, NOW, 31)
        assert times.convert(to_iso(NOW - 5), "recordedAt") == NOW - 5
        assert times.convert(UNSET, "recordedAt") is None
        assert times.convert(None, "recordedAt") is None
        times.check()


def test_a_time_in_the_future_is_now() -> None:
    times = DeviceTimes(to_iso(NOW - 1000), NOW, 31)
    assert times.convert(to_iso(NOW), "recordedAt") == NOW
    assert times.convert("9999-12-31T23:59:59.999Z", "recordedAt") == NOW
    times.check()


def test_every_time_that_is_too_late_is_named() -> None:
    times = DeviceTimes(None, NOW, 31)
    times.convert(to_iso(NOW - 31 * DAY_MS), "sessionStart")
    times.convert(to_iso(NOW - 31 * DAY_MS - 1), "recordedAt")
    times.convert("0001-01-01T00:00:00Z", "moduleStats[2].recordedAt")
    with pytest.raises(TooLate) as raised:
        times.check()
    assert [(error.field, error.message) for error in raised.value.errors] == [
        ("recordedAt", "must be at most 31 days ago"),
        ("moduleStats[2].recordedAt", "must be at most 31 days ago"),
    ]
    assert (raised.value.status, raised.value.code) == (400, "too-late")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("yesterday", "must be an ISO 8601 time with its zone"),
        ("2026-11-25T10:00:00", "must be an ISO 8601 time with its zone"),
        ("2026-11-25T10:00:00+99:00", "must be a time that exists"),
        ("2026-02-30T10:00:00Z", "must be a time that exists"),
        ("0001-01-01T00:00:00+01:00", "must be in the years 1 to 9999"),
    ],
)
def test_a_time_has_a_form(text: str, rule: str) -> None:
    (error,) = time_errors(text, "sentAt")
    assert error.field == "sentAt"
    assert error.message.startswith(rule)
    assert [*time_errors(UNSET, "sentAt"), *time_errors(None, "sentAt"), *time_errors(5, "sentAt")] == []
