"""Read the stored sessions of a batch, and compare lines with them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct

from seneca.database import Transaction
from seneca.exchange.accounts_and_courses import first_difference
from seneca.exchange.records import Result, SessionRecord
from seneca.sessions import queries
from seneca.stats.totals import LearnerCourse, TotalsDelta

STORED_SESSIONS = """
SELECT id, course_id, course_title, topic, started_at, ended_at, results, points, bytes FROM sessions
WHERE bucket = :bucket AND learner_id = :learner_id AND id IN (:values)
"""
MODULE_NAMES = """
SELECT session_id, module_name FROM results
WHERE bucket = :bucket AND learner_id = :learner_id AND session_id IN (:values)
"""

Key = tuple[str, str]
"""The key of a session: its learner's id and its own."""


class StoredSession(Struct, frozen=True):
    """A row of the table sessions."""

    id: str
    course_id: str
    course_title: str
    topic: str
    started_at: int
    ended_at: int | None
    results: int
    points: int
    bytes: int

    @property
    def delta(self) -> TotalsDelta:
        """The session's contribution to the totals."""
        return TotalsDelta(1, self.results, self.points, duration_ms(self))

    def learner_course(self, bucket: int, learner_id: str) -> LearnerCourse:
        """The key of the totals to which the session contributes."""
        return LearnerCourse(bucket, learner_id, self.course_id)


def duration_ms(session: StoredSession | SessionRecord) -> int:
    """The duration of an ended session; 0 of an open one."""
    return 0 if session.ended_at is None else session.ended_at - session.started_at


def params_by_learner(bucket: int, keys: Iterable[Key]) -> list[dict[str, object]]:
    """The parameters of a statement about these sessions, which runs once for each learner."""
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for learner_id, id_ in keys:
        ids[learner_id].append(id_)
    return [{"bucket": bucket, "learner_id": learner_id, "values": values} for learner_id, values in ids.items()]


def read_sessions(tx: Transaction, bucket: int, keys: Iterable[Key]) -> dict[Key, StoredSession]:
    """Read the sessions with these keys; missing ones are left out."""
    params = params_by_learner(bucket, keys)
    stored = tx.fetch_each(STORED_SESSIONS, params)
    return {
        (str(each["learner_id"]), row[0]): StoredSession(*row)
        for each, rows in zip(params, stored, strict=True)
        for row in rows
    }


def read_module_names(tx: Transaction, bucket: int, keys: Iterable[Key]) -> dict[Key, list[str]]:
    """Read the module names of these sessions' results."""
    names: dict[Key, list[str]] = {key: [] for key in keys}
    params = params_by_learner(bucket, names)
    for each, rows in zip(params, tx.fetch_each(MODULE_NAMES, params), strict=True):
        for session_id, name in rows:
            names[str(each["learner_id"]), session_id].append(name)
    return names


def read_results(tx: Transaction, bucket: int, keys: Iterable[Key]) -> dict[Key, list[Result]]:
    """Read the results of these sessions, ordered by position."""
    results: dict[Key, list[Result]] = {key: [] for key in keys}
    params = params_by_learner(bucket, results)
    for each, rows in zip(params, tx.fetch_each(queries.RESULTS, params), strict=True):
        for session_id, *columns in rows:
            results[str(each["learner_id"]), session_id].append(tuple(columns))
    for session_results in results.values():
        session_results.sort(key=lambda result: result[1])
    return results


def find_differences(
    tx: Transaction, bucket: int, sessions: Mapping[Key, SessionRecord], stored: Mapping[Key, StoredSession]
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
        if results != sessions[key].results:
            differences[key] = "modulesStats"
    return differences


def _difference(session: SessionRecord, row: StoredSession) -> str | None:
    results = len(session.results), session.points, session.bytes
    return first_difference(
        ("courseId", row.course_id, session.course_id),
        ("courseTitle", row.course_title, session.course_title),
        ("topic", row.topic, session.topic),
        ("sessionStart", row.started_at, session.started_at),
        ("sessionEnd", (row.ended_at,), (session.ended_at,)),
        ("modulesStats", (row.results, row.points, row.bytes), results),
    )
