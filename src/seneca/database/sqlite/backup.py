"""Copies of a SQLite database: made while others write, proven, and put in its place while others read."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile, mkstemp
from typing import Any, Final
from urllib.parse import quote

import apsw

from seneca.common.atomic_file import replacing
from seneca.database import Progress
from seneca.database.migrations import DATABASE_ID
from seneca.database.sqlite.schema import check_no_programs
from seneca.errors import CommandError

TELL_EVERY: Final = 100_000  # SQLite's own steps
TOGETHER: Final = 1000  # pages
LOCK_PATIENCE: Final = 30.0  # seconds that the last step waits for another process's write
ASK_AGAIN: Final = 0.005  # seconds
BESIDE: Final = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a database

READ_AS_IT_IS: Final = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI  # leaves no file beside it

SIZE = (
    "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
OURS = "SELECT 1 FROM migrations, properties WHERE properties.name = 'buckets'"
LITESTREAM = "SELECT 1 FROM sqlite_schema WHERE name LIKE '\\_litestream\\_%' ESCAPE '\\'"  # its copies are complete
MISSING_LOG: Final = (
    "It looks like a plain copy of a live seneca.db: the newest records may be missing, since seneca.db-wal was not copied "
    "with it. Copy a database with: seneca backup."
)
WORSE = "PRAGMA integrity_check(1)"
DANGLING = "PRAGMA foreign_key_check"


def make_private(path: Path) -> None:
    """Make sure that only its owner may open a database's files, before anything is written to them.

    SQLite gives ``-wal``, ``-shm`` and ``-journal`` the mode of the database's own file. That is made under another name, since
    to close a file would release the locks that others in this process have on it.

    Raises:
        OSError: a file can be neither made nor changed.

    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        descriptor, empty = mkstemp(dir=path.parent, prefix=f"{path.name}.")
        os.close(descriptor)
        try:
            with suppress(FileExistsError):
                os.link(empty, path)
        finally:
            Path(empty).unlink()
    for end in ("", *BESIDE):
        file = Path(f"{path}{end}")
        with suppress(FileNotFoundError):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


def write(connection: apsw.Connection, path: Path, progress: Progress) -> None:
    """Write everything as it is at this moment to an empty file, compact: it holds nothing that was deleted.

    Raises:
        apsw.Error: it cannot be read or written.

    """
    size: Any = connection.execute(SIZE).fetchall()[0][0]

    def tell() -> bool:
        progress("copying", min(path.stat().st_size, size), size)
        return False  # go on

    connection.set_progress_handler(tell, TELL_EVERY)
    connection.execute("VACUUM INTO :path", {"path": str(path)})


@contextmanager
def placed(path: Path, database: Path, id: str | None, *, force: bool) -> Iterator[Path]:
    """A new private file that takes the place of what the path names, once the block is done.

    Args:
        path: where the copy of a database is to be.
        database: the database.
        id: its id.
        force: whether the copy may replace a file that is no older copy of this database.

    Raises:
        CommandError: it cannot be written, or must not be; what was there is still there.

    """
    path = path.resolve()
    if path in [Path(f"{database.resolve()}{end}") for end in ("", *BESIDE)]:
        raise CommandError(f"{path} is the database itself.")
    if path.exists():
        check_replaceable(path, database, id, force=force)
    try:
        with replacing(path) as file:
            yield Path(file.name)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error


def check_replaceable(path: Path, database: Path, id: str | None, *, force: bool) -> None:
    """Refuse to replace what is no older copy of this database. Raises CommandError."""
    if not path.is_file():
        raise CommandError(f"{path} is not a file.")
    if any(Path(f"{path}{end}").exists() for end in BESIDE):
        raise CommandError(f"{path} is a database in use: {path}-wal or -journal belongs to it. Name another file.")
    if force or not path.stat().st_size or (id is not None and database_id(path) == id):
        return
    raise CommandError(f"{path} is no backup of {database}, and is kept. Name another file, or replace it: --force.")


def database_id(path: Path) -> str | None:
    """The id of the database in a file, or None: there is none, or it is from before databases had ids."""
    try:
        rows = _rows(path, DATABASE_ID)
    except apsw.Error:
        return None
    return str(rows[0][0]) if rows else None


