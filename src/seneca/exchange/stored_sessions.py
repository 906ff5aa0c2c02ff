"""What is stored of the sessions of a batch, and in what a line differs from it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct

from seneca.database import Transaction
from seneca.exchange.accounts_and_courses import first_difference
from seneca.exchange.records import Result, Session
from seneca.sessions import queries
from seneca.stats.totals import LearnerCourse, TotalsDelta

STORED = """
SELECT id, course_id, course_title, topic, started_at, ended_at, results, points, bytes FROM sessions
WHERE bucket = :bucket AND learner_id = :learner_id AND id IN (:values)
"""
MODULE_NAMES = """
SELECT session_id, module_name FROM results
WHERE bucket = :bucket AND learner_id = :learner_id AND session_id IN (:values)
"""

Key = tuple[str, str]
"""A session's: its learner's id, its own."""


class StoredSession(Struct, frozen=True):
    """A row of sessions."""

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
    def difference(self) -> TotalsDelta:
        """What it adds to totals."""
        return TotalsDelta(1, self.results, self.points, milliseconds(self))

    def study(self, bucket: int, learner_id: str) -> LearnerCourse:
        """Whose totals it adds to."""
        return LearnerCourse(bucket, learner_id, self.course_id)


def milliseconds(session: StoredSession | Session) -> int:
    """How long an ended session took."""
    return 0 if session.ended_at is None else session.ended_at - session.started_at


def parameters(bucket: int, keys: Iterable[Key]) -> list[dict[str, object]]:
    """For each learner of these sessions, the parameters of a statement about some of their sessions."""
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for learner_id, id_ in keys:
        ids[learner_id].append(id_)
    return [{"bucket": bucket, "learner_id": learner_id, "values": values} for learner_id, values in ids.items()]


def read_sessions(tx: Transaction, bucket: int, keys: Iterable[Key]) -> dict[Key, StoredSession]:
    """Those of these sessions that are stored."""
    asked = parameters(bucket, keys)
    stored = tx.fetch_each(STORED, asked)
    return {
        (str(each["learner_id"]), row[0]): StoredSession(*row)
        for each, rows in zip(asked, stored, strict=True)
        for row in rows
    }


def read_module_names(tx: Transaction, bucket: int, keys: Iterable[Key]) -> dict[Key, list[str]]:
    """The module names under which these sessions have results."""
    names: dict[Key, list[str]] = {key: [] for key in keys}
    asked = parameters(bucket, names)
    for each, rows in zip(asked, tx.fetch_each(MODULE_NAMES, asked), strict=True):
        for session_id, name in rows:
            names[str(each["learner_id"]), session_id].append(name)
    return names


def read_results(tx: Transaction, bucket: int, keys: Iterable[Key]) -> dict[Key, list[Result]]:
    """The results of these sessions, each session's in the order of their positions."""
    results: dict[Key, list[Result]] = {key: [] for key in keys}
    asked = parameters(bucket, results)
    for each, rows in zip(asked, tx.fetch_each(queries.RESULTS, asked), strict=True):
        for session_id, *columns in rows:
            results[str(each["learner_id"]), session_id].append(tuple(columns))
    for of_session in results.values():
        of_session.sort(key=lambda result: result[1])
    return results


def find_differences(
    tx: Transaction, bucket: int, sessions: Mapping[Key, Session], stored: Mapping[Key, StoredSession]
) -> dict[Key, str]:
    """The sessions that are not what is stored, and of each the first member that differs.

    Results are read only where their number and their size are equal: so no more is read than the lines themselves hold.
    """
    differences = {}
    compared = []
    for key, row in stored.items():
        session = sessions[key]
        if member := _difference(session, row):
            differences[key] = member
        elif session.results:
            compared.append(key)
    for key, results in read_results(tx, bucket, compared).items():
        if results != sessions[key].results:
            differences[key] = "modulesStats"
    return differences


def _difference(session: Session, row: StoredSession) -> str | None:
    results = len(session.results), session.points, session.bytes
    return first_difference(
        ("courseId", row.course_id, session.course_id),
        ("courseTitle", row.course_title, session.course_title),
        ("topic", row.topic, session.topic),
        ("sessionStart", row.started_at, session.started_at),
        ("sessionEnd", (row.ended_at,), (session.ended_at,)),
        ("modulesStats", (row.results, row.points, row.bytes), results),
    )
