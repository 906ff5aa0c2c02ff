"""The lines of the exchange format: their form on the wire, its checks, and what is left to store.

Nothing here looks at the database: whether a line fits what is stored is ``storing``'s question.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Final, cast

import msgspec
from msgspec import Meta, Struct, UnsetType

from seneca import accounts, courses
from seneca.accounts import Role
from seneca.auth import passwords
from seneca.common import text_types
from seneca.common.json_decoding import decode
from seneca.common.text_types import Email, Id, Line, Name, Title, Username
from seneca.common.times import from_iso
from seneca.courses import NewCourse, Topics
from seneca.errors import FieldError, InvalidInput
from seneca.sessions.commands import MAX_MODULES, check_limits
from seneca.sessions.results import ModuleUpdate, parse_results, result_errors

MAX_COURSE_BYTES: Final = 1024 * 1024  # of its topics: no course made over HTTP has more

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

    id: Id
    course_title: Title
    qualification: Line
    topics_and_modules: Topics
    created_at: str | None = None

    def __post_init__(self) -> None:
        """Normalise the title."""
        text_types.normalise_member(self, "course_title", "courseTitle")

    def find_errors(self) -> Iterator[FieldError]:
        """What types cannot say."""
        yield from courses.repeated_names(self.topics_and_modules)
        yield from _time_errors(self.created_at, "createdAt")


class UserLine(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
    tag="user",
):
    """An account."""

    id: Id
    username: Username
    email: Email
    role: Role
    password_hash: str | None = None
    created_at: str | None = None

    def find_errors(self) -> Iterator[FieldError]:
        """What types cannot say."""
        yield from accounts.name_errors(self.username, self.email)
        if isinstance(self.password_hash, str):
            try:
                passwords.check_hash(self.password_hash)
            except ValueError as error:
                yield FieldError("passwordHash", str(error))
        yield from _time_errors(self.created_at, "createdAt")


class SessionLine(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
    tag="session",
):
    """A session with its results."""

    id: Id
    user_id: Id
    course_id: Id
    topic: Name
    session_start: str
    is_end: bool
    modules_stats: Annotated[list[ModuleUpdate], Meta(max_length=MAX_MODULES)]
    session_end: str | None = None
    course_title: Title | None = None

    def __post_init__(self) -> None:
        """Normalise the names."""
        text_types.normalise_member(self, "topic", "topic")
        text_types.normalise_member(self, "course_title", "courseTitle")

    def find_errors(self) -> Iterator[FieldError]:
        """What types cannot say."""
        errors = [*_time_errors(self.session_start, "sessionStart"), *_time_errors(self.session_end, "sessionEnd")]
        yield from errors
        if self.is_end is True and not errors:
            if self.session_end is None:
                yield FieldError("sessionEnd", "is required when isEnd is true")
            elif (
                isinstance(self.session_start, str)
                and isinstance(self.session_end, str)
                and from_iso(self.session_end) < from_iso(self.session_start)
            ):
                yield FieldError("sessionEnd", "must not be before sessionStart")
        yield from result_errors(self.modules_stats, "modulesStats")


def _time_errors(written: str | UnsetType | None, field: str) -> Iterator[FieldError]:
    if isinstance(written, str):
        try:
            from_iso(written)
        except ValueError as error:
            yield FieldError(field, str(error))


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
"""The fields of ``results.ModuleResultRow``, in order."""


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
        MalformedJson: it is not JSON.
        InvalidInput: it breaks rules; fields and rules are named.
        SessionFull: the session has too many bytes.

    """
    line = decode(raw, cast("type[Any]", CourseLine | UserLine | SessionLine), "The line")
    if isinstance(line, SessionLine):
        return _session(line, number)
    return _course(line, number) if isinstance(line, CourseLine) else _user(line, number)


def _course(line: CourseLine, number: int) -> Course:
    if len(msgspec.json.encode(line.topics_and_modules)) > MAX_COURSE_BYTES:
        raise InvalidInput.field("topicsAndModules", "must have at most 1 MiB")
    new = NewCourse(line.course_title, line.qualification, line.topics_and_modules)
    return Course(number, line.id.lower(), new, _time(line.created_at))


def _user(line: UserLine, number: int) -> User:
    return User(
        number,
        line.id.lower(),
        line.username,
        line.email,
        line.role,
        line.password_hash,
        _time(line.created_at),
    )


def _session(line: SessionLine, number: int) -> Session:
    started_at = from_iso(line.session_start)
    results = parse_results(line.modules_stats)
    size = sum(result.bytes for result in results)
    check_limits(len(results), size)
    return Session(
        number,
        line.id.lower(),
        line.user_id.lower(),
        line.course_id.lower(),
        line.course_title,
        line.topic,
        started_at,
        _time(line.session_end) if line.is_end else None,
        sum(result.points for result in results),
        size,
        [cast("Result", msgspec.structs.astuple(result)) for result in results],
    )


def _time(written: str | None) -> int | None:
    return None if written is None else from_iso(written)
