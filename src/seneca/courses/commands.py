"""Create, change and delete courses, as an administrator."""

import msgspec
from msgspec import UNSET, Raw

from seneca import audit, courses
from seneca.auth.authorisation import Actor, authorise
from seneca.courses import Course, CourseChange, NewCourse
from seneca.database import ForeignKeyViolation, Transaction, UniqueViolation
from seneca.errors import CourseInUse, InvalidInput, PreconditionFailed, TitleTaken


def create(tx: Transaction, actor: Actor, new: NewCourse, now: int) -> Course:
    """Create a course.

    Args:
        tx: the transaction.
        actor: an administrator, or the command line.
        new: the course.
        now: milliseconds since 1970.

    Raises:
        Unauthenticated, Forbidden: the actor is no longer a signed-in administrator.
        TitleTaken: another course has the title.

    """
    authorise(tx, actor, "admin")
    course = courses.insert(tx, new, now)
    audit.record(tx, actor.id, "course.created", course.id, now)
    return course


UPDATE = """
UPDATE courses SET title = :title, qualification = :qualification, topics = :topics, search_key = :search_key,
    topics_hash = :topics_hash
WHERE id = :id
"""


def change(
    tx: Transaction, actor: Actor, identifier: str, course_change: CourseChange, *, if_match: str | None, now: int
) -> Course:
    """Change a course.

    Args:
        tx: the transaction.
        actor: an administrator, or the command line.
        identifier: the course's id or title.
        course_change: the change.
        if_match: the value of ``If-Match``: change the course only if the stored version has one of these entity tags.
        now: milliseconds since 1970.

    Raises:
        Unauthenticated, Forbidden: the actor is no longer a signed-in administrator.
        InvalidInput: the change is empty.
        CourseNotFound: no course has this id or title.
        PreconditionFailed: the stored version is another one.
        TitleTaken: another course has the title.

    """
    authorise(tx, actor, "admin")
    changes = {
        name: value
        for name in ("course_title", "qualification", "topics_and_modules")
        if (value := getattr(course_change, name)) is not UNSET
    }
    if not changes:
        raise InvalidInput.field(
            "",
            "at least one of courseTitle, qualification and topicsAndModules is required",
        )
    if course_change.topics_and_modules is not UNSET:
        changes["topics_and_modules"] = Raw(msgspec.json.encode(course_change.topics_and_modules))
    stored = courses.fetch(courses.send_get(tx, identifier, lock=True))
    course = msgspec.structs.replace(stored, **changes)
    try:
        tx.execute(
            UPDATE,
            id=course.id,
            title=course.course_title,
            qualification=course.qualification,
            topics=bytes(course.topics_and_modules).decode(),
            search_key=courses.search_key(course.course_title, course.qualification),
            topics_hash=courses.topics_hash(bytes(course.topics_and_modules)),
        )
    except UniqueViolation:
        raise TitleTaken from None
    if if_match is not None and not courses.matches(if_match, stored.etag, weakly=False):
        raise PreconditionFailed  # checked last (RFC 9110, 13.2.1); the error rolls the change back
    audit.record(tx, actor.id, "course.changed", course.id, now)
    return course


DELETE = "DELETE FROM courses WHERE id = :id"


def delete(tx: Transaction, actor: Actor, identifier: str, now: int) -> None:
    """Delete a course to which no session refers.

    Args:
        tx: the transaction.
        actor: an administrator, or the command line.
        identifier: the course's id or title.
        now: milliseconds since 1970.

    Raises:
        Unauthenticated, Forbidden: the actor is no longer a signed-in administrator.
        CourseNotFound: no course has this id or title.
        CourseInUse: sessions refer to it.

    """
    authorise(tx, actor, "admin")
    course = courses.get(tx, identifier)
    try:
        tx.execute(DELETE, id=course.id)
    except ForeignKeyViolation:
        raise CourseInUse from None
    audit.record(tx, actor.id, "course.deleted", course.id, now)
