"""Read the stored sessions of a batch, and compare lines with them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import starmap
from operator import attrgetter

from seneca.database import Transaction
from seneca.exchange.accounts_and_courses import first_difference
from seneca.exchange.records import SessionRecord
from seneca.sessions import queries
from seneca.sessions.rows import SESSION_COLUMNS, ResultRow, SessionRow

STORED_SESSIONS = f"""
SELECT {SESSION_COLUMNS} FROM sessions
WHERE bucket = :bucket AND learner_id = :learner_id AND id IN (:values)
"""
MODULE_NAMES = """
SELECT session_id, module_name FROM results
WHERE bucket = :bucket AND learner_id = :learner_id AND session_id IN (:values)
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


def read_module_names(tx: Transaction, bucket: int, keys: Iterable[Key]) -> dict[Key, list[str]]:
    """Read the module names of these sessions' results."""
    names: dict[Key, list[str]] = {key: [] for key in keys}
    params = params_by_learner(bucket, names)
    for each, rows in zip(params, tx.fetch_each(MODULE_NAMES, params), strict=True):
        for session_id, name in rows:
            names[str(each["learner_id"]), session_id].append(name)
    return names


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
        if member := _difference(session.row, row):
            differences[key] = member
        elif session.results:
            same_size.append(key)
    for key, results in read_results(tx, bucket, same_size).items():
        if results != sessions[key].results:
            differences[key] = "modulesStats"
    return differences


def _difference(line: SessionRow, stored: SessionRow) -> str | None:
    return first_difference(
        ("courseId", stored.course_id, line.course_id),
        ("courseTitle", stored.course_title, line.course_title or None),
        ("topic", stored.topic, line.topic),
        ("sessionStart", stored.started_at, line.started_at),
        ("sessionEnd", (stored.ended_at,), (line.ended_at,)),
        (
            "modulesStats",
            (stored.results, stored.points, stored.bytes),
            (line.results, line.points, line.bytes),
        ),
    )
