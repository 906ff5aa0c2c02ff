"""Write everything that is recorded, as lines of the exchange format, from one snapshot."""

import gzip
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from seneca import accounts, courses
from seneca.common.atomic_file import atomic_write
from seneca.common.times import to_iso
from seneca.database import Database, Row, Transaction
from seneca.errors import CommandError
from seneca.exchange import Progress
from seneca.exchange.report import Report

PROGRESS_LINES: Final = 1000  # sessions
COMPRESSION: Final = 6  # gzip's level

_encoder = msgspec.json.Encoder()


class CourseLine(courses.Course, frozen=True, tag_field="kind", tag="course"):
    """A course, as it is written."""


class UserLine(accounts.Account, frozen=True, tag_field="kind", tag="user", omit_defaults=True):
    """An account, as it is written."""

    password_hash: str | None = None


class ModuleLine(Struct, frozen=True, rename="camel"):
    """A module's results, as they are written: a part never given is null."""

    module_name: str
    adaptive: Raw
    quiz: Raw
    wrong_answers: Raw


class SessionLine(Struct, frozen=True, rename="camel", tag_field="kind", tag="session"):
    """A session, as it is written."""

    id: str
    user_id: str
    course_id: str
    course_title: str
    topic: str
    session_start: str
    session_end: str | None
    is_end: bool
    modules_stats: list[ModuleLine]


def export_lines(
    database: Database,
    path: Path,
    *,
    overwrite: bool = False,
    begin: Callable[[], object] = lambda: None,
    progress: Progress,
) -> Report:
    """Export everything, as it is at this moment, to a file.

    Args:
        database: where from.
        path: the file; ``-`` is standard output. A name that ends in ``.gz`` makes it gzip.
        overwrite: whether a file that is there already may be replaced.
        begin: called once the file is open, before anything is read.
        progress: told how far it is.

    Returns:
        How many lines of each kind were written, as ``stored``.

    Raises:
        CommandError: the file cannot be written; what it held before is still there.
        ServiceUnavailable: the database cannot be read.

    """
    with open_target(path, overwrite=overwrite) as write:
        begin()
        with database.read_transaction() as tx:
            return write_lines(tx, write, progress)


@contextmanager
def open_target(path: Path, *, overwrite: bool) -> Iterator[Callable[[bytes], object]]:
    """Open a file to write to, private to its owner. It appears under its name once it is whole.

    Raises:
        CommandError: it is there already and may not be replaced, or cannot be written (later, too, while the block runs).

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
                with gzip.open(file, "wb", COMPRESSION) as compressed:
                    yield compressed.write
            else:
                yield file.write
    except FileExistsError:
        raise CommandError(f"{path} exists already. Choose another name, or replace it with --force.") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error


def write_lines(tx: Transaction, write: Callable[[bytes], object], progress: Progress) -> Report:
    """Write courses, then accounts, then sessions; returns how many."""
    report = Report()
    for course in course_lines(tx):
        write(_encoder.encode(course) + b"\n")
        report.courses.stored += 1
    for user in user_lines(tx):
        write(_encoder.encode(user) + b"\n")
        report.users.stored += 1
    for session in session_lines(tx):
        write(_encoder.encode(session) + b"\n")
        report.sessions.stored += 1
        if report.sessions.stored % PROGRESS_LINES == 0:
            progress("exporting", report.sessions.stored, None)
    return report


COURSES = "SELECT id, title, qualification, topics, created_at FROM courses ORDER BY title"


def course_lines(tx: Transaction) -> Iterator[CourseLine]:
    """Every course, by title."""
    for id_, title, qualification, topics, created_at in tx.stream(COURSES):
        yield CourseLine(id_, title, qualification, Raw(topics.encode()), to_iso(created_at))


USERS = """
SELECT a.id, a.username, a.email, a.role, a.created_at, p.hash
FROM accounts a
LEFT JOIN passwords p ON p.bucket = a.bucket AND p.account_id = a.id
WHERE a.erased_at IS NULL
ORDER BY a.created_at, a.id
"""


def user_lines(tx: Transaction) -> Iterator[UserLine]:
    """Every account, by creation."""
    for id_, username, email, role, created_at, password_hash in tx.stream(USERS):
        yield UserLine(id_, username, email, role, to_iso(created_at), password_hash)


SESSIONS = """
SELECT bucket, learner_id, id, course_id, course_title, topic, started_at, ended_at FROM sessions
WHERE learner_id NOT IN (SELECT id FROM accounts WHERE erased_at IS NOT NULL)
ORDER BY bucket, learner_id, id
"""
RESULTS = """
SELECT bucket, learner_id, session_id, position, module_name, adaptive, quiz, wrong_answers FROM results
WHERE learner_id NOT IN (SELECT id FROM accounts WHERE erased_at IS NOT NULL)
ORDER BY bucket, learner_id, session_id
"""


def session_lines(tx: Transaction) -> Iterator[SessionLine]:
    """Every session, in the order of its key; beside it run the results, in the same order."""
    results = groupby(tx.stream(RESULTS), key=itemgetter(0, 1, 2))
    nothing: tuple[Any, Iterator[Row]] = ((), iter(()))
    key, rows = next(results, nothing)
    for bucket, learner_id, id_, course_id, title, topic, started_at, ended_at in tx.stream(SESSIONS):
        modules: list[ModuleLine] = []
        if key == (bucket, learner_id, id_):
            modules = [ModuleLine(row[4], *map(_part, row[5:])) for row in sorted(rows, key=itemgetter(3))]
            key, rows = next(results, nothing)
        yield SessionLine(
            id_,
            learner_id,
            course_id,
            title,
            topic,
            to_iso(started_at),
            None if ended_at is None else to_iso(ended_at),
            ended_at is not None,
            modules,
        )


def _part(text: str | None) -> Raw:
    return Raw(b"null" if text is None else text.encode())
