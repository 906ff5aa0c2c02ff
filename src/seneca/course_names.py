"""How many distinct module names a course has results under: counted where a name is new to it, and bounded.

``course_names`` has a row for each name and bucket of learners; ``course_totals.names``, summed over the buckets, counts
each name once. Both change under a lock of the course's row, so that the sum is exact.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from seneca.database import Answer, Transaction
from seneca.errors import TooManyNames

MAX_NAMES: Final = 20_000

IN_BUCKET = """
SELECT module_name FROM course_names
WHERE bucket = :bucket AND course_id = :course_id AND module_name IN (:values)
ORDER BY module_name
"""
LOCK_COURSE = "SELECT id FROM courses WHERE id = :course_id"
IN_COURSE = "SELECT DISTINCT module_name FROM course_names WHERE course_id = :course_id AND module_name IN (:values)"
IN_OTHER_BUCKETS = """
SELECT DISTINCT module_name FROM course_names
WHERE course_id = :course_id AND bucket <> :bucket AND module_name IN (:values)
"""
COUNT = "SELECT coalesce(sum(names), 0) FROM course_totals WHERE course_id = :course_id"


class NewNames(Struct, frozen=True):
    """How many of some names are new to their learner, to the bucket's learners, and to the course."""

    to_learner: int = 0
    to_bucket: int = 0
    to_course: int = 0


NO_NEW_NAMES: Final = NewNames()


def check(tx: Transaction, bucket: int, course_id: str, names: Sequence[str]) -> NewNames:
    """Look which of the names that are new to a learner are also new to the course.

    Names that a learner of the same bucket has are looked up by key, and that is all; for others the course is locked.

    Raises:
        TooManyNames: the course would have too many.

    """
    if not names:
        return NO_NEW_NAMES
    known = _texts(tx.lock(IN_BUCKET, bucket=bucket, course_id=course_id, values=sorted(names)))
    to_bucket = [name for name in names if name not in known]
    if not to_bucket:
        return NewNames(len(names))
    locked = tx.lock(LOCK_COURSE, course_id=course_id)
    in_course = tx.ask(IN_COURSE, course_id=course_id, values=to_bucket)
    count = tx.ask(COUNT, course_id=course_id)
    locked.fetchone()
    known = _texts(in_course)
    to_course = sum(name not in known for name in to_bucket)
    if to_course and _number(count) + to_course > MAX_NAMES:
        raise TooManyNames(f"A course holds results under at most {MAX_NAMES:,} distinct module names.")
    return NewNames(len(names), len(to_bucket), to_course)


def gone(tx: Transaction, bucket: int, course_id: str, names: Sequence[str]) -> int:
    """How many of the names, whose last row in the bucket was removed, are gone from the course: it is locked for that."""
    if not names:
        return 0
    tx.lock(LOCK_COURSE, course_id=course_id).fetchone()
    return len(names) - len(tx.among(IN_OTHER_BUCKETS, names, bucket=bucket, course_id=course_id))


# -- many at once, where nobody else writes ----------------------------------------------------

NAMES = "SELECT DISTINCT module_name FROM course_names WHERE course_id = :course_id"


def count(tx: Transaction, course_id: str) -> int:
    """How many distinct names a course has."""
    return _number(tx.ask(COUNT, course_id=course_id))


def all_of(tx: Transaction, course_id: str) -> set[str]:
    """Every name of a course."""
    return {row[0] for row in tx.rows(NAMES, course_id=course_id)}


def count_new(tx: Transaction, bucket: int, names: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many of these names are new to each course, of those that are new to a bucket (and stored there already)."""
    known = tx.each(
        IN_OTHER_BUCKETS,
        [{"course_id": id_, "bucket": bucket, "values": list(values)} for id_, values in names.items()],
    )
    return {id_: len(values) - len(rows) for (id_, values), rows in zip(names.items(), known, strict=True)}


def _texts(answer: Answer) -> set[str]:
    return {row[0] for row in answer.fetchall()}


def _number(answer: Answer) -> int:
    row = answer.fetchone()
    return 0 if row is None else int(row[0])
