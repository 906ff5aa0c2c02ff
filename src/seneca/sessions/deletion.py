"""Delete sessions, and subtract them from all totals."""

from collections import Counter, defaultdict
from typing import Final

from seneca.accounts import Learner
from seneca.database import Transaction
from seneca.sessions.rows import SESSION_COLUMNS, SessionRow
from seneca.stats import totals
from seneca.stats.totals import LearnerCourse, TotalsChange

MAX_SESSIONS_PER_BATCH: Final = 500
MAX_RESULTS_PER_BATCH: Final = 20_000

OLDEST = f"""
SELECT {SESSION_COLUMNS} FROM sessions
WHERE bucket = :bucket AND learner_id = :learner_id AND started_at < :before
ORDER BY started_at, id
LIMIT :limit
"""
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

    It locks rows in the same order as an update: the sessions, the learner's totals, the names in order, the course's totals.
    The sessions are deleted last, because the deletion of a course locks the course and then waits for sessions that are being
    deleted.

    Args:
        tx: the transaction.
        learner: the sessions' learner.
        before: delete only sessions that started before this time, in milliseconds since 1970.

    Returns:
        The number of deleted sessions; 0: none is left.

    """
    of_learner = {"bucket": learner.bucket, "learner_id": learner.id}
    changes: defaultdict[str, TotalsChange] = defaultdict(TotalsChange)
    courses: dict[str, str] = {}
    results = 0
    for row in tx.select_for_update(OLDEST, before=before, limit=MAX_SESSIONS_PER_BATCH, **of_learner).fetchall():
        session = SessionRow(*row)
        results += session.results
        if courses and results > MAX_RESULTS_PER_BATCH:
            break
        courses[session.id] = session.course_id
        changes[session.course_id].subtract(session)
    if not courses:
        return 0
    tx.select_for_update(LOCK_TOTALS, values=sorted(changes), **of_learner)
    names: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for session_id, name in tx.fetch_in(DELETE_RESULTS, list(courses), **of_learner):
        names[courses[session_id]][name] += 1
    for course_id, change in sorted(changes.items()):
        totals.subtract(tx, LearnerCourse(learner.bucket, learner.id, course_id), change, names[course_id])
    tx.execute_later(DELETE_SESSIONS, values=list(courses), **of_learner)
    return len(courses)
