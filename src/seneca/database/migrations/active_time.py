"""The backfill of migration 0008: who ended older sessions, how long learners were active in them, and the sums of that."""

from typing import Final

from seneca.database import Transaction
from seneca.database.migrations.backfill import Backfill
from seneca.database.migrations.ranges import Range

# Of older sessions only the start and the end are known: they count for at most the idle time, which is 5 minutes in older databases.
FILL_SESSIONS: Final = """
UPDATE sessions SET
    ended_by = CASE WHEN ended_at IS NULL THEN NULL ELSE 'learner' END,
    idle_since = started_at,
    active_milliseconds = CASE
        WHEN ended_at IS NULL THEN 0
        WHEN ended_at - started_at < 300000 THEN ended_at - started_at
        ELSE 300000 END
WHERE {range}
"""
FILL_LEARNER_TOTALS: Final = """
UPDATE learner_totals SET active_milliseconds = sums.active
FROM (SELECT learner_id, course_id, sum(active_milliseconds) AS active FROM sessions
      WHERE {range} GROUP BY learner_id, course_id) sums
WHERE learner_totals.bucket = :bucket AND learner_totals.learner_id = sums.learner_id
    AND learner_totals.course_id = sums.course_id
"""
ADD_TO_COURSE_TOTALS: Final = """
UPDATE course_totals SET active_milliseconds = course_totals.active_milliseconds + sums.active
FROM (SELECT course_id, sum(active_milliseconds) AS active FROM learner_totals
      WHERE {range} GROUP BY course_id) sums
WHERE course_totals.bucket = :bucket AND course_totals.course_id = sums.course_id
"""


def fill_sessions(tx: Transaction, sessions: Range) -> None:
    """Fill the new columns of sessions."""
    tx.execute(FILL_SESSIONS.format(range=sessions.condition), **sessions.parameters)


def fill_totals(tx: Transaction, learners: Range) -> None:
    """Sum the sessions of a range of learners, and add that to the totals of their courses."""
    tx.execute(FILL_LEARNER_TOTALS.format(range=learners.condition), **learners.parameters)
    tx.execute(ADD_TO_COURSE_TOTALS.format(range=learners.condition), **learners.parameters)


BACKFILLS: Final = (
    Backfill("sessions", key=("learner_id", "id"), fill=fill_sessions, has_rowid=True),
    Backfill("learner_totals", key=("learner_id",), fill=fill_totals),
)
