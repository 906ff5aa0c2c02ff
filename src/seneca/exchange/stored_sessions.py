"""Read the stored sessions of a batch, and compare lines with them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import starmap
from operator import attrgetter

from msgspec.structs import replace

from seneca.database import Transaction
from seneca.exchange.accounts_and_courses import first_difference
from seneca.exchange.session_lines import SessionRecord
from seneca.sessions import activity, queries
from seneca.sessions.rows import PARTS, SESSION_COLUMNS, ResultRow, SessionRow

STORED_SESSIONS = f"""
SELECT {SESSION_COLUMNS} FROM sessions
WHERE bucket = :bucket AND learner_id = :learner_id AND id IN (:values)
"""
Key = tuple[str, str]
"""The key of a session: its learner's id and its own."""


def key_of(row: SessionRow) -> Key:
    """The key of a session."""
    return row.learner_id, row.id


def params_by_learner(bucket: int, keys: Iterable[Key]) -> list[dict[str, object]]:
    """The parameters of a statement about these sessions, which runs once for each learner."""
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for learner_id, id_ in keys:
        ids[learner_id].append(id_)
    return [{"bucket": bucket, "learner_id": learner_id, "values": values} for learner_id, values in ids.items()]


def read_sessions(tx: Transaction, bucket: int, keys: Iterable[Key]) -> dict[Key, SessionRow]:
    """Read the sessions with these keys; missing ones are left out."""
    stored = tx.fetch_each(STORED_SESSIONS, params_by_learner(bucket, keys))
    return {key_of(row): row for rows in stored for row in starmap(SessionRow, rows)}


def read_results(tx: Transaction, bucket: int, keys: Iterable[Key]) -> dict[Key, list[ResultRow]]:
    """Read the results of these sessions, ordered by position."""
    results: dict[Key, list[ResultRow]] = {key: [] for key in keys}
    params = params_by_learner(bucket, results)
    for each, rows in zip(params, tx.fetch_each(queries.RESULTS, params), strict=True):
        for session_id, *columns in rows:
            results[str(each["learner_id"]), session_id].append(ResultRow(*columns))
    for session_results in results.values():
        session_results.sort(key=attrgetter("position"))
    return results


def find_differences(
    tx: Transaction, bucket: int, sessions: Mapping[Key, SessionRecord], stored: Mapping[Key, SessionRow]
) -> dict[Key, str]:
    """The sessions that differ from the stored ones, with the first member that differs.

    Stored results are read only if their number and size equal the line's, so no more is read than the file itself holds.
    """
    differences = {}
    same_size = []
    for key, row in stored.items():
        session = sessions[key]
        if member := _difference(session, row):
            differences[key] = member
        elif session.results:
            same_size.append(key)
    for key, results in read_results(tx, bucket, same_size).items():
        line_results = sessions[key].results
        if results != line_results and results != [
            with_times(line, row) for line, row in zip(line_results, results, strict=True)
        ]:
            differences[key] = "modulesStats"
    return differences


def with_times(line: ResultRow, stored: ResultRow, default: int | None = None) -> ResultRow:
    """The result of a line with the times of its parts.

    Args:
        line: the result.
        stored: the stored result. A part of the line without a time keeps the stored time if it equals the stored part.
        default: the time of another part without one; None: unknown.

    """
    times: dict[str, int | None] = {}
    for part in PARTS:
        text, time = getattr(line, part), getattr(line, f"{part}_at")
        if text is not None and time is None:
            times[f"{part}_at"] = getattr(stored, f"{part}_at") if text == getattr(stored, part) else default
    return replace(line, **times) if times else line


def replace_stored(
    session: SessionRecord, stored: SessionRow, stored_results: Sequence[ResultRow], now: int, idle_ms: int
) -> SessionRecord:
    """Make the record that replaces a stored session: the line, and what it omits from the stored session.

    Args:
        session: the line.
        stored: the stored session.
        stored_results: its results.
        now: the time of the import, in milliseconds since 1970: parts that the line changes without saying when were recorded now.
        idle_ms: the database's idle time.

    """
    row = session.row
    is_reopened = row.ended_at is None and stored.ended_at is not None
    if not row.course_title and row.course_id == stored.course_id:
        row = replace(row, course_title=stored.course_title)
    if not session.has_activity:
        row = replace(row, activity=stored.activity)
    if not session.has_ended_by and row.ended_at == stored.ended_at:
        row = replace(row, ended_by=stored.ended_by)
    if not session.has_idle_since:
        is_start = stored.idle_since == stored.started_at
        row = replace(row, idle_since=now if is_reopened else row.started_at if is_start else stored.idle_since)
    if _is_forgotten(row, stored) and row.last_activity_at == stored.last_activity_at:
        row = replace(row, ended_at=stored.ended_at, ended_by=stored.ended_by)
    intervals = activity.parse(row.activity)
    row = replace(row, active_milliseconds=activity.active_ms(row.started_at, row.ended_at, intervals, idle_ms))
    by_name = {result.module_name: result for result in stored_results}
    results = [
        with_times(result, by_name.get(result.module_name, ResultRow(result.module_name, 0)), now)
        for result in session.results
    ]
    return replace(session, row=row, results=results)


def _difference(session: SessionRecord, stored: SessionRow) -> str | None:
    """The first member of a line that differs. ``idleSince`` is not compared: it changes while nothing happens in a session."""
    line = session.row
    ended_at = (stored.ended_at,) if _is_forgotten(line, stored) else (line.ended_at,)
    return first_difference(
        ("courseId", stored.course_id, line.course_id),
        ("courseTitle", stored.course_title, line.course_title or None),
        ("topic", stored.topic, line.topic),
        ("sessionStart", stored.started_at, line.started_at),
        ("sessionEnd", (stored.ended_at,), ended_at),
        ("endedBy", stored.ended_by, line.ended_by if session.has_ended_by else None),
        ("activity", (stored.activity,), (line.activity,) if session.has_activity else None),
        (
            "modulesStats",
            (stored.results, stored.points, stored.bytes),
            (line.results, line.points, line.bytes),
        ),
    )


def _is_forgotten(line: SessionRow, stored: SessionRow) -> bool:
    """Whether an open session of a file was only ended by a timeout since, which is no other content."""
    return line.ended_at is None and stored.ended_by == "timeout"
