"""Export everything, from one snapshot, as lines of the exchange format."""

import gzip
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby, starmap
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import asdict

from seneca import accounts, courses, school
from seneca.common.atomic_file import atomic_write
from seneca.common.times import to_iso
from seneca.database import Database, Row, Transaction
from seneca.errors import CommandError
from seneca.exchange import Progress
from seneca.exchange.report import Report
from seneca.exchange.settings_lines import ExportedSettings
from seneca.school import Mark
from seneca.sessions import activity, voided
from seneca.sessions.results import with_time
from seneca.sessions.rows import RESULT_COLUMNS, SESSION_COLUMNS, EndedBy, ResultRow, SessionRow

SESSIONS_PER_PROGRESS: Final = 1000  # between two progress reports
GZIP_LEVEL: Final = 6

_encoder = msgspec.json.Encoder()


class ExportedCourse(courses.Course, frozen=True, tag_field="kind", tag="course"):
    """The line of a course in an export, with the marks that it has of its own."""

    pass_mark: Mark | UnsetType = UNSET
    full_mark: Mark | UnsetType = UNSET


class ExportedUser(accounts.Account, frozen=True, tag_field="kind", tag="user", omit_defaults=True):
    """The line of an account in an export."""

    password_hash: str | None = None


class ExportedModule(Struct, frozen=True, rename="camel"):
    """A module's results in an export; a part that was never sent is null."""

    module_name: str
    adaptive: Raw
    quiz: Raw
    wrong_answers: Raw


class ExportedSession(Struct, frozen=True, rename="camel", tag_field="kind", tag="session"):
    """The line of a session in an export."""

    id: str
    user_id: str
    course_id: str
    course_title: str
    topic: str
    session_start: str
    session_end: str | None
    is_end: bool
    ended_by: EndedBy | None
    activity: list[tuple[str, str]]
    modules_stats: list[ExportedModule]
    idle_since: str | UnsetType = UNSET


class ExportedVoidedSession(voided.VoidedSession, frozen=True, tag_field="kind", tag="voided-session"):
    """The line of the id of a session that an administrator deleted."""

    user_id: str


def export_lines(
    database: Database,
    path: Path,
    *,
    overwrite: bool = False,
    begin: Callable[[], object] = lambda: None,
    progress: Progress,
) -> Report:
    """Export a snapshot of everything to a file.

    Args:
        database: the database.
        path: the file; ``-`` is standard output. It is compressed with gzip if its name ends in ``.gz``.
        overwrite: whether an existing file may be replaced.
        begin: called once the file is open, before anything is read.
        progress: called with the progress.

    Returns:
        The number of lines of each kind, as ``stored``.

    Raises:
        CommandError: the file cannot be written; an existing file is unchanged.
        ServiceUnavailable: the database cannot be read.

    """
    with open_target(path, overwrite=overwrite) as write:
        begin()
        with database.read_transaction() as tx:
            return write_lines(tx, write, progress)


@contextmanager
def open_target(path: Path, *, overwrite: bool) -> Iterator[Callable[[bytes], object]]:
    """Open a file for writing, readable by its owner only. It gets its name once it is complete.

    Raises:
        CommandError: it exists and may not be replaced, or it cannot be written; also raised while the block runs.

    """
    if str(path) == "-":
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    try:
        if path.exists() and not path.is_file():  # a pipe, a terminal
            with path.open("wb") as file:
                yield file.write
            return
        with atomic_write(path, overwrite=overwrite) as file:
            if path.suffix == ".gz":
                with gzip.open(file, "wb", GZIP_LEVEL) as compressed:
                    yield compressed.write
            else:
                yield file.write
    except FileExistsError:
        raise CommandError(f"{path} already exists. Choose another name, or replace it with --force.") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error


def write_lines(tx: Transaction, write: Callable[[bytes], object], progress: Progress) -> Report:
    """Write the settings, if somebody has changed one, then courses, accounts, voided ids and sessions."""
    report = Report()
    if settings := school.stored(tx):
        write(_encoder.encode(ExportedSettings(**asdict(settings))) + b"\n")
        report.settings.stored += 1
    for course in export_courses(tx):
        write(_encoder.encode(course) + b"\n")
        report.courses.stored += 1
    for user in export_users(tx):
        write(_encoder.encode(user) + b"\n")
        report.users.stored += 1
    for voided_session in export_voided(tx):
        write(_encoder.encode(voided_session) + b"\n")
        report.voided.stored += 1
    for session in export_sessions(tx):
        write(_encoder.encode(session) + b"\n")
        report.sessions.stored += 1
        if report.sessions.stored % SESSIONS_PER_PROGRESS == 0:
            progress("exporting", report.sessions.stored, None)
    return report


