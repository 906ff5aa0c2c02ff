"""A session and its results in memory, and the rules by which starts, updates, ends and activity change them.

Devices report late, repeatedly and in any order. The rules make the outcome independent of that:

- each part of a result keeps the time at which it was recorded, and an older one never replaces a newer one;
- a session keeps its start, and its end unless a later request moves it by more than ``TOLERANCE_MS``;
- active time is a union of intervals (see ``activity``).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from seneca.accounts import Learner
from seneca.common.study_days import day_of
from seneca.courses.topics import CourseHead
from seneca.errors import SessionEnded, SessionFull
from seneca.sessions import activity
from seneca.sessions.rows import RecordedResult, ResultRow, SessionRow

MAX_MODULES: Final = 1000
MAX_BYTES: Final = 4 * 1024 * 1024
TOLERANCE_MS: Final = (
    60_000  # by which repeated requests of a device differ, since its clock is compared again each time
)


class SessionState:
    """A session as one transaction changes it.

    Args:
        row: the stored row, or that of a new session.
        results: the stored results of the modules that will be updated, by name.
        idle_ms: the database's idle time in milliseconds.
        is_new: whether the session is not stored yet.

    """

    def __init__(
        self, row: SessionRow, results: Mapping[str, ResultRow], idle_ms: int, *, is_new: bool = False
    ) -> None:
        self.row = row
        self.stored = None if is_new else row
        self.results = dict(results)
        self.changed: dict[str, ResultRow] = {}
        """The new and changed results, by name."""
        self.added: list[str] = []
        """The names of the new results."""
        self._idle_ms = idle_ms

    def copy(self) -> "SessionState":
        """A copy, to be changed without changing this one."""
        copy = SessionState(self.row, self.results, self._idle_ms)
        copy.stored = self.stored
        copy.changed = dict(self.changed)
        copy.added = list(self.added)
        return copy

    def record(self, updates: Sequence[RecordedResult], now: int, device_end: int | None = None) -> list[ResultRow]:
        """Merge updates into the results, and return the results of these modules.

        Args:
            updates: updates of modules with distinct names.
            now: the time, in milliseconds since 1970.
            device_end: the end that the same request reports: it counts in place of the known one, so that a repeated request is
                accepted or refused as the first was.

        Raises:
            SessionEnded: the session has ended, and an update was recorded after the end.
            SessionFull: the session would hold too many modules, bytes or intervals of activity.

        """
        row = self._reopened(now)
        end = row.ended_at if device_end is None else max(device_end, row.started_at)
        if end is not None and any(
            update.recorded_at is None or update.recorded_at > end + TOLERANCE_MS for update in updates
        ):
            raise SessionEnded(row.ended_at or end)
        unknown_at = row.started_at if row.ended_at is None else row.ended_at
        merged: list[ResultRow] = []
        added: list[str] = []
        points, scores, size = row.points, row.scores, row.bytes
        for update in updates:
            name = update.row.module_name
            recorded_at = None if update.recorded_at is None else max(update.recorded_at, row.started_at)
            stored = self.results.get(name)
            if stored is None:
                result = update.row.as_first(row.results + len(added), now if recorded_at is None else recorded_at)
                added.append(name)
            else:
                points -= stored.points
                scores -= stored.scores
                size -= stored.bytes
                result = stored.merge(update.row, recorded_at, unknown_at=unknown_at, now=now)
            points += result.points
            scores += result.scores
            size += result.bytes
            merged.append(result)
        check_limits(row.results + len(added), size)
        times = {now if update.recorded_at is None else update.recorded_at for update in updates}
        self.row = self._with_changes(
            row, times, results=row.results + len(added), scores=scores, points=points, bytes=size
        )
        for result in merged:
            self.results[result.module_name] = self.changed[result.module_name] = result
        self.added += added
        return merged

    def end(self, recorded_at: int | None, now: int) -> int:
        """End the session for its learner; returns its end.

        Args:
            recorded_at: when it ended by the device, in milliseconds since 1970; None: now.
            now: the time, likewise.

        Raises:
            SessionEnded: it has ended already, and not by a timeout; or the device's end is not later by more than ``TOLERANCE_MS``.

        """
        row = self._reopened(now)
        end = max(now if recorded_at is None else recorded_at, row.started_at)
        if row.ended_at is not None and (
            row.ended_by != "learner" or recorded_at is None or end <= row.ended_at + TOLERANCE_MS
        ):
            raise SessionEnded(row.ended_at)
        self.row = self._with_changes(row, ended_at=end, ended_by="learner")
        return end

    def note_activity(self, recorded_at: int | None, now: int) -> None:
        """Count an event without results. It does not reopen a session.

        Raises:
            SessionEnded: the session ended before the event.
            SessionFull: the session would hold too many intervals of activity.

        """
        row = self.row
        if row.ended_at is not None and (recorded_at is None or recorded_at > row.ended_at + TOLERANCE_MS):
            raise SessionEnded(row.ended_at)
        self.row = self._with_changes(row, [now if recorded_at is None else recorded_at])

    def end_forgotten(self, idle_before: int) -> None:
        """End the session at its last event if that, and its last reopening, are before a time; else note its last event."""
        last = self.row.last_activity_at
        idle_since = max(last, self.row.idle_since)
        if idle_since < idle_before:
            self.row = replace(self.row, ended_at=last, ended_by="timeout")  # the active time ends there already
        else:
            self.row = replace(self.row, idle_since=idle_since)

    def correct(self, started_at: int, ended_at: int | UnsetType | None, *, now: int, zone: ZoneInfo) -> None:
        """Set the times for an administrator. Later requests of devices do not change an end that was set so.

        Args:
            started_at: the start, in milliseconds since 1970.
            ended_at: the end, not before the start; None: reopen; UNSET: unchanged.
            now: the time.
            zone: the database's time zone.

        """
        changes: dict[str, Any] = {}
        # With the same start it stays on its day, even if the rules of the time zone have changed since.
        if started_at != self.row.started_at:
            changes = {"started_at": started_at, "study_day": day_of(started_at, zone)}
        if ended_at is None:
            changes |= {"ended_at": None, "ended_by": None, "idle_since": now}
        elif ended_at is not UNSET:
            changes |= {"ended_at": ended_at, "ended_by": "administrator"}
        self.row = self._with_changes(self.row, **changes)

    def _reopened(self, now: int) -> SessionRow:
        """The row as it is for a request of its learner: a session that ended by a timeout is open again."""
        if self.row.ended_by != "timeout":
            return self.row
        return replace(self.row, ended_at=None, ended_by=None, idle_since=now)

    def _with_changes(self, row: SessionRow, events: Collection[int] = (), **changes: Any) -> SessionRow:
        """The row with changed columns, further events, and the active time that follows from them."""
        intervals = activity.parse(row.activity)
        if events:
            times = [max(time, row.started_at) for time in events]
            intervals = activity.add_events(intervals, times, self._idle_ms)
            changes["activity"] = activity.to_text(intervals)
        started_at, ended_at = changes.get("started_at", row.started_at), changes.get("ended_at", row.ended_at)
        active = activity.active_ms(started_at, ended_at, intervals, self._idle_ms)
        return replace(row, active_milliseconds=active, **changes)


def new_row(
    learner: Learner, id: str, course: CourseHead, topic: str, *, started_at: int, zone: ZoneInfo
) -> SessionRow:
    """The row of a session that starts, at a time in milliseconds since 1970, in the database's time zone."""
    return SessionRow(
        bucket=learner.bucket,
        learner_id=learner.id,
        id=id,
        course_id=course.id,
        course_title=course.title,
        topic=topic,
        started_at=started_at,
        ended_at=None,
        ended_by=None,
        idle_since=started_at,
        activity=None,
        active_milliseconds=0,
        study_day=day_of(started_at, zone),
        results=0,
        scores=0,
        points=0,
        bytes=0,
    )


def check_limits(results: int, size: int) -> None:
    """Check the number of results and the size in bytes that a session would have.

    Raises:
        SessionFull: the session would hold too many modules or bytes.

    """
    if results > MAX_MODULES:
        raise SessionFull(f"A session holds at most {MAX_MODULES:,} modules.")
    if size > MAX_BYTES:
        raise SessionFull("A session holds at most 4 MiB of results.")
