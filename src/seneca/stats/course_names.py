"""The distinct module names of each course: their rows, their exact count, and its limit.

The table ``course_names`` has a row for each name and bucket of learners. ``course_totals.names``, summed over the buckets,
counts each name once; the sum is exact because both change only while the course's row is locked.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from seneca.database import MAX_ROWS_PER_STATEMENT, PendingResult, Transaction
from seneca.errors import TooManyNames
from seneca.stats.tables import COURSE_TOTALS

MAX_NAMES: Final = 20_000

NEW_TO_LEARNER_IN_BUCKET = """
SELECT module_name FROM course_names
WHERE bucket = :bucket AND module_name IN (:values) AND course_id = (
    SELECT course_id FROM sessions WHERE bucket = :bucket AND learner_id = :learner_id AND id = :session_id)
AND NOT EXISTS (
    SELECT 1 FROM learner_names l WHERE l.bucket = :bucket AND l.learner_id = :learner_id
        AND l.course_id = course_names.course_id AND l.module_name = course_names.module_name)
ORDER BY module_name
"""
COUNT_IN_COURSE_OF_SESSION = """
SELECT coalesce(sum(names), 0) FROM course_totals WHERE course_id = (
    SELECT course_id FROM sessions WHERE bucket = :bucket AND learner_id = :learner_id AND id = :session_id)
"""
IN_COURSE = "SELECT DISTINCT module_name FROM course_names WHERE course_id = :course_id AND module_name IN (:values)"


class CourseNameLookup:
    """Looks up the number of names of a session's course, and which of some names the learners of the bucket already have.

    Names that are new to the learner, but not to the bucket, are locked, so that they are not deleted before this learner is
    counted.
    """

    def __init__(self, tx: Transaction, names: Sequence[str], **key: object) -> None:
        self._tx = tx
        self._in_bucket = tx.select_for_update(NEW_TO_LEARNER_IN_BUCKET, values=sorted(names), **key)
        self._count = tx.send(COUNT_IN_COURSE_OF_SESSION, **key)

    def new_to_bucket(self, course_id: str, names: Sequence[str]) -> list[str]:
        """Of names that are new to the learner, find those that are new to the bucket: these are passed to ``add``.

        Raises:
            TooManyNames: with them the course would have too many names.

        """
        in_bucket = _texts(self._in_bucket)
        new = sorted(name for name in names if name not in in_bucket)
        if new and (count := _number(self._count)) + len(new) > MAX_NAMES:
            in_course = _texts(self._tx.send(IN_COURSE, course_id=course_id, values=new))
            new_to_course = len(new) - len(in_course)
            if new_to_course and count + new_to_course > MAX_NAMES:
                raise TooManyNames(f"A course holds results under at most {MAX_NAMES:,} distinct module names.")
        return new


LOCK_COURSE = "SELECT id FROM courses WHERE id = :course_id"
LOCK_IN_BUCKET = """
SELECT module_name FROM course_names
WHERE bucket = :bucket AND course_id = :course_id AND module_name IN (:values)
ORDER BY module_name
"""
ADD_NEW_TO_COURSE = f"""
INSERT INTO course_totals (course_id, bucket, {", ".join(COURSE_TOTALS.sum_columns)}, names, name_changes)
SELECT :course_id, :bucket, {", ".join("0" for _ in COURSE_TOTALS.sums)}, :names - count(DISTINCT module_name), :names
FROM course_names WHERE course_id = :course_id AND module_name IN (:values)
{COURSE_TOTALS.on_conflict}"""


def add(tx: Transaction, bucket: int, course_id: str, names: Sequence[str]) -> None:
    """Count names that are about to be added to a bucket: as name changes of the bucket, and as new names of the course.

    A name is new to the course if no bucket has it. Rows added since the ``CourseNameLookup`` are locked before the totals, so
    that all transactions lock in the same order.
    """
    if not names:
        return
    tx.select_for_update(LOCK_COURSE, course_id=course_id)
    tx.select_for_update(LOCK_IN_BUCKET, bucket=bucket, course_id=course_id, values=names)
    for start in range(0, len(names), MAX_ROWS_PER_STATEMENT):
        chunk = names[start : start + MAX_ROWS_PER_STATEMENT]
        tx.execute_later(ADD_NEW_TO_COURSE, bucket=bucket, course_id=course_id, names=len(chunk), values=chunk)


IN_OTHER_BUCKETS = """
SELECT DISTINCT module_name FROM course_names
WHERE course_id = :course_id AND bucket <> :bucket AND module_name IN (:values)
"""


def count_gone(tx: Transaction, bucket: int, course_id: str, names: Sequence[str]) -> int:
    """Lock the course, and count the names that no other bucket has, after the last row of each in this bucket was deleted."""
    if not names:
        return 0
    tx.select_for_update(LOCK_COURSE, course_id=course_id).fetchone()
    return len(names) - len(tx.fetch_in(IN_OTHER_BUCKETS, names, bucket=bucket, course_id=course_id))


# -- in bulk, while no other transaction writes ------------------------------------------------

COUNT = "SELECT coalesce(sum(names), 0) FROM course_totals WHERE course_id = :course_id"
NAMES = "SELECT DISTINCT module_name FROM course_names WHERE course_id = :course_id"


def count(tx: Transaction, course_id: str) -> int:
    """Count the distinct names of a course."""
    return _number(tx.send(COUNT, course_id=course_id))


def all_of(tx: Transaction, course_id: str) -> set[str]:
    """Read all names of a course."""
    return {row[0] for row in tx.stream(NAMES, course_id=course_id)}


def count_new(tx: Transaction, bucket: int, names: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Count, for each course, the names that no other bucket has. They are new to this bucket, and already stored there."""
    known = tx.fetch_each(
        IN_OTHER_BUCKETS,
        [{"course_id": id_, "bucket": bucket, "values": list(values)} for id_, values in names.items()],
    )
    return {id_: len(values) - len(rows) for (id_, values), rows in zip(names.items(), known, strict=True)}


def _texts(result: PendingResult) -> set[str]:
    return {row[0] for row in result.fetchall()}


def _number(result: PendingResult) -> int:
    row = result.fetchone()
    return 0 if row is None else int(row[0])