def _rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(apsw.Connection(f"file:{quote(str(path))}?immutable=1", flags=READ_AS_IT_IS)) as connection:
        return connection.execute(sql).fetchall()


@contextmanager
def copied(path: Path, beside: Path) -> Iterator[Path]:
    """A private copy of a database that nobody has open, for the time of the block, in a directory with room for it.

    Args:
        path: the file.
        beside: the database whose place the copy is to take.

    Raises:
        CommandError: it cannot be read, or is in use.

    """
    try:
        if path.resolve() == beside.resolve():
            raise CommandError(f"{path} is the database itself.")
        if any(Path(f"{path}{end}").exists() and Path(f"{path}{end}").stat().st_size for end in BESIDE):
            raise CommandError(
                f"{path} is a database in use, or one that was not closed: {path}-wal or -journal belongs to it. "
                "Make a backup of it with: seneca backup."
            )
        with (
            path.open("rb") as source,
            NamedTemporaryFile(dir=beside.parent, prefix=f"{beside.name}.", delete=False) as file,
        ):
            part = Path(file.name)
            try:
                shutil.copyfileobj(source, file, 1 << 20)
                file.close()
                yield part
            finally:
                for end in ("", *BESIDE):
                    Path(f"{part}{end}").unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"{path} cannot be copied: {error.strerror}.") from error


def check(path: Path, name: Path) -> None:
    """See to it that a file holds a whole database of ours.

    Args:
        path: the file; nobody else has it open.
        name: what to call it.

    Raises:
        CommandError: it does not.

    """
    hint = f" {MISSING_LOG}" if is_live_copy(path) else ""
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            if connection.execute(OURS).fetchone() is None:
                raise CommandError(f"{name} is no backup of Seneca.{hint}")
            worse = connection.execute(WORSE).fetchall()
            if worse != [("ok",)]:
                raise CommandError(f"{name} is damaged: {' '.join(str(worse[0][0]).split())}.{hint}")
            check_no_programs(connection, name)
            if connection.execute(DANGLING).fetchone() is not None:
                raise CommandError(f"{name} is damaged: rows refer to others that are not there.{hint}")
    except (apsw.NotADBError, apsw.SQLError) as error:
        raise CommandError(f"{name} is no backup of Seneca.{hint}") from error
    except apsw.CorruptError as error:
        raise CommandError(f"{name} is damaged: {error}.{hint}") from error


def is_live_copy(path: Path) -> bool:
    """Whether a file looks like a plain copy of a live database, which may lack the newest records. Raises OSError.

    Its header says that there is a write-ahead log, and a backup's does not (sqlite.org/fileformat.html).
    """
    with path.open("rb") as file:
        has_log = file.read(20)[18:] == b"\x02\x02"
    try:
        return has_log and not _rows(path, LITESTREAM)
    except apsw.Error:
        return has_log


def repage(path: Path, target: apsw.Connection) -> None:
    """Lay a database out in pages of another one's size, since ``replace`` copies pages as they are."""
    ((size,),) = target.execute("PRAGMA page_size").fetchall()
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        if connection.execute("PRAGMA page_size").fetchall() != [(size,)]:
            for statement in ("PRAGMA journal_mode = DELETE", f"PRAGMA page_size = {size}", "VACUUM"):
                connection.execute(statement).fetchall()


def replace(target: apsw.Connection, source: apsw.Connection, carry: Callable[[], None], progress: Progress) -> None:
    """Put every page of a database in the place of another's, in one transaction.

    Others that have the target open go on: they read what was there until it is done, then what is there now, and their
    writes wait.

    Args:
        target: outside a transaction.
        source: outside a transaction.
        carry: called once nobody can write to the target any more; may change the source, through this connection.
        progress: told how far it is.

    Raises:
        apsw.Error: nothing has changed.

    """
    with target.backup("main", source, "main") as pages:
        _lock(pages)
        carry()
        while not pages.done:  # the last step commits
            pages.step(TOGETHER)
            progress("restoring", pages.page_count - pages.remaining, pages.page_count)
    target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # what was there is gone from the file, too


def _lock(pages: apsw.Backup) -> None:
    """Copy the first page, and with it take the target's write lock."""
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            pages.step(1)
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(ASK_AGAIN)
        else:
            return
