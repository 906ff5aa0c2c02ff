"""Find sessions, and read them with their results (pages of sessions: ``lists``)."""

from collections.abc import Sequence
from decimal import Decimal
from operator import attrgetter

from msgspec import Struct

from seneca.accounts import Learner
from seneca.common import scores
from seneca.common.ids import bucket_of
from seneca.common.times import MINUTE_MS, to_iso
from seneca.database import Transaction
from seneca.errors import Ambiguous, SessionNotFound
from seneca.sessions.results import ModuleResult, to_response
from seneca.sessions.rows import RESULT_COLUMNS, SESSION, SESSION_COLUMNS, EndedBy, ResultRow, SessionRow


class Session(Struct, frozen=True, rename="camel"):
    """A session, as clients see it."""

    id: str
    user_id: str
    course_id: str
    course_title: str
    topic: str
    session_start: str
    session_end: str | None
    is_end: bool
    session_points: int | Decimal
    modules_stats: list[ModuleResult]
    last_activity_at: str
    active_minutes: int
    ended_by: EndedBy | None


OF_ANYONE = f"SELECT {SESSION_COLUMNS} FROM sessions WHERE id = :id ORDER BY started_at, learner_id"


def find(
    tx: Transaction,
    learner: Learner | None,
    id: str,
    course_id: str | None = None,
) -> SessionRow:
    """Find a session's row.

    If several learners have chosen the same session id, a query without a learner finds the session that started first.

    Args:
        tx: the transaction.
        learner: the session's learner; None (for administrators): any.
        id: the session id.
        course_id: the session's course; None: any.

    Raises:
        SessionNotFound: there is no such session.

    """
    rows = (
        tx.fetch_all(OF_ANYONE, id=id)
        if learner is None
        else tx.fetch_all(SESSION, bucket=learner.bucket, learner_id=learner.id, session_id=id)
    )
    for row in (SessionRow(*columns) for columns in rows):
        if course_id in (None, row.course_id):
            return row
    raise SessionNotFound


TWO_WITH_ID = f"SELECT {SESSION_COLUMNS} FROM sessions WHERE id = :id LIMIT 2"


def find_only(tx: Transaction, id: str) -> SessionRow:
    """Find the only session with an id.

    Raises:
        SessionNotFound: there is none.
        Ambiguous: several learners have chosen this id.

    """
    rows = tx.fetch_all(TWO_WITH_ID, id=id)
    if not rows:
        raise SessionNotFound
    if len(rows) > 1:
        raise Ambiguous("Several learners have a session with this id. Say whose with ?userId=.")
    return SessionRow(*rows[0])


RESULTS = f"""
SELECT session_id, {RESULT_COLUMNS} FROM results
WHERE bucket = :bucket AND learner_id = :learner_id AND session_id IN (:values)
"""


def results_of(tx: Transaction, learner: Learner, session_ids: Sequence[str]) -> dict[str, list[ResultRow]]:
    """Read the results of some of a learner's sessions, for each session in the order in which modules were first recorded."""
    by_session: dict[str, list[ResultRow]] = {id_: [] for id_ in session_ids}
    for session_id, *columns in tx.fetch_in(RESULTS, session_ids, bucket=learner.bucket, learner_id=learner.id):
        by_session[session_id].append(ResultRow(*columns))
    for results in by_session.values():
        results.sort(key=attrgetter("position"))
    return by_session


def load(tx: Transaction, rows: Sequence[SessionRow]) -> list[Session]:
    """Load the sessions of rows, with their results, in the same order."""
    return [to_session(row, results) for row, results in with_results(tx, rows)]


def with_results(tx: Transaction, rows: Sequence[SessionRow]) -> list[tuple[SessionRow, list[ResultRow]]]:
    """Read the results of rows; returns each row with its results, in the same order."""
    by_learner: dict[Learner, list[str]] = {}
    for row in rows:
        by_learner.setdefault(Learner(row.learner_id, row.bucket), []).append(row.id)
    results = {learner.id: results_of(tx, learner, ids) for learner, ids in by_learner.items()}
    return [(row, results[row.learner_id][row.id]) for row in rows]


def to_session(row: SessionRow, results: Sequence[ResultRow]) -> Session:
    """Convert a row and its results to the form that clients see."""
    return Session(
        id=row.id,
        user_id=row.learner_id,
        course_id=row.course_id,
        course_title=row.course_title,
        topic=row.topic,
        session_start=to_iso(row.started_at),
        session_end=None if row.ended_at is None else to_iso(row.ended_at),
        is_end=row.ended_at is not None,
        session_points=scores.to_points(row.points),
        modules_stats=[to_response(result) for result in results],
        last_activity_at=to_iso(row.last_activity_at),
        active_minutes=row.active_milliseconds // MINUTE_MS,
        ended_by=row.ended_by,
    )


def get(tx: Transaction, learner_id: str | None, id: str) -> Session:
    """Read a session.

    Args:
        tx: the transaction.
        learner_id: the id of the session's learner; None (for administrators): the only one with such a session.
        id: the session id.

    Raises:
        SessionNotFound: there is no such session.
        Ambiguous: ``learner_id`` is None, and several learners have chosen this id.

    """
    if learner_id is None:
        return load(tx, [find_only(tx, id)])[0]
    return load(tx, [find(tx, Learner(learner_id, bucket_of(learner_id, tx.buckets)), id)])[0]
