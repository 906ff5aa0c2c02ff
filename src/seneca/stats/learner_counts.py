"""The numbers of distinct learners by day and by week: a learner counts from the first session with a key to the last.

A transaction that adds, moves or deletes a session has locked the learner's account: no other one changes what is looked up here.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from seneca.common.study_days import DAYS_PER_WEEK, week_of
from seneca.database import Transaction
from seneca.sessions.rows import SessionRow
from seneca.stats.tables import COURSE_DAYS, COURSE_WEEKS, DAYS, WEEKS, TotalsTable

OF_LEARNER: Final = "SELECT 1 FROM sessions WHERE bucket = :bucket AND learner_id = :learner_id"
STUDY_WEEK: Final = "CAST(:study_week AS BIGINT)"
DAYS_OF_WEEK: Final = ", ".join(f"{STUDY_WEEK} + {day}" for day in range(DAYS_PER_WEEK))
SESSIONS_WITH_KEY: Final[Mapping[TotalsTable, str]] = {
    COURSE_WEEKS: f"{OF_LEARNER} AND study_day IN ({DAYS_OF_WEEK}) AND course_id = :course_id",
    WEEKS: f"{OF_LEARNER} AND study_day BETWEEN {STUDY_WEEK} AND {STUDY_WEEK} + {DAYS_PER_WEEK - 1}",
    COURSE_DAYS: f"{OF_LEARNER} AND study_day = :study_day AND course_id = :course_id",
    DAYS: f"{OF_LEARNER} AND study_day = :study_day",
}
"""The learner's sessions with the key of each table: a few searches in an index, however many sessions the learner has."""
TABLES: Final = tuple(SESSIONS_WITH_KEY)


def _add_new(table: TotalsTable) -> str:
    """Make the statement that adds a session without results that is not stored yet, and its learner if they have no other with the key."""
    key = ", ".join(f":{column}" for column in table.key_columns)
    sums = ["1" if column == "sessions" else "0" for column in table.sum_columns]
    exists = f"EXISTS ({SESSIONS_WITH_KEY[table]})"
    learners, condition = (f"CASE WHEN {exists} THEN 0 ELSE 1 END", "true") if sums else ("1", f"NOT {exists}")
    return f"""
INSERT INTO {table.name} ({", ".join(table.columns)})
SELECT {", ".join((key, *sums, learners))} WHERE {condition}
{table.on_conflict}"""


ADD_NEW: Final = tuple(_add_new(table) for table in TABLES)


def add_new(tx: Transaction, session: SessionRow) -> None:
    """Add a session without results that is about to be stored to the tables of days and weeks."""
    for statement in ADD_NEW:
        tx.execute_later(
            statement,
            bucket=session.bucket,
            learner_id=session.learner_id,
            course_id=session.course_id,
            study_day=session.study_day,
            study_week=session.study_week,
        )


MAX_LOOKUPS: Final = 16
"""If a transaction changes more days of learners than this, all their sessions of those weeks are read at once."""
COUNTS: Final[Mapping[TotalsTable, str]] = {
    table: f"SELECT count(*) FROM ({sessions} LIMIT :limit) found" for table, sessions in SESSIONS_WITH_KEY.items()
}
SESSIONS_BY_DAY: Final = """
SELECT learner_id, course_id, study_day, count(*) FROM sessions
WHERE bucket = :bucket AND learner_id IN (:values) AND study_day BETWEEN :first AND :last
GROUP BY learner_id, course_id, study_day
"""

LearnerDay = tuple[int, str, str, int]
"""A bucket, learner, course and day."""


def differences(
    tx: Transaction, changes: Mapping[LearnerDay, int], *, is_stored: bool
) -> Iterator[tuple[TotalsTable, tuple[object, ...], int]]:
    """Compute by how much the numbers of learners change.

    Args:
        tx: the transaction.
        changes: by how much the number of sessions changes.
        is_stored: whether the table ``sessions`` has changed already.

    Returns:
        Tables, the keys of their rows, and the differences.

    """
    if len(changes) <= MAX_LOOKUPS:
        yield from _look_up(tx, changes, is_stored=is_stored)
        return
    by_bucket: defaultdict[int, dict[LearnerDay, int]] = defaultdict(dict)
    for key, change in changes.items():
        if change:
            by_bucket[key[0]][key] = change
    for bucket, of_bucket in sorted(by_bucket.items()):
        days = [day for _, _, _, day in of_bucket]
        rows = tx.fetch_in(
            SESSIONS_BY_DAY,
            sorted({learner_id for _, learner_id, _, _ in of_bucket}),
            bucket=bucket,
            first=week_of(min(days)),
            last=week_of(max(days)) + DAYS_PER_WEEK - 1,
        )
        stored = {(bucket, *row[:3]): row[3] for row in rows}
        yield from _compare(stored, of_bucket, is_stored=is_stored)


def _look_up(
    tx: Transaction, changes: Mapping[LearnerDay, int], *, is_stored: bool
) -> Iterator[tuple[TotalsTable, tuple[object, ...], int]]:
    """Look up each key that changes. It is enough to find one session more than the change: then others have the key."""
    by_key: Counter[tuple[TotalsTable, str, tuple[object, ...]]] = Counter()
    for learner_day, change in changes.items():
        for table, key in _keys(learner_day):
            by_key[table, learner_day[1], key] += change
    lookups = [
        (
            table,
            key,
            change,
            tx.send(
                COUNTS[table],
                learner_id=learner_id,
                limit=abs(change) + 1,
                **dict(zip(table.key_columns, key, strict=True)),
            ),
        )
        for (table, learner_id, key), change in by_key.items()
        if change
    ]
    for table, key, change, result in lookups:
        row = result.fetchone()
        assert row is not None
        had, has = (row[0] - change, row[0]) if is_stored else (row[0], row[0] + change)
        if (had > 0) != (has > 0):
            yield table, key, 1 if has > 0 else -1


def _compare(
    stored: Mapping[LearnerDay, int], changes: Mapping[LearnerDay, int], *, is_stored: bool
) -> Iterator[tuple[TotalsTable, tuple[object, ...], int]]:
    """Compare for each learner which keys have sessions before and after the change."""
    before: dict[str, set[tuple[object, ...]]] = {table.name: set() for table in TABLES}
    after: dict[str, set[tuple[object, ...]]] = {table.name: set() for table in TABLES}
    for learner_day in {*stored, *changes}:
        number, change = stored.get(learner_day, 0), changes.get(learner_day, 0)
        had, has = (number - change, number) if is_stored else (number, number + change)
        for table, key in _keys(learner_day):
            if had > 0:
                before[table.name].add((learner_day[1], *key))
            if has > 0:
                after[table.name].add((learner_day[1], *key))
    for table in TABLES:
        for key in before[table.name] - after[table.name]:
            yield table, key[1:], -1
        for key in after[table.name] - before[table.name]:
            yield table, key[1:], 1


def _keys(learner_day: LearnerDay) -> Iterator[tuple[TotalsTable, tuple[object, ...]]]:
    """The row of each table in which the learner counts."""
    bucket, _, course_id, day = learner_day
    week = week_of(day)
    yield COURSE_WEEKS, (course_id, week, bucket)
    yield WEEKS, (week, bucket)
    yield COURSE_DAYS, (course_id, day, bucket)
    yield DAYS, (day, bucket)
