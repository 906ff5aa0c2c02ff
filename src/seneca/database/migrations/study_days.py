"""The backfill of migration 0010: the study day and the number of scores of older sessions, and the totals that count them."""

from typing import Final

from seneca.common.study_days import day_of, to_zone
from seneca.database import Transaction
from seneca.database.migrations.backfill import Backfill
from seneca.database.migrations.ranges import Range

TIME_ZONE: Final = "SELECT value FROM properties WHERE name = 'time-zone'"
STARTS: Final = "SELECT bucket, learner_id, id, started_at FROM sessions WHERE {range}"
SET_DAY: Final = """
UPDATE sessions SET study_day = :study_day WHERE bucket = :bucket AND learner_id = :learner_id AND id = :id
"""
SET_SCORES: Final = """
UPDATE sessions SET scores = (
    SELECT count(r.adaptive) + count(r.quiz) FROM results r
    WHERE r.bucket = sessions.bucket AND r.learner_id = sessions.learner_id AND r.session_id = sessions.id)
WHERE {range}
"""


def fill_sessions(tx: Transaction, sessions: Range) -> None:
    """Fill the new columns of sessions."""
    row = tx.fetch_one(TIME_ZONE)
    zone = to_zone("UTC" if row is None else row[0])
    starts = tx.fetch_all(STARTS.format(range=sessions.condition), **sessions.parameters)
    with tx.pipeline():
        for bucket, learner_id, id_, started_at in starts:
            tx.execute_later(SET_DAY, bucket=bucket, learner_id=learner_id, id=id_, study_day=day_of(started_at, zone))
    tx.execute(SET_SCORES.format(range=sessions.condition), **sessions.parameters)


FILL_LEARNER_TOTALS: Final = """
UPDATE learner_totals SET scores = sums.scores
FROM (SELECT learner_id, course_id, sum(scores) AS scores FROM sessions WHERE {range} GROUP BY learner_id, course_id) sums
WHERE learner_totals.bucket = :bucket AND learner_totals.learner_id = sums.learner_id
    AND learner_totals.course_id = sums.course_id
"""
ADD_TO_COURSE_TOTALS: Final = """
UPDATE course_totals SET scores = course_totals.scores + sums.scores
FROM (SELECT course_id, sum(scores) AS scores FROM learner_totals WHERE {range} GROUP BY course_id) sums
WHERE course_totals.bucket = :bucket AND course_totals.course_id = sums.course_id
"""
SUMS: Final = """
count(*), sum(results), sum(scores), sum(points), sum(coalesce(ended_at - started_at, 0)), sum(active_milliseconds),
count(DISTINCT learner_id)
"""
SUM_COLUMNS: Final = ("sessions", "results", "scores", "points", "milliseconds", "active_milliseconds", "learners")
WEEK: Final = "study_day - ((study_day - 4) % 7 + 7) % 7"


def _add_to_days(table: str, key: str) -> str:
    """Make the statement that adds learners' sessions to a table of days."""
    return f"""
INSERT INTO {table} ({key}, {", ".join(SUM_COLUMNS)})
SELECT {key}, {SUMS} FROM sessions WHERE {{range}} GROUP BY {key}
ON CONFLICT ({key}) DO UPDATE SET {", ".join(f"{column} = {table}.{column} + excluded.{column}" for column in SUM_COLUMNS)}
"""


def _add_to_weeks(table: str, key: str) -> str:
    """Make the statement that adds learners to a table of weeks."""
    expressions = key.replace("study_week", WEEK)
    return f"""
INSERT INTO {table} ({key}, learners)
SELECT {expressions}, count(DISTINCT learner_id) FROM sessions WHERE {{range}} GROUP BY {expressions}
ON CONFLICT ({key}) DO UPDATE SET learners = {table}.learners + excluded.learners
"""


ADD_TO_COURSE_DAYS: Final = _add_to_days("course_days", "course_id, study_day, bucket")
ADD_TO_DAYS: Final = _add_to_days("days", "study_day, bucket")
ADD_TO_COURSE_WEEKS: Final = _add_to_weeks("course_weeks", "course_id, study_week, bucket")
ADD_TO_WEEKS: Final = _add_to_weeks("weeks", "study_week, bucket")


def fill_totals(tx: Transaction, learners: Range) -> None:
    """Add a range of learners, with all their sessions, to the totals."""
    for statement in (
        *(FILL_LEARNER_TOTALS, ADD_TO_COURSE_TOTALS),
        *(ADD_TO_COURSE_DAYS, ADD_TO_COURSE_WEEKS, ADD_TO_DAYS, ADD_TO_WEEKS),
    ):
        tx.execute(statement.format(range=learners.condition), **learners.parameters)


BACKFILLS: Final = (
    Backfill("sessions", key=("learner_id", "id"), fill=fill_sessions, has_rowid=True),
    Backfill("learner_totals", key=("learner_id",), fill=fill_totals),
)
