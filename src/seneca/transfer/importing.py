"""Read a file of the exchange format into the database: check every line, then store all in one transaction."""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, cast

from msgspec import Struct

from seneca import audit
from seneca.database import Database, Transaction
from seneca.errors import Invalid, Refusal, Unusable
from seneca.transfer import Progress
from seneca.transfer.directory import CREATE_MADE, store_course, store_users
from seneca.transfer.lines import Course, User, read
from seneca.transfer.name_limit import CourseNameLimit
from seneca.transfer.report import Report
from seneca.transfer.spool import Spool
from seneca.transfer.storing import Batch, batches, courses_in

MOST_LINE: Final = 16 * 1024 * 1024  # bytes: 4 MiB of results, every character written as an escape
SLICE: Final = 64 * 1024  # bytes of what is passed over
MANY: Final = 20_000  # sessions: from here on, sorting an index beats filling it row by row
TELL_EVERY: Final = 1000  # lines
USERS_TOGETHER: Final = 1000
GZIP: Final = b"\x1f\x8b"
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Source(Struct, frozen=True):
    """Lines to read, and how far they have been read."""

    lines: BinaryIO
    position: Callable[[], int]
    size: int | None
    """In bytes, as ``position`` counts them; None where it is not known."""


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Open a file (``-``: standard input), decompressed if it is gzip.

    Raises:
        Unusable: it cannot be read (later, too, while the block runs).

    """
    try:
        with ExitStack() as stack:
            if str(path) == "-":
                file, size = cast("BufferedReader", sys.stdin.buffer), None
            else:
                file, size = stack.enter_context(path.open("rb")), path.stat().st_size
            lines = cast("BinaryIO", file)
            if file.peek(2).startswith(GZIP):
                lines = cast("BinaryIO", stack.enter_context(gzip.open(file)))
            yield Source(lines, file.tell if size is not None else lambda: 0, size)
    except (OSError, EOFError, zlib.error) as error:
        raise Unusable(f"{path} cannot be read: {error}.") from error


def import_lines(database: Database, path: Path, *, skip_bad: bool, now: int, progress: Progress) -> Report:
    """Import a file: all of it, or nothing. What is stored already, and equal, is skipped.

    Every line is checked by itself first, while others may write; then all are stored in one transaction.

    Args:
        database: where to.
        path: the file; ``-`` is standard input. It may be gzip.
        skip_bad: leave bad lines out and store the others.
        now: when what has no time of creation was created, in milliseconds since 1970.
        progress: told how far it is.

    Raises:
        BadLines: some lines are bad, and ``skip_bad`` is not set: nothing was stored.
        Unusable: the file cannot be read.
        Unavailable: the database is busy, or its disk is full: nothing was stored.

    """
    with opened(path) as source:
        return import_source(database, source, skip_bad=skip_bad, now=now, progress=progress)


def import_source(database: Database, source: Source, *, skip_bad: bool, now: int, progress: Progress) -> Report:
    """As ``import_lines``, from lines that are open already."""
    report = Report()
    with database.reading() as tx:
        buckets = tx.buckets
    with closing(Spool(buckets)) as spool:
        check(source, spool, report, progress)
        if not skip_bad:
            report.check()
        with database.writing() as tx:
            store(tx, spool, report, now, progress)
            if not skip_bad:
                report.check()
            audit.record(
                tx,
                None,
                "data.imported",
                audit.NOBODY,
                now,
                courses=report.courses.stored,
                accounts=report.users.stored,
                sessions=report.sessions.stored,
            )
    report.bad_lines.sort()
    return report


def check(source: Source, spool: Spool, report: Report, progress: Progress) -> None:
    """Check each line by itself; the good ones go to the spool."""
    for number, raw in numbered(source.lines):
        try:
            if len(raw) > MOST_LINE:
                raise Invalid.field("", "The line has more than 16 MiB.")
            spool.add(read(raw, number))
        except Unusable:
            raise
        except Refusal as refusal:
            report.refuse(number, refusal.detail)
        if number % TELL_EVERY == 0:
            progress("checking", source.position(), source.size)


def numbered(lines: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Each line that is not blank, with its number from 1. One that is too long is cut."""
    number = 0
    while raw := lines.readline(MOST_LINE + 1):
        number += 1
        rest = raw if len(raw) > MOST_LINE else b"\n"
        while rest and not rest.endswith(b"\n"):
            rest = lines.readline(SLICE)
        if number == 1:
            raw = raw.removeprefix(BYTE_ORDER_MARK)
        if len(raw) > MOST_LINE or (raw and not raw.isspace()):
            yield number, raw


ANOTHER_SESSION = "SELECT 1 FROM sessions LIMIT 1 OFFSET :number"
TABLES = ("sessions", "results")
INDEXES = ("sessions_by_id", "sessions_of_course")
"""Sessions that come learner by learner fall all over these."""


def store(tx: Transaction, spool: Spool, report: Report, now: int, progress: Progress) -> None:
    """Store what was checked, if it fits together and fits what is stored; else it is refused."""
    tx.run(CREATE_MADE)
    with tx.together():
        store_directory(tx, spool, report, now, progress)
    is_load = spool.sessions >= MANY and tx.one(ANOTHER_SESSION, number=spool.sessions - 1) is None
    with tx.loading(TABLES, INDEXES) if is_load else nullcontext():
        store_sessions(tx, spool, report, progress)


def store_directory(tx: Transaction, spool: Spool, report: Report, now: int, progress: Progress) -> None:
    """Store the courses, line by line, and the accounts, many together: neither has to do with the other."""
    users: list[User] = []
    for done, entry in enumerate(spool.directory()):
        if done % TELL_EVERY == 0:
            progress("storing", done, spool.added)
        if isinstance(entry, Course):
            try:
                report.courses.count(stored=store_course(tx, entry, now))
            except Invalid as invalid:
                report.refuse(entry.number, invalid.detail)
        else:
            users.append(entry)
            if len(users) == USERS_TOGETHER:
                store_users(tx, users, report, now)
                users.clear()
    store_users(tx, users, report, now)


def store_sessions(tx: Transaction, spool: Spool, report: Report, progress: Progress) -> None:
    """Store the sessions, batch by batch. Each is read while the database stores the one before."""
    done = spool.added - spool.sessions
    courses, coming, name_limit = courses_in(tx), batches(spool), CourseNameLimit(tx)
    with ThreadPoolExecutor(1, thread_name_prefix="seneca-import") as reader:
        ahead = reader.submit(next, coming, None)
        while batch := ahead.result():
            ahead = reader.submit(next, coming, None)
            bucket, sessions = batch
            Batch(tx, courses, bucket, report, name_limit).store(sessions)
            done += len(sessions)
            progress("storing", done, spool.added)