COURSES = "SELECT id, title, qualification, topics, created_at, pass_mark, full_mark FROM courses ORDER BY title"


def export_courses(tx: Transaction) -> Iterator[ExportedCourse]:
    """Every course, ordered by title."""
    for id_, title, qualification, topics, created_at, *marks in tx.stream(COURSES):
        yield ExportedCourse(
            id_,
            title,
            qualification,
            Raw(topics.encode()),
            to_iso(created_at),
            *(UNSET if mark is None else school.from_thousandths(mark) for mark in marks),
        )


USERS = """
SELECT a.id, a.username, a.email, a.role, a.created_at, p.hash
FROM accounts a
LEFT JOIN passwords p ON p.bucket = a.bucket AND p.account_id = a.id
WHERE a.erased_at IS NULL
ORDER BY a.created_at, a.id
"""


def export_users(tx: Transaction) -> Iterator[ExportedUser]:
    """Every account, ordered by creation time."""
    for id_, username, email, role, created_at, password_hash in tx.stream(USERS):
        yield ExportedUser(
            id=id_,
            username=username,
            email=email,
            role=role,
            created_at=to_iso(created_at),
            password_hash=password_hash,
        )


VOIDED = """
SELECT id, learner_id, voided_at FROM voided_sessions
WHERE learner_id NOT IN (SELECT id FROM accounts WHERE erased_at IS NOT NULL)
ORDER BY bucket, learner_id, id
"""


def export_voided(tx: Transaction) -> Iterator[ExportedVoidedSession]:
    """The ids of the sessions that administrators deleted, ordered by key."""
    for id_, learner_id, voided_at in tx.stream(VOIDED):
        yield ExportedVoidedSession(id=id_, user_id=learner_id, voided_at=to_iso(voided_at))


SESSIONS = f"""
SELECT {SESSION_COLUMNS} FROM sessions
WHERE learner_id NOT IN (SELECT id FROM accounts WHERE erased_at IS NOT NULL)
ORDER BY bucket, learner_id, id
"""
RESULTS = f"""
SELECT bucket, learner_id, session_id, {RESULT_COLUMNS} FROM results
WHERE learner_id NOT IN (SELECT id FROM accounts WHERE erased_at IS NOT NULL)
ORDER BY bucket, learner_id, session_id
"""


def export_sessions(tx: Transaction) -> Iterator[ExportedSession]:
    """Every session, ordered by its key and merged with the results, which are read in the same order."""
    results = groupby(tx.stream(RESULTS), key=itemgetter(0, 1, 2))
    end: tuple[Any, Iterator[Row]] = ((), iter(()))
    key, rows = next(results, end)
    for row in starmap(SessionRow, tx.stream(SESSIONS)):
        modules: list[ExportedModule] = []
        if key == (row.bucket, row.learner_id, row.id):
            in_order = sorted((ResultRow(*columns[3:]) for columns in rows), key=attrgetter("position"))
            modules = [_to_module(result) for result in in_order]
            key, rows = next(results, end)
        yield ExportedSession(
            id=row.id,
            user_id=row.learner_id,
            course_id=row.course_id,
            course_title=row.course_title,
            topic=row.topic,
            session_start=to_iso(row.started_at),
            session_end=None if row.ended_at is None else to_iso(row.ended_at),
            is_end=row.ended_at is not None,
            ended_by=row.ended_by,
            activity=activity.to_iso_pairs(activity.parse(row.activity)),
            modules_stats=modules,
            idle_since=UNSET if row.idle_since == row.started_at else to_iso(row.idle_since),
        )


def _to_module(result: ResultRow) -> ExportedModule:
    return ExportedModule(
        module_name=result.module_name,
        adaptive=_part(result.adaptive, result.adaptive_at),
        quiz=_part(result.quiz, result.quiz_at),
        wrong_answers=_part(result.wrong_answers, result.wrong_answers_at),
    )


def _part(text: str | None, recorded_at: int | None) -> Raw:
    return Raw(b"null") if text is None else with_time(text, recorded_at)
