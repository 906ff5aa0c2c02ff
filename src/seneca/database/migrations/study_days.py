"""The backfill of migration 0010: the study day and the number of scores of older sessions, and the totals that count them."""

from typing import Final

from seneca.common.study_days import day_of, to_zone
from seneca.database import Transaction
from seneca.database.migrations.backfill import SESSION_RANGE, Sessions, fill_sessions

TIME_ZONE: Final = "SELECT value FROM properties WHERE name = 'time-zone'"
STARTS: Final = f"SELECT learner_id, id, started_at FROM sessions WHERE {SESSION_RANGE}"
SET_DAY: Final = """
UPDATE sessions SET study_day = :study_day WHERE bucket = :bucket AND learner_id = :learner_id AND id = :id
"""
SET_SCORES: Final = f"""
UPDATE sessions SET scores = (
    SELECT count(r.adaptive) + count(r.quiz) FROM results r
    WHERE r.bucket = sessions.bucket AND r.learner_id = sessions.learner_id AND r.session_id = sessions.id)
WHERE {SESSION_RANGE}
"""
ADD_TO_LEARNER_TOTALS: Final = f"""
UPDATE learner_totals SET scores = learner_totals.scores + sums.scores
FROM (SELECT learner_id, course_id, sum(scores) AS scores FROM sessions WHERE {SESSION_RANGE} GROUP BY learner_id, course_id) sums
WHERE learner_totals.bucket = :bucket AND learner_totals.learner_id = sums.learner_id
    AND learner_totals.course_id = sums.course_id
"""
ADD_TO_COURSE_TOTALS: Final = f"""
UPDATE course_totals SET scores = course_totals.scores + sums.scores
FROM (SELECT course_id, sum(scores) AS scores FROM sessions WHERE {SESSION_RANGE} GROUP BY course_id) sums
WHERE course_totals.bucket = :bucket AND course_totals.course_id = sums.course_id
"""

HAS_MORE: Final = """
SELECT 1 FROM sessions WHERE bucket = :bucket AND (learner_id, id) > (:last_learner, :last_id) LIMIT 1
"""
SUMS: Final = """
count(*), sum(results), sum(scores), sum(points), sum(coalesce(ended_at - started_at, 0)), sum(active_milliseconds),
count(DISTINCT learner_id)
"""
SUM_COLUMNS: Final = "sessions, results, scores, points, milliseconds, active_milliseconds, learners"
WEEK: Final = "study_day - ((study_day - 4) % 7 + 7) % 7"
INSERT_COURSE_DAYS: Final = f"""
INSERT INTO course_days (course_id, study_day, bucket, {SUM_COLUMNS})
SELECT course_id, study_day, bucket, {SUMS} FROM sessions WHERE bucket = :bucket GROUP BY course_id, study_day, bucket
"""
INSERT_COURSE_WEEKS: Final = f"""
INSERT INTO course_weeks (course_id, study_week, bucket, learners)
SELECT course_id, {WEEK}, bucket, count(DISTINCT learner_id) FROM sessions WHERE bucket = :bucket
GROUP BY course_id, {WEEK}, bucket
"""
INSERT_DAYS: Final = f"""
INSERT INTO days (study_day, bucket, {SUM_COLUMNS})
SELECT study_day, bucket, {SUMS} FROM sessions WHERE bucket = :bucket GROUP BY study_day, bucket
"""
INSERT_WEEKS: Final = f"""
INSERT INTO weeks (study_week, bucket, learners)
SELECT {WEEK}, bucket, count(DISTINCT learner_id) FROM sessions WHERE bucket = :bucket GROUP BY {WEEK}, bucket
"""


def fill(tx: Transaction, sessions: Sessions) -> None:
    """Fill a range of sessions, add its scores to the totals and, after the last range of a bucket, count its days and weeks."""
    row = tx.fetch_one(TIME_ZONE)
    zone = to_zone("UTC" if row is None else row[0])
    starts = tx.fetch_all(STARTS, **sessions.parameters)
    with tx.pipeline():
        for learner_id, id_, started_at in starts:
            day = day_of(started_at, zone)
            tx.execute_later(SET_DAY, bucket=sessions.bucket, learner_id=learner_id, id=id_, study_day=day)
    for statement in (SET_SCORES, ADD_TO_LEARNER_TOTALS, ADD_TO_COURSE_TOTALS):
        tx.execute(statement, **sessions.parameters)
    if tx.fetch_one(HAS_MORE, **sessions.parameters) is None:
        for statement in (INSERT_COURSE_DAYS, INSERT_COURSE_WEEKS, INSERT_DAYS, INSERT_WEEKS):
            tx.execute(statement, bucket=sessions.bucket)


STUDY_DAYS: Final = fill_sessions(fill)
