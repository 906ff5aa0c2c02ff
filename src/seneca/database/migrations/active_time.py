"""The backfill of migration 0008: who ended older sessions, how long learners were active in them, and the sums of that."""

from typing import Final

from seneca.database import Transaction
from seneca.database.migrations.backfill import SESSION_RANGE, Sessions, fill_sessions

# Of older sessions only the start and the end are known: they count for at most the idle time, which is 5 minutes in older databases.
FILL_SESSIONS: Final = f"""
UPDATE sessions SET
    ended_by = CASE WHEN ended_at IS NULL THEN NULL ELSE 'learner' END,
    idle_since = started_at,
    active_milliseconds = CASE
        WHEN ended_at IS NULL THEN 0
        WHEN ended_at - started_at < 300000 THEN ended_at - started_at
        ELSE 300000 END
WHERE {SESSION_RANGE}
"""
ADD_TO_LEARNER_TOTALS: Final = f"""
UPDATE learner_totals SET active_milliseconds = learner_totals.active_milliseconds + sums.active
FROM (SELECT learner_id, course_id, sum(active_milliseconds) AS active FROM sessions
      WHERE {SESSION_RANGE} GROUP BY learner_id, course_id) sums
WHERE learner_totals.bucket = :bucket AND learner_totals.learner_id = sums.learner_id
    AND learner_totals.course_id = sums.course_id
"""
ADD_TO_COURSE_TOTALS: Final = f"""
UPDATE course_totals SET active_milliseconds = course_totals.active_milliseconds + sums.active
FROM (SELECT course_id, sum(active_milliseconds) AS active FROM sessions
      WHERE {SESSION_RANGE} GROUP BY course_id) sums
WHERE course_totals.bucket = :bucket AND course_totals.course_id = sums.course_id
"""


def fill(tx: Transaction, sessions: Sessions) -> None:
    """Fill a range of sessions and add its sums to the totals, so that they agree after each step."""
    for statement in (FILL_SESSIONS, ADD_TO_LEARNER_TOTALS, ADD_TO_COURSE_TOTALS):
        tx.execute(statement, **sessions.parameters)


ACTIVE_TIME: Final = fill_sessions(fill)
