"""Delete sessions, and subtract them from all totals."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from seneca.accounts import Learner
from seneca.database import Transaction
from seneca.sessions.rows import SESSION_COLUMNS, SessionRow
from seneca.stats import totals
from seneca.stats.totals import LearnerCourse, TotalsChange

MAX_SESSIONS_PER_BATCH: Final = 500
MAX_RESULTS_PER_BATCH: Final = 20_000

OLDEST = """
SELECT id FROM sessions
WHERE bucket = :bucket AND learner_id = :learner_id AND started_at < :before
ORDER BY started_at, id
LIMIT :limit
"""
LOCK = f"""
SELECT {SESSION_COLUMNS} FROM sessions
WHERE bucket = :bucket AND learner_id = :learner_id AND id IN (:values) AND started_at < :before
ORDER BY id
"""
"""In the order in which everybody locks sessions. Starts can be corrected, so they give no fixed order."""
LOCK_TOTALS = """
SELECT course_id FROM learner_totals
WHERE bucket = :bucket AND learner_id = :learner_id AND course_id IN (:values)
ORDER BY course_id
"""
DELETE_RESULTS = """
DELETE FROM results WHERE bucket = :bucket AND learner_id = :learner_id AND session_id IN (:values)
RETURNING session_id, module_name
"""
DELETE_SESSIONS = "DELETE FROM sessions WHERE bucket = :bucket AND learner_id = :learner_id AND id IN (:values)"


def delete_batch(tx: Transaction, learner: Learner, before: int) -> int:
    """Delete one batch of a learner's oldest sessions. Call until it returns 0.

    Args:
        tx: the transaction.
        learner: the sessions' learner.
        before: delete only sessions that started before this time, in milliseconds since 1970.

    Returns:
        The number of deleted sessions; 0: none is left.

    """
    sessions: list[SessionRow] = []
    results = 0
    for session in _lock_oldest(tx, learner, before):
        results += session.results
        if sessions and results > MAX_RESULTS_PER_BATCH:
            break
        sessions.append(session)
    if sessions:
        delete(tx, learner, sessions)
    return len(sessions)


def _lock_oldest(tx: Transaction, learner: Learner, before: int) -> list[SessionRow]:
    """Lock a learner's oldest sessions; none only if none is left."""
    of_learner = {"bucket": learner.bucket, "learner_id": learner.id, "before": before}
    while oldest := tx.fetch_all(OLDEST, limit=MAX_SESSIONS_PER_BATCH, **of_learner):
        rows = tx.select_for_update(LOCK, values=[row[0] for row in oldest], **of_learner).fetchall()
        if rows:
            return [SessionRow(*row) for row in rows]
        # Another transaction deleted or corrected all of them while this one waited for the lock.
    return []


def delete(tx: Transaction, learner: Learner, sessions: Sequence[SessionRow]) -> None:
    """Delete some sessions of a learner, which the caller has locked, as well as the learner's account.

    It locks rows in the same order as an update: the sessions, the learner's totals, the names in order, the course's totals.
    The sessions are deleted last, because the deletion of a course locks the course and then waits for sessions that are being
    deleted.
    """
    of_learner = {"bucket": learner.bucket, "learner_id": learner.id}
    courses = {session.id: session.course_id for session in sessions}
    change = TotalsChange()
    for session in sessions:
        change.subtract(session)
    in_order = sorted({session.course_id for session in sessions})
    tx.select_for_update(LOCK_TOTALS, values=in_order, **of_learner)
    names: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for session_id, name in tx.fetch_in(DELETE_RESULTS, list(courses), **of_learner):
        names[courses[session_id]][name] += 1
    totals.subtract(
        tx,
        change,
        {LearnerCourse(learner.bucket, learner.id, course_id): names[course_id] for course_id in in_order},
    )
    tx.execute_later(DELETE_SESSIONS, values=list(courses), **of_learner)
