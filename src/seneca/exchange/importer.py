"""Import a file of the exchange format: check every line, then store all of them in one transaction."""

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
from seneca.exchange.accounts_and_courses import CREATE_IMPORTED, DROP_IMPORTED, find_session_ids, store_course
from seneca.exchange.file_format import BYTE_ORDER_MARK, HEAD_BYTES, check_format
from seneca.exchange.name_limit import CourseNameLimit
from seneca.exchange.records import CourseRecord, UserRecord, read
from seneca.exchange.references import read_courses
from seneca.exchange.report import Report
from seneca.exchange.session_batches import Batch, read_batches
from seneca.exchange.session_lines import Target
from seneca.exchange.settings_lines import SettingsRecord, store_settings
from seneca.exchange.spool import Spool
from seneca.exchange.voided_batches import store_voided
from seneca.sessions import time_zone

MAX_LINE_BYTES: Final = 16 * 1024 * 1024  # 4 MiB of results with every character escaped
SKIP_BYTES: Final = 64 * 1024  # per read of the rest of a line that is too long
MIN_SESSIONS_FOR_BULK_LOAD: Final = 20_000  # from here on, rebuilding an index is faster than updating it
LINES_PER_PROGRESS: Final = 1000  # between two progress reports
USERS_PER_BATCH: Final = 1000
GZIP_MAGIC: Final = b"\x1f\x8b"


class Source(Struct, frozen=True):
    """The lines to import, and the position in them."""

    lines: BinaryIO
    position: Callable[[], int]
    size: int | None
    """In bytes, as ``position``; None if unknown."""


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a file (``-``: standard input) and decompress it if it is gzip.

    Raises:
        NotJsonLines: it has another format.
        CommandError: it cannot be read; also raised while the block runs.

    """
    try:
        with ExitStack() as stack:
            if str(path) == "-":
                file, size = cast("BufferedReader", sys.stdin.buffer), None
            else:
                file, size = stack.enter_context(path.open("rb")), path.stat().st_size
            lines: BufferedReader | gzip.GzipFile = file
            if file.peek(2).startswith(GZIP_MAGIC):
                lines = stack.enter_context(gzip.open(file))
            check_format(path, lines.peek(HEAD_BYTES)[:HEAD_BYTES])
            yield Source(cast("BinaryIO", lines), file.tell if size is not None else lambda: 0, size)
    except (OSError, EOFError, zlib.error) as error:
        raise CommandError(f"{path} cannot be read: {reason(error)}.") from error


def import_lines(
    database: Database, path: Path, *, skip_bad: bool, now: int, progress: Progress, update: bool = False
) -> Report:
    """Import a file, all of it or nothing. Lines that equal what is already stored are skipped.

    First every line is checked on its own, while others may write; then all of them are stored in one transaction.

    Args:
        database: the database.
        path: the file; ``-`` is standard input. It may be compressed with gzip.
        skip_bad: whether to skip bad lines and store the others.
        now: the creation time of lines without one, in milliseconds since 1970.
        progress: called with the progress.
        update: whether a line that differs from the row with its id replaces it; otherwise it is bad.

    Raises:
        BadLines: there are bad lines, and ``skip_bad`` is not set: nothing was stored.
        NothingImported: there are no lines, or all of them are bad.
        NotJsonLines: the file has another format.
        CommandError: the file cannot be read.
        ServiceUnavailable: the database is busy, or its disk is full: nothing was stored.

    """
    with open_source(path) as source:
        return import_source(database, source, skip_bad=skip_bad, now=now, progress=progress, update=update)


def import_source(
    database: Database, source: Source, *, skip_bad: bool, now: int, progress: Progress, update: bool = False
) -> Report:
    """As ``import_lines``, from an open source."""
    report = Report()
    with database.read_transaction() as tx:
        target = Target(tx.buckets, tx.idle_ms, time_zone.get(tx))
    with closing(Spool(target.buckets)) as spool:
        check_lines(source, spool, report, progress, target)
        if not skip_bad:
            report.raise_if_bad()
        if not spool.added:
            report.raise_if_empty()
        with database.write_transaction() as tx:
            if time_zone.get(tx) != target.zone:
                raise CommandError(
                    "The database's time zone was changed during the check of the file. Import it again."
                )
            Import(tx, spool, report, progress, now=now, update=update).store()
            if not skip_bad:
                report.raise_if_bad()
            report.raise_if_empty()
            record_import(tx, report, now, update=update)
    report.bad_lines.sort()
    return report


def record_import(tx: Transaction, report: Report, now: int, *, update: bool) -> None:
    """Record the numbers of imported lines in the audit log."""
    updated = (
        {
            "updatedCourses": report.courses.updated,
            "updatedAccounts": report.users.updated,
            "updatedSessions": report.sessions.updated,
        }
        if update
        else {}
    )
    settings = report.settings.stored + report.settings.updated
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
        **({"settings": settings} if settings else {}),
    )


def check_lines(source: Source, spool: Spool, report: Report, progress: Progress, target: Target) -> None:
    """Check each line on its own, and add the good ones to the spool."""
    for number, raw in number_lines(source.lines):
        try:
            if len(raw) > MAX_LINE_BYTES:
                raise InvalidInput.field("", "The line has more than 16 MiB.")
            spool.add(read(raw, number, target))
        except CommandError:
            raise
        except ApiError as error:
            report.reject(number, error.detail)
        if number % LINES_PER_PROGRESS == 0:
            progress("checking", source.position(), source.size)


def number_lines(lines: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each line that is not blank, with its number from 1. A line that is too long is cut."""
    number = 0
    while raw := lines.readline(MAX_LINE_BYTES + 1):
        number += 1
        rest = raw if len(raw) > MAX_LINE_BYTES else b"\n"
        while rest and not rest.endswith(b"\n"):
            rest = lines.readline(SKIP_BYTES)
        if number == 1:
            raw = raw.removeprefix(BYTE_ORDER_MARK)
        if len(raw) > MAX_LINE_BYTES or (raw and not raw.isspace()):
            yield number, raw


