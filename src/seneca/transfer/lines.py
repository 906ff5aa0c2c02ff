"""The lines of the exchange format: their form on the wire, its checks, and what is left to store.

Nothing here looks at the database: whether a line fits what is stored is ``storing``'s question.
"""

from typing import Annotated, Any, Final, cast
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from seneca import courses, passwords, text, units
from seneca.accounts import Role
from seneca.courses import NewCourse, Topics
from seneca.decoding import decode
from seneca.errors import Invalid
from seneca.sessions.recording import MOST_MODULES, check_room
from seneca.sessions.results import ModuleUpdate, read_results
from seneca.text import Email, Line, Name, Title, Username

MOST_COURSE_BYTES: Final = 1024 * 1024  # of its topics: no course made over HTTP has more

# -- as they are written -----------------------------------------------------------------------


class CourseLine(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
    tag="course",
):
    """A course."""

    id: UUID
    course_title: Title
    qualification: Line
    topics_and_modules: Topics
    created_at: str | None = None


class UserLine(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
    tag="user",
):
    """An account."""

    id: UUID
    username: Username
    email: Email
    role: Role
    password_hash: str | None = None
    created_at: str | None = None


class SessionLine(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
    tag="session",
):
    """A session with its results."""

    id: UUID
    user_id: UUID
    course_id: UUID
    topic: Name
    session_start: str
    is_end: bool
    modules_stats: Annotated[list[ModuleUpdate], Meta(max_length=MOST_MODULES)]
    session_end: str | None = None
    course_title: Title | None = None


# -- as they are stored ------------------------------------------------------------------------


class Course(Struct, frozen=True, array_like=True, tag="c"):
    """A course to store. Here and below, ``number`` is the line's, from 1."""

    number: int
    id: str
    new: NewCourse
    created_at: int | None


class User(Struct, frozen=True, array_like=True, tag="u"):
    """An account to store."""

    number: int
    id: str
    username: str
    email: str
    role: Role
    password_hash: str | None
    created_at: int | None


Result = tuple[str, int, str | None, str | None, str | None, int | None, int | None]
"""The fields of ``results.Stored``, in order."""


class Session(Struct, frozen=True, array_like=True, tag="s"):
    """A session to store: times in milliseconds since 1970, points in thousandths."""

    number: int
    id: str
    learner_id: str
    course_id: str
    course_title: str | None
    topic: str
    started_at: int
    ended_at: int | None
    points: int
    bytes: int
    results: list[Result]


Entry = Course | User | Session


def read(raw: bytes, number: int) -> Entry:
    """Check a line by itself.

    Args:
        raw: its text, in UTF-8.
        number: its number in the file, from 1.

    Raises:
        Malformed: it is not JSON.
        Invalid: it breaks rules; fields and rules are named.
        SessionFull: the session has too many bytes.

    """
    line = decode(raw, cast("type[Any]", CourseLine | UserLine | SessionLine), "The line")
    if isinstance(line, SessionLine):
        return _session(line, number)
    return _course(line, number) if isinstance(line, CourseLine) else _user(line, number)


def _course(line: CourseLine, number: int) -> Course:
    courses.check_topics(line.topics_and_modules)
    if len(msgspec.json.encode(line.topics_and_modules)) > MOST_COURSE_BYTES:
        raise Invalid.field("topicsAndModules", "must have at most 1 MiB")
    new = NewCourse(line.course_title, line.qualification, line.topics_and_modules)
    return Course(number, str(line.id), new, _time(line.created_at, "createdAt"))


def _user(line: UserLine, number: int) -> User:
    text.check_email(line.email)
    if line.password_hash is not None:
        try:
            passwords.check_hash(line.password_hash)
        except ValueError as error:
            raise Invalid.field("passwordHash", str(error)) from None
    return User(
        number,
        str(line.id),
        line.username,
        line.email,
        line.role,
        line.password_hash,
        _time(line.created_at, "createdAt"),
    )


def _session(line: SessionLine, number: int) -> Session:
    started_at = _time(line.session_start, "sessionStart")
    ended_at = _time(line.session_end, "sessionEnd")
    assert started_at is not None  # the type has seen to it
    if not line.is_end:
        ended_at = None
    elif ended_at is None:
        raise Invalid.field("sessionEnd", "is required when isEnd is true")
    elif ended_at < started_at:
        raise Invalid.field("sessionEnd", "must not be before sessionStart")
    results = read_results(line.modules_stats, "modulesStats")
    size = sum(result.bytes for result in results)
    check_room(len(results), size)
    return Session(
        number,
        _text(line.id),
        _text(line.user_id),
        _text(line.course_id),
        line.course_title,
        line.topic,
        started_at,
        ended_at,
        sum(result.points for result in results),
        size,
        [cast("Result", msgspec.structs.astuple(result)) for result in results],
    )


def _text(id: UUID) -> str:
    """As ``str`` has it, which takes several times as long."""
    return cast("str", msgspec.to_builtins(id))


def _time(written: str | None, field: str) -> int | None:
    if written is None:
        return None
    try:
        return units.from_iso(written)
    except ValueError as error:
        raise Invalid.field(field, str(error)) from None
