"""The lines of an imported file, their validation, and the records that are made of them (sessions: ``session_lines``).

Nothing here uses the database: ``account_batches``, ``accounts_and_courses`` and ``session_batches`` compare records with it.
"""

from collections.abc import Iterator
from typing import Final, cast

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from seneca import accounts, courses
from seneca.accounts import Role
from seneca.auth import passwords
from seneca.common import text_types
from seneca.common.json_decoding import check, check_text, decode_types
from seneca.common.text_types import Email, Id, Line, Title, Username
from seneca.common.times import from_iso, time_rule
from seneca.courses import NewCourse, Topics
from seneca.errors import FieldError, InvalidInput
from seneca.exchange.session_lines import (
    SessionLine,
    SessionRecord,
    Target,
    VoidedSessionLine,
    VoidedSessionRecord,
    to_record,
    to_voided_record,
)
from seneca.exchange.settings_lines import SettingsLine, SettingsRecord
from seneca.school import FullMark, Mark, PassMark, SchoolSettingsChange, round_mark
from seneca.sessions.state import check_limits

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
    pass_mark: PassMark | None = None
    full_mark: FullMark | None = None

    def __post_init__(self) -> None:
        """Normalise the title."""
        text_types.normalise_member(self, "course_title", "courseTitle")

    def find_errors(self) -> Iterator[FieldError]:
        """Validate what the types do not."""
        yield from courses.repeated_names(self.topics_and_modules)
        if rule := time_rule(self.created_at):
            yield FieldError("createdAt", rule)


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
        if rule := time_rule(self.created_at):
            yield FieldError("createdAt", rule)


# -- records, ready to be stored ------------------------------------------------------------------------


class CourseRecord(Struct, frozen=True, array_like=True, tag="c"):
    """A course to store. Here and below, ``number`` is the line number, from 1."""

    number: int
    id: str
    new: NewCourse
    created_at: int | None
    pass_mark: Mark | None
    full_mark: Mark | None


class UserRecord(Struct, frozen=True, array_like=True, tag="u"):
    """An account to store."""

    number: int
    id: str
    username: str
    email: str
    role: Role
    password_hash: str | None
    created_at: int | None


Record = SettingsRecord | CourseRecord | UserRecord | SessionRecord | VoidedSessionRecord
AnyLine = SettingsLine | CourseLine | UserLine | SessionLine | VoidedSessionLine
LINE: Final = cast("type[AnyLine]", AnyLine)


def read(raw: bytes, number: int, target: Target) -> Record:
    """Validate a line on its own.

    Args:
        raw: the line, in UTF-8.
        number: its number in the file, from 1.
        target: the database.

    Raises:
        MalformedJson: it is not JSON.
        InvalidInput: it is not valid; the error names fields and rules.
        SessionFull: the session has too many bytes.

    """
    line = decode_types(raw, LINE, "The line")
    if isinstance(line, SessionLine):
        return _read_session(line, raw, number, target)
    check(line, raw, LINE)
    if isinstance(line, VoidedSessionLine):
        return to_voided_record(line, number, target.buckets)
    if isinstance(line, SettingsLine):
        return SettingsRecord(number, SchoolSettingsChange(**asdict(line)))
    return _course(line, number) if isinstance(line, CourseLine) else _user(line, number)


def _course(line: CourseLine, number: int) -> CourseRecord:
    if len(msgspec.json.encode(line.topics_and_modules)) > MAX_TOPICS_BYTES:
        raise InvalidInput.field("topicsAndModules", "must have at most 1 MiB")
    new = NewCourse(line.course_title, line.qualification, line.topics_and_modules)
    return CourseRecord(
        number=number,
        id=line.id.lower(),
        new=new,
        created_at=_time(line.created_at),
        pass_mark=None if line.pass_mark is None else round_mark(line.pass_mark),
        full_mark=None if line.full_mark is None else round_mark(line.full_mark),
    )


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


def _read_session(line: SessionLine, raw: bytes, number: int, target: Target) -> SessionRecord:
    """Convert a line first, because nearly all lines are valid: errors are looked for only if that fails."""
    try:
        record = to_record(line, number, target)
    except ValueError:
        check(line, raw, LINE)
        raise
    check_text(raw, LINE)
    check_limits(record.row.results, record.row.bytes)
    return record


def _time(text: str | None) -> int | None:
    return None if text is None else from_iso(text)