SESSION_AT_OFFSET = "SELECT 1 FROM sessions LIMIT 1 OFFSET :number"
TABLES = ("sessions", "results")
INDEXES = ("sessions_by_id", "sessions_of_course")
"""Sessions arrive by learner, so that insertions into these indexes are spread over the whole index."""
ACCOUNTS_TABLE = "accounts"
"""Without accounts nobody can sign in and read sessions."""


class Import:
    """The second phase of an import: store the checked records that are consistent with each other and with the database.

    Args:
        tx: the transaction.
        spool: the checked records.
        report: counts each line, or rejects it.
        progress: called with the progress.
        now: milliseconds since 1970.
        update: whether a line that differs from the row with its id replaces it.

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
        """The courses that this import creates, and their lines."""

    def store(self) -> None:
        """Store everything."""
        is_bulk_load = self._prepare_bulk_load()  # locks tables, so it comes first
        self._tx.execute(CREATE_IMPORTED)
        with self._tx.pipeline():
            self._store_courses_and_accounts()
            store_voided(self._tx, self._spool.voided(), self._report, update=self._update)
        with self._tx.bulk_load(TABLES, INDEXES) if is_bulk_load else nullcontext():
            self._store_sessions()
        self._tx.execute(DROP_IMPORTED)

    def _prepare_bulk_load(self) -> bool:
        """Prepare a bulk load if there are enough sessions for it and it does not block anybody; returns whether it did."""
        is_large = self._spool.sessions >= MIN_SESSIONS_FOR_BULK_LOAD
        return (
            is_large
            and self._tx.prepare_bulk_load(TABLES, empty=(ACCOUNTS_TABLE, *TABLES))
            and self._tx.fetch_one(SESSION_AT_OFFSET, number=self._spool.sessions - 1) is None
        )

    def _store_courses_and_accounts(self) -> None:
        """Store the settings and courses line by line, and the accounts in batches: they do not depend on each other."""
        session_ids = find_session_ids(self._tx, self._spool.course_ids)
        users: list[UserRecord] = []
        for done, record in enumerate(self._spool.courses_and_accounts()):
            if done % LINES_PER_PROGRESS == 0:
                self._progress("storing", done, self._spool.added)
            if isinstance(record, SettingsRecord):
                self._store_settings(record)
            elif isinstance(record, CourseRecord):
                self._store_course(record, session_ids)
            else:
                users.append(record)
                if len(users) == USERS_PER_BATCH:
                    store_users(self._tx, users, self._report, now=self._now, update=self._update)
                    users.clear()
        store_users(self._tx, users, self._report, now=self._now, update=self._update)

    def _store_settings(self, record: SettingsRecord) -> None:
        try:
            self._report.settings.count(store_settings(self._tx, record, update=self._update))
        except InvalidInput as error:
            self._report.reject(record.number, error.detail)

    def _store_course(self, course: CourseRecord, session_ids: Container[str]) -> None:
        try:
            outcome = store_course(self._tx, course, now=self._now, update=self._update, session_ids=session_ids)
        except InvalidInput as error:
            self._report.reject(course.number, error.detail)
            return
        self._report.courses.count(outcome)
        if outcome == "stored":
            self._courses[course.id] = course.number

    def _store_sessions(self) -> None:
        """Store the sessions in batches. A thread reads the next batch while the database stores the current one."""
        done = self._spool.added - self._spool.sessions
        courses, batches = read_courses(self._tx, self._courses), read_batches(self._spool)
        name_limit = CourseNameLimit(self._tx)
        with ThreadPoolExecutor(1, thread_name_prefix="seneca-import") as reader:
            next_batch = reader.submit(next, batches, None)
            while batch := next_batch.result():
                next_batch = reader.submit(next, batches, None)
                bucket, sessions = batch
                Batch(self._tx, courses, bucket, self._report, name_limit, update=self._update, now=self._now).store(
                    sessions
                )
                done += len(sessions)
                self._progress("storing", done, self._spool.added)
