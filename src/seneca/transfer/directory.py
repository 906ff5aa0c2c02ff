"""Store courses and accounts, which must be unique everywhere, one line after the other."""

import msgspec

from seneca import accounts, courses, text
from seneca.database import Transaction
from seneca.errors import Invalid, TitleTaken
from seneca.transfer.lines import Course, User

CREATE_MADE = "CREATE TEMPORARY TABLE made (id TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL)"
"""The courses and accounts that this import makes, each with its line: no line before it may refer to it."""
NOTE = "INSERT INTO made (id, number) VALUES (:id, :number)"

SESSION_WITH_ID = "SELECT 1 FROM sessions WHERE id = :id LIMIT 1"


def store_course(tx: Transaction, course: Course, now: int) -> bool:
    """Store a course, created now where the line does not say when; False: it is there already.

    Raises:
        Invalid: its id or its title is in use for something else.

    """
    new = course.new
    if row := tx.one(courses.BY_ID, id=course.id):
        _, title, qualification, topics, created_at = row
        check_same("courseTitle", title, new.course_title)
        check_same("qualification", qualification, new.qualification)
        check_same("topicsAndModules", topics.encode(), msgspec.json.encode(new.topics_and_modules))
        check_same("createdAt", created_at, course.created_at)
        return False
    if tx.one(SESSION_WITH_ID, id=course.id):
        raise Invalid.field("id", "is a session's")
    try:
        courses.create(tx, new, now if course.created_at is None else course.created_at, course.id)
    except TitleTaken:
        raise Invalid.field("courseTitle", "is another course's") from None
    tx.put(NOTE, id=course.id, number=course.number)
    return True


NAME_TAKEN = "SELECT 1 FROM account_names WHERE name_key = :key"


def store_user(tx: Transaction, user: User, now: int) -> bool:
    """Store an account, created now where the line does not say when; False: it is there already.

    Raises:
        Invalid: its id, name or address is in use for something else.

    """
    stored = tx.ask(accounts.ACCOUNT, id=user.id)
    names = {"username": text.key(user.username), "email": text.key(user.email)}
    holders = {field: tx.ask(NAME_TAKEN, key=key) for field, key in names.items()}
    if row := stored.fetchone():
        _, username, email, role, created_at = row
        check_same("username", username, user.username)
        check_same("email", email, user.email)
        check_same("role", role, user.role)
        check_same("createdAt", created_at, user.created_at)
        return False
    for field, holder in holders.items():
        if holder.fetchone():
            raise Invalid.field(field, "is another account's")
    accounts.create(
        tx,
        id=user.id,
        username=user.username,
        email=user.email,
        role=user.role,
        password_hash=user.password_hash,
        created_at=now if user.created_at is None else user.created_at,
    )
    tx.put(NOTE, id=user.id, number=user.number)
    return True


def check_same(field: str, stored: object, given: object) -> None:
    """Check that a field that is given (not None) is as it is stored. Raises Invalid."""
    if given is not None and given != stored:
        raise Invalid.field(field, "differs from what is stored under this id")
