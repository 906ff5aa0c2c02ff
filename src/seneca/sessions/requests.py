"""The bodies of requests that record study: as clients send them."""

from collections.abc import Iterator, Sequence

from msgspec import UNSET, Struct, UnsetType

from seneca.common import text_types
from seneca.common.text_types import Id, Name
from seneca.errors import FieldError
from seneca.sessions.device_times import DeviceTime, DeviceTimes, time_errors
from seneca.sessions.results import ModuleUpdate, ModuleUpdates, parse_results, update_errors
from seneca.sessions.rows import RecordedResult

OptionalTime = DeviceTime | UnsetType | None


class StartSession(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A request to start a session."""

    course_identifier: Name
    topic: Name
    session_id: Id | UnsetType = UNSET
    session_start: OptionalTime = UNSET
    sent_at: OptionalTime = UNSET

    def __post_init__(self) -> None:
        """Normalise the names."""
        text_types.normalise_member(self, "course_identifier", "courseIdentifier")
        text_types.normalise_member(self, "topic", "topic")

    def find_errors(self) -> Iterator[FieldError]:
        """Check the times."""
        yield from time_errors(self.session_start, "sessionStart")
        yield from time_errors(self.sent_at, "sentAt")

    def started_at(self, now: int, max_late_days: int) -> int:
        """The start in milliseconds since 1970: by the device, or ``now``. Raises TooLate."""
        started_at = _convert(self.session_start, "sessionStart", self.sent_at, now, max_late_days)
        return now if started_at is None else started_at


class UpdateSession(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A request to record results."""

    session_id: Id
    module_stats: ModuleUpdates
    recorded_at: OptionalTime = UNSET
    sent_at: OptionalTime = UNSET

    def find_errors(self) -> Iterator[FieldError]:
        """Check for repeated names, for scores out of range, and the times."""
        yield from update_errors(self.module_stats, "moduleStats")
        yield from time_errors(self.recorded_at, "recordedAt")
        yield from time_errors(self.sent_at, "sentAt")

    def results(self, now: int, max_late_days: int) -> list[RecordedResult]:
        """The results, each with its time: the module's, else the request's.

        Args:
            now: the time, in milliseconds since 1970.
            max_late_days: how long ago a time may be.

        Raises:
            TooLate: a time is too long ago.

        """
        times = DeviceTimes(self.sent_at, now, max_late_days)
        results = recorded_results(self.module_stats, times, times.convert(self.recorded_at, "recordedAt"))
        times.check()
        return results


class EndSession(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A request to end a session."""

    session_id: Id
    session_end: OptionalTime = UNSET
    sent_at: OptionalTime = UNSET

    def find_errors(self) -> Iterator[FieldError]:
        """Check the times."""
        yield from time_errors(self.session_end, "sessionEnd")
        yield from time_errors(self.sent_at, "sentAt")

    def ended_at(self, now: int, max_late_days: int) -> int | None:
        """The end by the device, in milliseconds since 1970; None if the request does not say. Raises TooLate."""
        return _convert(self.session_end, "sessionEnd", self.sent_at, now, max_late_days)


class SessionActivity(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A request to record that the learner was active."""

    session_id: Id
    recorded_at: OptionalTime = UNSET
    sent_at: OptionalTime = UNSET

    def find_errors(self) -> Iterator[FieldError]:
        """Check the times."""
        yield from time_errors(self.recorded_at, "recordedAt")
        yield from time_errors(self.sent_at, "sentAt")

    def at(self, now: int, max_late_days: int) -> int | None:
        """The time by the device, in milliseconds since 1970; None if the request does not say. Raises TooLate."""
        return _convert(self.recorded_at, "recordedAt", self.sent_at, now, max_late_days)


def recorded_results(
    modules: Sequence[ModuleUpdate], times: DeviceTimes, default: int | None, field: str = "moduleStats"
) -> list[RecordedResult]:
    """Convert modules to results with their times.

    Args:
        modules: modules without errors (see ``update_errors``).
        times: converts the modules' own times; the caller checks it.
        default: the time of modules without one.
        field: the name of the member that holds the modules, for errors.

    """
    results = []
    for index, (row, module) in enumerate(zip(parse_results(modules), modules, strict=True)):
        recorded_at = times.convert(module.recorded_at, f"{field}[{index}].recordedAt")
        results.append(RecordedResult(row, default if recorded_at is None else recorded_at))
    return results


def _convert(text: OptionalTime, field: str, sent_at: OptionalTime, now: int, max_late_days: int) -> int | None:
    """Convert the only time of a request. Raises TooLate."""
    times = DeviceTimes(sent_at, now, max_late_days)
    time = times.convert(text, field)
    times.check()
    return time
