"""Backups of a SQLite database: written beside concurrent writes, verified, and restored beside concurrent reads."""

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

from seneca.common.atomic_file import atomic_write
from seneca.database import Progress
from seneca.database.migrations import DATABASE_ID
from seneca.database.sqlite.schema import check_no_programs
from seneca.errors import CommandError

PROGRESS_STEPS: Final = 100_000  # instructions of SQLite's virtual machine between two progress reports
PAGES_PER_STEP: Final = 1000
MAX_LOCK_SECONDS: Final = 30.0  # that a restore waits for another process's write
RETRY_SECONDS: Final = 0.005
SIDE_FILES: Final = ("-wal", "-shm", "-journal")  # suffixes of the files that SQLite keeps next to a database

IMMUTABLE_FLAGS: Final = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI  # reading creates no side files

SIZE = (
    "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
IS_SENECA = "SELECT 1 FROM migrations, properties WHERE properties.name = 'buckets'"
LITESTREAM = (
    "SELECT 1 FROM sqlite_schema WHERE name LIKE '\\_litestream\\_%' ESCAPE '\\'"  # a replica by Litestream is complete
)
MISSING_WAL: Final = (
    "It looks like a plain copy of a live seneca.db: the newest records may be missing, because seneca.db-wal was not copied "
    "with it. To copy a database, use: seneca backup."
)
INTEGRITY_CHECK = "PRAGMA integrity_check(1)"
FOREIGN_KEY_CHECK = "PRAGMA foreign_key_check"


def make_private(path: Path) -> None:
    """Make a database's files readable by their owner only, before anything is written to them.

    SQLite gives ``-wal``, ``-shm`` and ``-journal`` the mode of the database file. That is created under another name, because
    closing it would release the locks that this process holds on it.

    Raises:
        OSError: a file cannot be created, or its mode cannot be changed.

    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        descriptor, temporary = mkstemp(dir=path.parent, prefix=f"{path.name}.")
        os.close(descriptor)
        try:
            with suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            Path(temporary).unlink()
    for suffix in ("", *SIDE_FILES):
        file = Path(f"{path}{suffix}")
        with suppress(FileNotFoundError):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


def write(connection: apsw.Connection, path: Path, progress: Progress) -> None:
    """Write a compact snapshot, without deleted data, to an empty file.

    Raises:
        apsw.Error: the database cannot be read or the file cannot be written.

    """
    size: Any = connection.execute(SIZE).fetchall()[0][0]

    def report_progress() -> bool:
        progress("copying", min(path.stat().st_size, size), size)
        return False  # continue

    connection.set_progress_handler(report_progress, PROGRESS_STEPS)
    connection.execute("VACUUM INTO :path", {"path": str(path)})


@contextmanager
def replacing_backup(path: Path, database: Path, id: str | None, *, force: bool) -> Iterator[Path]:
    """A new private file, which is renamed to the path at the end of the block.

    Args:
        path: the backup.
        database: the database.
        id: its id.
        force: whether to replace a file even if it is not an older backup of this database.

    Raises:
        CommandError: the path cannot or must not be written; an existing file is unchanged.

    """
    path = path.resolve()
    if path in [Path(f"{database.resolve()}{suffix}") for suffix in ("", *SIDE_FILES)]:
        raise CommandError(f"{path} is the database itself.")
    if path.exists():
        check_replaceable(path, database, id, force=force)
    try:
        with atomic_write(path) as file:
            yield Path(file.name)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error


def check_replaceable(path: Path, database: Path, id: str | None, *, force: bool) -> None:
    """Check that a file may be replaced: it is an older backup of this database. Raises CommandError."""
    if not path.is_file():
        raise CommandError(f"{path} is not a file.")
    if any(Path(f"{path}{suffix}").exists() for suffix in SIDE_FILES):
        raise CommandError(f"{path} is a database in use: it has a {path}-wal or -journal file. Choose another file.")
    if force or not path.stat().st_size or (id is not None and database_id(path) == id):
        return
    raise CommandError(
        f"{path} is not a backup of {database} and was not replaced. Choose another file, or use --force."
    )


def database_id(path: Path) -> str | None:
    """The id of the database in a file, or None: it is not a database, or older than these ids."""
    try:
        rows = _rows(path, DATABASE_ID)
    except apsw.Error:
        return None
    return str(rows[0][0]) if rows else None


def _rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(apsw.Connection(f"file:{quote(str(path))}?immutable=1", flags=IMMUTABLE_FLAGS)) as connection:
        return connection.execute(sql).fetchall()


@contextmanager
def temporary_copy(path: Path, target: Path) -> Iterator[Path]:
    """A private temporary copy of a database that is not in use, for the duration of the block.

    Args:
        path: the file.
        target: the database to be replaced; the copy is made in its directory.

    Raises:
        CommandError: the file cannot be read, or is in use.

    """
    try:
        if path.resolve() == target.resolve():
            raise CommandError(f"{path} is the database itself.")
        if any(Path(f"{path}{suffix}").exists() and Path(f"{path}{suffix}").stat().st_size for suffix in SIDE_FILES):
            raise CommandError(
                f"{path} is a database in use, or was not closed: it has a {path}-wal or -journal file. "
                "Back it up with: seneca backup."
            )
        with (
            path.open("rb") as source,
            NamedTemporaryFile(dir=target.parent, prefix=f"{target.name}.", delete=False) as file,
        ):
            part = Path(file.name)
            try:
                shutil.copyfileobj(source, file, 1 << 20)
                file.close()
                yield part
            finally:
                for suffix in ("", *SIDE_FILES):
                    Path(f"{part}{suffix}").unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"{path} cannot be copied: {error.strerror}.") from error


def check(path: Path, name: Path) -> None:
    """Check that a file holds a complete database of Seneca.

    Args:
        path: the file, which nobody else has open.
        name: the path to show in errors.

    Raises:
        CommandError: it does not.

    """
    hint = f" {MISSING_WAL}" if is_live_copy(path) else ""
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            if connection.execute(IS_SENECA).fetchone() is None:
                raise CommandError(f"{name} is not a backup of Seneca.{hint}")
            problems = connection.execute(INTEGRITY_CHECK).fetchall()
            if problems != [("ok",)]:
                raise CommandError(f"{name} is damaged: {' '.join(str(problems[0][0]).split())}.{hint}")
            check_no_programs(connection, name)
            if connection.execute(FOREIGN_KEY_CHECK).fetchone() is not None:
                raise CommandError(f"{name} is damaged: rows refer to missing rows.{hint}")
    except (apsw.NotADBError, apsw.SQLError) as error:
        raise CommandError(f"{name} is not a backup of Seneca.{hint}") from error
    except apsw.CorruptError as error:
        raise CommandError(f"{name} is damaged: {error}.{hint}") from error


def is_live_copy(path: Path) -> bool:
    """Whether a file looks like a plain copy of a live database, which may lack the newest records. Raises OSError.

    The header of such a copy names a write-ahead log, that of a backup does not (sqlite.org/fileformat.html).
    """
    with path.open("rb") as file:
        has_log = file.read(20)[18:] == b"\x02\x02"
    try:
        return has_log and not _rows(path, LITESTREAM)
    except apsw.Error:
        return has_log


def match_page_size(path: Path, target: apsw.Connection) -> None:
    """Give a database the page size of the target, because ``replace`` copies whole pages."""
    ((size,),) = target.execute("PRAGMA page_size").fetchall()
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        if connection.execute("PRAGMA page_size").fetchall() != [(size,)]:
            for statement in ("PRAGMA journal_mode = DELETE", f"PRAGMA page_size = {size}", "VACUUM"):
                connection.execute(statement).fetchall()


def replace(
    target: apsw.Connection, source: apsw.Connection, carry_over: Callable[[], None], progress: Progress
) -> None:
    """Replace every page of a database by those of another, in one transaction.

    Other connections to the target stay valid: they read the old content until the commit, and their writes wait.

    Args:
        target: outside a transaction.
        source: outside a transaction.
        carry_over: called once the target is locked against writes; may change the source, through this connection.
        progress: called with the progress.

    Raises:
        apsw.Error: nothing was changed.

    """
    with target.backup("main", source, "main") as pages:
        _lock(pages)
        carry_over()
        while not pages.done:  # the last step commits
            pages.step(PAGES_PER_STEP)
            progress("restoring", pages.page_count - pages.remaining, pages.page_count)
    target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # removes the old pages from the file, too


def _lock(pages: apsw.Backup) -> None:
    """Copy the first page, which takes the target's write lock."""
    deadline = time.monotonic() + MAX_LOCK_SECONDS
    while True:
        try:
            pages.step(1)
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return
