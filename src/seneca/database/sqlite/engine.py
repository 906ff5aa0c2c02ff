"""The SQLite engine, on apsw: a write-ahead log, and every commit is synced to disk.

Reads by key run on the event loop's own thread (a few microseconds each). Writes go to a single writer, which commits all waiting
ones together (``writer``): a process that all workers of a server share, or a thread of this process. Reads that may touch many rows
run on threads with their own connections.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

import apsw

from seneca.database import SCAN_THREADS, Progress, Transaction, migrations
from seneca.database.cache import Cache
from seneca.database.migrations import Announce, Migrator
from seneca.database.properties import DEFAULT_PROPERTIES, InitialProperties, Properties, read_properties
from seneca.database.single_statement import SingleStatement
from seneca.database.sqlite import backup, schema
from seneca.database.sqlite.capabilities import SqliteBackups, SqliteFiles, SqliteSharedWriter, translated_errors
from seneca.database.sqlite.local_writer import LocalWriter
from seneca.database.sqlite.locks import (
    BUSY_SECONDS,
    MAX_START_SECONDS,
    immediate,
    retry_at_start,
    wait_for_locks,
    write_ahead,
)
from seneca.database.sqlite.remote_writer import RemoteWriter
from seneca.database.sqlite.transaction import MAX_WRITE_WAIT_SECONDS, SqliteTransaction, translate_error
from seneca.database.sqlite.version import check_version, linked_version
from seneca.errors import CommandError, reason

P = ParamSpec("P")
T = TypeVar("T")

COUNT_TABLES = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('migrations', 'properties')"
PRAGMAS = """
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA secure_delete = ON;
PRAGMA cache_size = -65536;
PRAGMA wal_autocheckpoint = 4000;
PRAGMA journal_size_limit = 67108864;
"""


class Sqlite:
    """A SQLite database. Use ``open_database``."""

    def __init__(
        self,
        path: Path,
        *,
        create: bool = True,
        migrate: bool = True,
        initial: InitialProperties = DEFAULT_PROPERTIES,
        announce: Announce = lambda _: None,
        progress: Progress = lambda *_: None,
        writer: Path | None = None,
    ) -> None:
        check_version(linked_version())
        self.path = path
        self.name = str(path.absolute())
        self.cache = Cache()
        self.warnings: list[str] = []
        self.applied = self.pending = 0
        migrator = Migrator("sqlite", self.warnings, initial, announce, progress)
        try:
            self.is_new = not self._exists()
            if self.is_new and not create:
                raise CommandError(
                    f"There is no Seneca database at {path}, and none was created. Choose its directory: --data DIR."
                )
            self._open(migrator if migrate else None)
        except (OSError, apsw.Error) as error:
            text = f"The database {path} cannot be used: {reason(error)}. {migrator.advice}"
            raise CommandError(text.rstrip()) from error
        self.backups = SqliteBackups(self)
        self.files = SqliteFiles(self.transaction)
        self.cluster = None
        self.shared_writer = SqliteSharedWriter(self.transaction)
        self._reader: SqliteTransaction | None = None
        self._writer_socket = writer
        self._writer: LocalWriter | RemoteWriter | None = None
        self._local = threading.local()
        self._scanners = ThreadPoolExecutor(SCAN_THREADS, thread_name_prefix="seneca-scan")

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), statementcachesize=200)
        try:
            wait_for_locks(connection, BUSY_SECONDS)
            for _ in connection.execute(PRAGMAS):
                pass
        except BaseException:
            connection.close()
            raise
        return connection

    def _exists(self) -> bool:
        """Whether the file holds a database of Seneca. Does not create a file."""
        if not self.path.exists():
            return False
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            wait_for_locks(connection, MAX_START_SECONDS)
            return retry_at_start(lambda: connection.execute(COUNT_TABLES).fetchall()) == [(2,)]

    def _open(self, migrator: Migrator | None) -> None:
        """Migrate the schema, if requested, and read the database's properties.

        If the schema is up to date, this only reads, so that it does not wait for a writer.
        """
        backup.make_private(self.path)
        with closing(retry_at_start(self._connect)) as connection:
            wait_for_locks(connection, MAX_START_SECONDS)  # several processes may start at once
            tx = SqliteTransaction(connection, Properties(), self.cache)
            if migrator is None:
                self.pending = migrations.pending(tx, "sqlite")
            else:
                write_ahead(connection)
                if not is_current(tx):
                    migrator.run(lambda: locked(tx))
                    self.applied = migrator.applied
            self.properties = read_properties(tx)
            self.id = (tx.fetch_one(migrations.DATABASE_ID) or [None])[0]

    @property
    def buckets(self) -> int:
        """The number of buckets."""
        return self.properties.buckets

    def transaction(self) -> SqliteTransaction:
        """A new connection, ready for domain functions. Raises ServiceUnavailable."""
        try:
            return SqliteTransaction(self._connect(), self.properties, self.cache)
        except apsw.Error as error:
            raise translate_error(error) from error

    # -- for the server ------------------------------------------------------------------------

    async def read(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a single query by key on the calling thread."""
        try:
            return f(cast("Transaction", SingleStatement(self._read_connection())), *args, **kwargs)
        except apsw.Error as error:
            raise translate_error(error) from error

    async def read_snapshot(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run queries by key on the calling thread, on one snapshot."""
        return self._snapshot(self._read_connection(), f, *args, **kwargs)

    poll = read_snapshot  # no other request can delay it

    def _read_connection(self) -> SqliteTransaction:
        if self._reader is None:
            self._reader = self.transaction()
        return self._reader

    async def scan(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a read that may touch many rows on one of the scan threads, on one snapshot."""

        def work() -> T:
            if not hasattr(self._local, "tx"):
                self._local.tx = self.transaction()
            return self._snapshot(self._local.tx, f, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._scanners, work)

    async def write(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a short write; returns once it is on disk."""
        return cast("T", await self._get_writer().write(f, args, kwargs, is_bulk=False))

    async def write_bulk(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a write of many rows; returns once it is on disk."""
        return cast("T", await self._get_writer().write(f, args, kwargs, is_bulk=True))

    def _get_writer(self) -> "LocalWriter | RemoteWriter":
        if self._writer is None:
            self._writer = RemoteWriter(self._writer_socket) if self._writer_socket else LocalWriter(self.transaction)
        return self._writer

    @staticmethod
    def _snapshot(
        tx: SqliteTransaction,
        f: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        try:
            tx.connection.execute("BEGIN")
            try:
                return f(tx, *args, **kwargs)
            finally:
                if tx.connection.in_transaction:  # some errors end the transaction
                    tx.connection.execute("COMMIT")
        except apsw.Error as error:
            raise translate_error(error) from error

    # -- for commands -------------------------------------------------------------------------

    @contextmanager
    def read_transaction(self) -> Iterator[SqliteTransaction]:
        """A snapshot for commands."""
        tx = self.transaction()
        try:
            tx.connection.execute("BEGIN")
            yield tx
        except apsw.Error as error:
            raise translate_error(error) from error
        finally:
            tx.connection.close()

    @contextmanager
    def write_transaction(self) -> Iterator[SqliteTransaction]:
        """A transaction: committed at the end of the block, rolled back if it raises."""
        tx = self.transaction()
        wait_for_locks(tx.connection, MAX_WRITE_WAIT_SECONDS)
        try:
            with immediate(tx.connection):
                yield tx
        except apsw.Error as error:
            raise translate_error(error) from error
        finally:
            tx.connection.close()

    def check_schema(self, name: Path | None = None) -> None:
        """Check that the schema is exactly what the migrations create. ``name`` is the path to show in errors."""
        with translated_errors(self.path), closing(self.transaction().connection) as connection:
            schema.check(connection, name or self.path)

    def close(self) -> None:
        """Finish the queued writes and close every connection."""
        if self._writer is not None:
            self._writer.stop()
        self._scanners.shutdown()
        if self._reader is not None:
            self._reader.connection.close()


@contextmanager
def locked(tx: SqliteTransaction) -> Iterator[SqliteTransaction]:
    """A transaction that takes the write lock first."""
    with immediate(tx.connection):
        yield tx


def is_current(tx: SqliteTransaction) -> bool:
    """Whether the last committed state has every migration, without a pending backfill, and the database's id."""
    try:
        return not migrations.pending(tx, "sqlite") and tx.fetch_one(migrations.DATABASE_ID) is not None
    except apsw.SQLError:  # no such table: the database is new
        return False
