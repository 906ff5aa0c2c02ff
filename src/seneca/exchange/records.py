"""The lines of an imported file, their validation, and the records that are made of them.

Nothing here uses the database: ``account_batches``, ``accounts_and_courses`` and ``session_batches`` compare records with it.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Final, cast

import msgspec
from msgspec import Meta, Struct, UnsetType

from seneca import accounts, courses
from seneca.accounts import Role
from seneca.auth import passwords
from seneca.common import text_types
from seneca.common.ids import bucket_of
from seneca.common.json_decoding import decode
from seneca.common.text_types import Email, Id, Line, Name, Title, Username
from seneca.common.times import from_iso
from seneca.courses import NewCourse, Topics
from seneca.errors import FieldError, InvalidInput
from seneca.sessions.commands import MAX_MODULES, check_limits
from seneca.sessions.results import ModuleUpdate, parse_results, result_errors
from seneca.sessions.rows import ResultRow, SessionRow

MAX_TOPICS_BYTES: Final = 1024 * 1024  # of a course; a course that was created over HTTP has no more

# -- lines, as they are in the file -----------------------------------------------------------------------


class CourseLine(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
    tag="course",
):
    """The line of a course."""

    id: Id
    course_title: Title
    qualification: Line
    topics_and_modules: Topics
    created_at: str | None = None

    def __post_init__(self) -> None:
        """Normalise the title."""
        text_types.normalise_member(self, "course_title", "courseTitle")

    def find_errors(self) -> Iterator[FieldError]:
        """Validate what the types do not."""
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
    """The line of an account."""

    id: Id
    username: Username
    email: Email
    role: Role
    password_hash: str | None = None
    created_at: str | None = None

    def find_errors(self) -> Iterator[FieldError]:
        """Validate what the types do not."""
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
    """The line of a session with its results."""

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
        """Validate what the types do not."""
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


def _time_errors(text: str | UnsetType | None, field: str) -> Iterator[FieldError]:
    if isinstance(text, str):
        try:
            from_iso(text)
        except ValueError as error:
            yield FieldError(field, str(error))


# -- records, ready to be stored ------------------------------------------------------------------------


class CourseRecord(Struct, frozen=True, array_like=True, tag="c"):
    """A course to store. Here and below, ``number`` is the line number, from 1."""

    number: int
    id: str
    new: NewCourse
    created_at: int | None


class UserRecord(Struct, frozen=True, array_like=True, tag="u"):
    """An account to store."""

    number: int
    id: str
    username: str
    email: str
    role: Role
    password_hash: str | None
    created_at: int | None


class SessionRecord(Struct, frozen=True, array_like=True, tag="s"):
    """A session to store, and its results. The row's title is empty if the line has none."""

    number: int
    row: SessionRow
    results: list[ResultRow]


Record = CourseRecord | UserRecord | SessionRecord


def read(raw: bytes, number: int, buckets: int) -> Record:
    """Validate a line on its own.

    Args:
        raw: the line, in UTF-8.
        number: its number in the file, from 1.
        buckets: the number of buckets of the database.

    Raises:
        MalformedJson: it is not JSON.
        InvalidInput: it is not valid; the error names fields and rules.
        SessionFull: the session has too many bytes.

    """
    line = decode(raw, cast("type[Any]", CourseLine | UserLine | SessionLine), "The line")
    if isinstance(line, SessionLine):
        return _session(line, number, buckets)
    return _course(line, number) if isinstance(line, CourseLine) else _user(line, number)


def _course(line: CourseLine, number: int) -> CourseRecord:
    if len(msgspec.json.encode(line.topics_and_modules)) > MAX_TOPICS_BYTES:
        raise InvalidInput.field("topicsAndModules", "must have at most 1 MiB")
    new = NewCourse(line.course_title, line.qualification, line.topics_and_modules)
    return CourseRecord(number, line.id.lower(), new, _time(line.created_at))


def _user(line: UserLine, number: int) -> UserRecord:
    return UserRecord(
        number=number,
        id=line.id.lower(),
        username=line.username,
        email=line.email,
        role=line.role,
        password_hash=line.password_hash,
        created_at=_time(line.created_at),
    )


def _session(line: SessionLine, number: int, buckets: int) -> SessionRecord:
    learner_id = line.user_id.lower()
    results = parse_results(line.modules_stats)
    size = sum(result.bytes for result in results)
    check_limits(len(results), size)
    row = SessionRow(
        bucket=bucket_of(learner_id, buckets),
        learner_id=learner_id,
        id=line.id.lower(),
        course_id=line.course_id.lower(),
        course_title=line.course_title or "",
        topic=line.topic,
        started_at=from_iso(line.session_start),
        ended_at=_time(line.session_end) if line.is_end else None,
        results=len(results),
        points=sum(result.points for result in results),
        bytes=size,
    )
    return SessionRecord(number, row, results)


def _time(text: str | None) -> int | None:
    return None if text is None else from_iso(text)
