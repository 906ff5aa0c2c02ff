"""Store courses, line by line, and accounts, many lines together: what must be unique everywhere."""

from collections.abc import Container, Sequence

import msgspec

from seneca import accounts, courses, erasures, password_hashes, text, units
from seneca.database import Row, Transaction
from seneca.errors import Invalid, TitleTaken
from seneca.transfer.lines import Course, User
from seneca.transfer.report import Report

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


STORED = "SELECT id, username, email, role, created_at FROM accounts WHERE id IN (:values)"
TAKEN = "SELECT name_key FROM account_names WHERE name_key IN (:values)"


def store_users(tx: Transaction, users: Sequence[User], report: Report, now: int) -> None:
    """Store accounts, created now where a line does not say when; each is counted, or refused.

    Args:
        tx: the transaction.
        users: so many that asking for all of them at once pays, in the order of their lines.
        report: where each is counted as stored or as there already, or refused: its id, name or address is in use, or its id was an account's that is erased.
        now: milliseconds since 1970.

    """
    ids = [user.id for user in users]
    stored, erased_ids = tx.ask(STORED, values=ids), tx.ask(erasures.AMONG, values=ids)
    names = tx.ask(TAKEN, values=[key for user in users for key in _keys(user).values()])
    there = {row[0]: row[1:] for row in stored.fetchall()}
    taken = {row[0] for row in names.fetchall()}
    erased = {row[0] for row in erased_ids.fetchall()}
    new: list[User] = []
    for user in users:
        try:
            if fields := there.get(user.id):
                _check_as_stored(user, fields)
                report.users.skipped += 1
                continue
            if user.id in erased:
                raise Invalid.field("id", "is an erased account's")
            _check_free(user, taken)
        except Invalid as invalid:
            report.refuse(user.number, invalid.detail)
            continue
        created_at = now if user.created_at is None else user.created_at
        there[user.id] = user.username, user.email, user.role, created_at
        taken.update(_keys(user).values())
        new.append(msgspec.structs.replace(user, created_at=created_at))
    _insert(tx, new)
    report.users.stored += len(new)


def _keys(user: User) -> dict[str, str]:
    """The names that an account takes, by field: of two that are one only the first."""
    return {"username": text.key(user.username), "email": text.key(user.email)}


def _check_as_stored(user: User, stored: Row) -> None:
    username, email, role, created_at = stored
    check_same("username", username, user.username)
    check_same("email", email, user.email)
    check_same("role", role, user.role)
    check_same("createdAt", created_at, user.created_at)


def _check_free(user: User, taken: Container[str]) -> None:
    for field, key in _keys(user).items():
        if key in taken:
            raise Invalid.field(field, "is another account's")


def _insert(tx: Transaction, users: Sequence[User]) -> None:
    """Put accounts in, none of which clashes with what is there: as ``accounts.create`` does, together."""
    if administrators := [user.id for user in users if user.role == "admin"]:
        tx.put(accounts.CLAIM_FIRST, id=administrators[0])
    rows = [msgspec.structs.asdict(user) | {"bucket": units.bucket_of(user.id, tx.buckets)} for user in users]
    tx.put_rows(accounts.INSERT_ACCOUNT, rows)
    names = [{"key": key, "id": user.id} for user in users for key in {*_keys(user).values()}]
    tx.put_rows(accounts.INSERT_NAME, names)
    hashes = [row | {"hash": row["password_hash"]} for row in rows if row["password_hash"] is not None]
    tx.put_rows(password_hashes.PUT, hashes)
    password_hashes.raise_failure_step(tx, [str(row["hash"]) for row in hashes])
    tx.put_rows(NOTE, rows)


def check_same(field: str, stored: object, given: object) -> None:
    """Check that a field that is given (not None) is as it is stored. Raises Invalid."""
    if given is not None and given != stored:
        raise Invalid.field(field, "differs from what is stored under this id")
