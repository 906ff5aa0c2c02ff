"""Store courses, line by line, and accounts, many together: what must be unique everywhere.

On a cluster these are reference tables: they are written before, and apart from, whatever touches several shards
(``tests/test_citus.py``). Until then every statement here names one bucket.
"""

from collections.abc import Container, Iterable, Sequence

import msgspec

from seneca import courses
from seneca.database import Transaction
from seneca.errors import InvalidInput, TitleTaken
from seneca.exchange.records import Course
from seneca.exchange.report import Outcome

IDS_OF_SESSIONS = "SELECT id FROM sessions WHERE bucket = :bucket AND id IN (:values)"


def ids_of_sessions(tx: Transaction, ids: Sequence[str]) -> set[str]:
    """Which of these ids are those of sessions, whoever's. Asked bucket by bucket: see above."""
    if not ids:
        return set()
    answers = tx.fetch_each(IDS_OF_SESSIONS, [{"bucket": bucket, "values": ids} for bucket in range(tx.buckets)])
    return {row[0] for rows in answers for row in rows}


TITLE_IN_USE = "SELECT 1 FROM courses WHERE title = :title AND id <> :id"
REPLACE_COURSE = """
UPDATE courses
SET title = :title, qualification = :qualification, topics = :topics, topics_hash = :topics_hash, search_key = :search_key,
    created_at = :created_at
WHERE id = :id
"""


def store_course(tx: Transaction, course: Course, *, now: int, update: bool, session_ids: Container[str]) -> Outcome:
    """Store a course.

    Args:
        tx: the transaction.
        course: the line. Without a time of creation a new course is created now, and a stored one keeps its own.
        now: milliseconds since 1970.
        update: a line that differs from the stored course replaces it.
        session_ids: which of the file's course ids are those of stored sessions.

    Raises:
        InvalidInput: its id or its title is in use for something else.

    """
    new = course.new
    row = tx.fetch_one(courses.BY_ID, id=course.id)
    if row is None:
        if course.id in session_ids:
            raise InvalidInput.field("id", "is a session's")
        try:
            courses.create(tx, new, now if course.created_at is None else course.created_at, course.id)
        except TitleTaken:
            raise InvalidInput.field("courseTitle", "is another course's") from None
        return "stored"
    _, title, qualification, topics, created_at = row
    topics_and_modules = msgspec.json.encode(new.topics_and_modules).decode()
    different = first_difference(
        ("courseTitle", title, new.course_title),
        ("qualification", qualification, new.qualification),
        ("topicsAndModules", topics, topics_and_modules),
        ("createdAt", created_at, course.created_at),
    )
    if different is None:
        return "skipped"
    if not update:
        raise differs(different)
    if tx.fetch_one(TITLE_IN_USE, title=new.course_title, id=course.id):
        raise InvalidInput.field("courseTitle", "is another course's")
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
    return "updated"


def first_difference(*members: tuple[str, object, object]) -> str | None:
    """The first member whose value on the line differs from the stored one; one that the line leaves out (None) does not.

    Args:
        members: of each its name, the stored value, and the line's.

    """
    return next((name for name, stored, value in members if value is not None and value != stored), None)


def differs(member: str) -> InvalidInput:
    """The refusal of a line that is not what is stored under its id."""
    return InvalidInput.field(member, "differs from what is stored under this id (--update replaces it)")


CREATE_IMPORTED = "CREATE TEMPORARY TABLE imported_accounts (id TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL)"
"""The accounts that this import makes, each with its line: no line before it may refer to it."""
INSERT_IMPORTED = "INSERT INTO imported_accounts (id, number) VALUES (:id, :number)"
DROP_IMPORTED = "DROP TABLE imported_accounts"
"""A connection that is pooled outlives the import, and so would its temporary table."""


def note_imported(tx: Transaction, numbers: Iterable[tuple[str, int]]) -> None:
    """Note which accounts this import makes, and on which lines."""
    tx.insert_many_later(INSERT_IMPORTED, [{"id": id_, "number": number} for id_, number in numbers])
