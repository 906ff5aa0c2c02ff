"""Read a file of the exchange format into the database: check every line, then store all in one transaction."""

import gzip
import sys
import zlib
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, cast

from msgspec import Struct

from seneca import audit
from seneca.database import Database, Transaction
from seneca.errors import ApiError, CommandError, InvalidInput, reason
from seneca.exchange import Progress
from seneca.exchange.account_batches import store_users
from seneca.exchange.accounts_and_courses import CREATE_IMPORTED, DROP_IMPORTED, ids_of_sessions, store_course
from seneca.exchange.file_format import BYTE_ORDER_MARK, HEAD, check_format
from seneca.exchange.name_limit import CourseNameLimit
from seneca.exchange.records import Course, User, read
from seneca.exchange.report import Report
from seneca.exchange.session_batches import Batch, batches, courses_in
from seneca.exchange.spool import Spool

MAX_LINE_BYTES: Final = 16 * 1024 * 1024  # bytes: 4 MiB of results, every character written as an escape
READ_BYTES: Final = 64 * 1024  # bytes of what is passed over
MIN_LINES_FOR_BULK_LOAD: Final = 20_000  # sessions: from here on, sorting an index beats filling it row by row
PROGRESS_LINES: Final = 1000  # lines
USERS_PER_BATCH: Final = 1000
GZIP: Final = b"\x1f\x8b"


class Source(Struct, frozen=True):
    """Lines to read, and how far they have been read."""

    lines: BinaryIO
    position: Callable[[], int]
    size: int | None
    """In bytes, as ``position`` counts them; None where it is not known."""


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a file (``-``: standard input), decompressed if it is gzip.

    Raises:
        NotJsonLines: it is of another format.
        CommandError: it cannot be read (later, too, while the block runs).

    """
    try:
        with ExitStack() as stack:
            if str(path) == "-":
                file, size = cast("BufferedReader", sys.stdin.buffer), None
            else:
                file, size = stack.enter_context(path.open("rb")), path.stat().st_size
            lines: BufferedReader | gzip.GzipFile = file
            if file.peek(2).startswith(GZIP):
                lines = stack.enter_context(gzip.open(file))
            check_format(path, lines.peek(HEAD)[:HEAD])
            yield Source(cast("BinaryIO", lines), file.tell if size is not None else lambda: 0, size)
    except (OSError, EOFError, zlib.error) as error:
        raise CommandError(f"{path} cannot be read: {reason(error)}.") from error


def import_lines(
    database: Database, path: Path, *, skip_bad: bool, now: int, progress: Progress, update: bool = False
) -> Report:
    """Import a file: all of it, or nothing. What is stored already, and equal, is skipped.

    Every line is checked by itself first, while others may write; then all are stored in one transaction.

    Args:
        database: where to.
        path: the file; ``-`` is standard input. It may be gzip.
        skip_bad: leave bad lines out and store the others.
        now: when what has no time of creation was created, in milliseconds since 1970.
        progress: told how far it is.
        update: a line that differs from what is stored under its id replaces it; else it is bad.

    Raises:
        BadLines: some lines are bad, and ``skip_bad`` is not set: nothing was stored.
        NothingImported: there are no lines, or all of them are bad.
        NotJsonLines: the file is of another format.
        CommandError: the file cannot be read.
        ServiceUnavailable: the database is busy, or its disk is full: nothing was stored.

    """
    with open_source(path) as source:
        return import_source(database, source, skip_bad=skip_bad, now=now, progress=progress, update=update)


def import_source(
    database: Database, source: Source, *, skip_bad: bool, now: int, progress: Progress, update: bool = False
) -> Report:
    """As ``import_lines``, from lines that are open already."""
    report = Report()
    with database.read_transaction() as tx:
        buckets = tx.buckets
    with closing(Spool(buckets)) as spool:
        check(source, spool, report, progress)
        if not skip_bad:
            report.check()
        if not spool.added:
            report.check_any()
        with database.write_transaction() as tx:
            Import(tx, spool, report, progress, now=now, update=update).store()
            if not skip_bad:
                report.check()
            report.check_any()
            record(tx, report, now, update=update)
    report.bad_lines.sort()
    return report


def record(tx: Transaction, report: Report, now: int, *, update: bool) -> None:
    """Record in the audit log how much was imported."""
    updated = (
        {
            "updatedCourses": report.courses.updated,
            "updatedAccounts": report.users.updated,
            "updatedSessions": report.sessions.updated,
        }
        if update
        else {}
    )
    audit.record(
        tx,
        None,
        "data.imported",
        audit.WHOLE_DATABASE,
        now,
        entry="",
        courses=report.courses.stored,
        accounts=report.users.stored,
        sessions=report.sessions.stored,
        **updated,
    )


def check(source: Source, spool: Spool, report: Report, progress: Progress) -> None:
    """Check each line by itself; the good ones go to the spool."""
    for number, raw in numbered(source.lines):
        try:
            if len(raw) > MAX_LINE_BYTES:
                raise InvalidInput.field("", "The line has more than 16 MiB.")
            spool.add(read(raw, number))
        except CommandError:
            raise
        except ApiError as refusal:
            report.refuse(number, refusal.detail)
        if number % PROGRESS_LINES == 0:
            progress("checking", source.position(), source.size)


def numbered(lines: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each line that is not blank, with its number from 1. One that is too long is cut."""
    number = 0
    while raw := lines.readline(MAX_LINE_BYTES + 1):
        number += 1
        rest = raw if len(raw) > MAX_LINE_BYTES else b"\n"
        while rest and not rest.endswith(b"\n"):
            rest = lines.readline(READ_BYTES)
        if number == 1:
            raw = raw.removeprefix(BYTE_ORDER_MARK)
        if len(raw) > MAX_LINE_BYTES or (raw and not raw.isspace()):
            yield number, raw


