"""Store courses, and what storing courses and accounts has in common.

Both must be unique in the whole database. On a cluster they are reference tables, which must be written before any statement
that touches several shards (``tests/test_citus.py``). So every statement here names one bucket.
"""

from collections.abc import Container, Iterable, Sequence

import msgspec
from msgspec import UNSET

from seneca import courses, school
from seneca.courses import marks
from seneca.courses.marks import CourseSettingsChange
from seneca.database import Transaction
from seneca.errors import InvalidInput, TitleTaken
from seneca.exchange.records import CourseRecord
from seneca.exchange.report import Outcome
from seneca.school import Mark

SESSION_IDS = "SELECT id FROM sessions WHERE bucket = :bucket AND id IN (:values)"


def find_session_ids(tx: Transaction, ids: Sequence[str]) -> set[str]:
    """The subset of these ids that sessions have. Queried bucket by bucket: see above."""
    if not ids:
        return set()
    results = tx.fetch_each(SESSION_IDS, [{"bucket": bucket, "values": ids} for bucket in range(tx.buckets)])
    return {row[0] for rows in results for row in rows}


TITLE_IN_USE = "SELECT 1 FROM courses WHERE title = :title AND id <> :id"
REPLACE_COURSE = """
UPDATE courses
SET title = :title, qualification = :qualification, topics = :topics, topics_hash = :topics_hash, search_key = :search_key,
    created_at = :created_at
WHERE id = :id
"""


def store_course(
    tx: Transaction, course: CourseRecord, *, now: int, update: bool, session_ids: Container[str]
) -> Outcome:
    """Store a course.

    Args:
        tx: the transaction.
        course: the course. If its line has no creation time, a new course gets ``now`` and a stored one keeps its own.
        now: milliseconds since 1970.
        update: whether a line that differs from the stored course replaces it.
        session_ids: those of the file's course ids that stored sessions have.

    Raises:
        InvalidInput: its id or its title is already in use, it differs from the stored course, or its pass mark would be above the
            full mark.

    """
    new = course.new
    row = tx.fetch_one(courses.BY_ID, id=course.id)
    if row is None:
        if course.id in session_ids:
            raise InvalidInput.field("id", "is in use by a session")
        _check_marks(tx, course, None, None)
        _insert_course(tx, course, now)
        _store_marks(tx, course)
        return "stored"
    _, title, qualification, topics, created_at = row
    topics_and_modules = msgspec.json.encode(new.topics_and_modules).decode()
    pass_mark, full_mark = marks.stored(tx, course.id) if _has_marks(course) else (None, None)
    member = first_difference(
        ("courseTitle", title, new.course_title),
        ("qualification", qualification, new.qualification),
        ("topicsAndModules", topics, topics_and_modules),
        ("createdAt", created_at, course.created_at),
        ("passMark", pass_mark, course.pass_mark),
        ("fullMark", full_mark, course.full_mark),
    )
    if member is None:
        return "skipped"
    if not update:
        raise difference_error(member)
    if tx.fetch_one(TITLE_IN_USE, title=new.course_title, id=course.id):
        raise InvalidInput.field("courseTitle", "is in use by another course")
    _check_marks(tx, course, pass_mark, full_mark)
    tx.execute_later(
        REPLACE_COURSE,
        id=course.id,
        title=new.course_title,
        qualification=new.qualification,
        topics=topics_and_modules,
        topics_hash=courses.topics_hash(topics_and_modules.encode()),
        search_key=courses.search_key(new.course_title, new.qualification),
        created_at=created_at if course.created_at is None else course.created_at,
    )
    _store_marks(tx, course)
    return "updated"


def _has_marks(course: CourseRecord) -> bool:
    return course.pass_mark is not None or course.full_mark is not None


def _check_marks(tx: Transaction, course: CourseRecord, pass_mark: Mark | None, full_mark: Mark | None) -> None:
    """Check the marks, with those that are stored, before the course is written: of a bad line nothing is stored."""
    if _has_marks(course):
        pass_mark = pass_mark if course.pass_mark is None else course.pass_mark
        full_mark = full_mark if course.full_mark is None else course.full_mark
        marks.check(pass_mark, full_mark, school.get(tx), "fullMark" if course.pass_mark is None else "passMark")


def _store_marks(tx: Transaction, course: CourseRecord) -> None:
    if _has_marks(course):
        own = (UNSET if mark is None else mark for mark in (course.pass_mark, course.full_mark))
        marks.put(tx, course.id, CourseSettingsChange(*own), school.get(tx))


def _insert_course(tx: Transaction, course: CourseRecord, now: int) -> None:
    try:
        courses.insert(tx, course.new, now if course.created_at is None else course.created_at, course.id)
    except TitleTaken:
        raise InvalidInput.field("courseTitle", "is in use by another course") from None


def first_difference(*members: tuple[str, object, object]) -> str | None:
    """The first member whose value on the line differs from the stored one. A value that the line omits (None) does not differ.

    Args:
        members: the name, the stored value and the line's value of each member.

    """
    return next((name for name, stored, value in members if value is not None and value != stored), None)


def difference_error(member: str) -> InvalidInput:
    """The error of a line that differs from the row with its id."""
    return InvalidInput.field(member, "differs from what is stored under this id (--update replaces it)")


CREATE_IMPORTED = "CREATE TEMPORARY TABLE imported_accounts (id TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL)"
"""The accounts that this import creates, with their lines: no earlier line may refer to them."""
INSERT_IMPORTED = "INSERT INTO imported_accounts (id, number) VALUES (:id, :number)"
DROP_IMPORTED = "DROP TABLE imported_accounts"
"""A pooled connection keeps its temporary tables after the import, so this one is dropped."""


def record_imported(tx: Transaction, numbers: Iterable[tuple[str, int]]) -> None:
    """Record the accounts that this import creates, and their lines."""
    tx.insert_many_later(INSERT_IMPORTED, [{"id": id_, "number": number} for id_, number in numbers])