ANOTHER_SESSION = "SELECT 1 FROM sessions LIMIT 1 OFFSET :number"
TABLES = ("sessions", "results")
INDEXES = ("sessions_by_id", "sessions_of_course")
"""Sessions that come learner by learner fall all over these."""
READERS = "accounts"
"""Without accounts nobody can sign in and read sessions."""


class Import:
    """What was checked, to be stored in a transaction if it fits together and fits what is stored; else it is refused.

    Args:
        tx: the transaction.
        spool: what was checked.
        report: where each line is counted, or refused.
        progress: told how far it is.
        now: milliseconds since 1970.
        update: a line that differs from what is stored under its id replaces it.

    """

    def __init__(
        self, tx: Transaction, spool: Spool, report: Report, progress: Progress, *, now: int, update: bool
    ) -> None:
        self._tx = tx
        self._spool = spool
        self._report = report
        self._progress = progress
        self._now = now
        self._update = update
        self._courses: dict[str, int] = {}
        """The courses that this import makes, and their lines."""

    def store(self) -> None:
        """Store everything."""
        is_load = self._is_load()  # tables are locked before anything is stored
        self._tx.execute(CREATE_IMPORTED)
        with self._tx.pipeline():
            self._store_directory()
        with self._tx.bulk_load(TABLES, INDEXES) if is_load else nullcontext():
            self._store_sessions()
        self._tx.execute(DROP_IMPORTED)

    def _is_load(self) -> bool:
        """Whether so many sessions come that indexes are better built after them, and nobody else is hindered by that."""
        many = self._spool.sessions >= MIN_LINES_FOR_BULK_LOAD
        return (
            many
            and self._tx.prepare_bulk_load(TABLES, empty=(READERS, *TABLES))
            and self._tx.fetch_one(ANOTHER_SESSION, number=self._spool.sessions - 1) is None
        )

    def _store_directory(self) -> None:
        """Store the courses, line by line, and the accounts, many together: neither has to do with the other."""
        session_ids = ids_of_sessions(self._tx, self._spool.course_ids)
        users: list[User] = []
        for done, entry in enumerate(self._spool.directory()):
            if done % PROGRESS_LINES == 0:
                self._progress("storing", done, self._spool.added)
            if isinstance(entry, Course):
                self._store_course(entry, session_ids)
            else:
                users.append(entry)
                if len(users) == USERS_PER_BATCH:
                    store_users(self._tx, users, self._report, now=self._now, update=self._update)
                    users.clear()
        store_users(self._tx, users, self._report, now=self._now, update=self._update)

    def _store_course(self, course: Course, session_ids: Container[str]) -> None:
        try:
            outcome = store_course(self._tx, course, now=self._now, update=self._update, session_ids=session_ids)
        except InvalidInput as invalid:
            self._report.refuse(course.number, invalid.detail)
            return
        self._report.courses.count(outcome)
        if outcome == "stored":
            self._courses[course.id] = course.number

    def _store_sessions(self) -> None:
        """Store the sessions, batch by batch. Each is read while the database stores the one before."""
        done = self._spool.added - self._spool.sessions
        courses, coming = courses_in(self._tx, self._courses), batches(self._spool)
        name_limit = CourseNameLimit(self._tx)
        with ThreadPoolExecutor(1, thread_name_prefix="seneca-import") as reader:
            ahead = reader.submit(next, coming, None)
            while batch := ahead.result():
                ahead = reader.submit(next, coming, None)
                bucket, sessions = batch
                Batch(self._tx, courses, bucket, self._report, name_limit, update=self._update).store(sessions)
                done += len(sessions)
                self._progress("storing", done, self._spool.added)
