"""The embedded engine: SQLite through apsw, write-ahead log, every commit synced to disk.

Keyed reads run on the event loop's own thread (a few microseconds each). Writes go to one writer
thread, which commits all that wait at once (``writer``). Reads that may touch many rows go to
threads with connections of their own.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import apsw

from seneca.database import SCAN_THREADS, Database, Progress, Transaction, migrations
from seneca.database.cache import Cache
from seneca.database.sqlite import backup, schema
from seneca.database.sqlite.locking import BUSY_SLICE, START_PATIENCE, immediate, wait_for_locks, write_ahead
from seneca.database.sqlite.transaction import PATIENCE, SqliteTransaction, fault
from seneca.database.sqlite.vacuum import empty_log, vacuum
from seneca.database.sqlite.writer import Writer
from seneca.errors import CommandError, reason

P = ParamSpec("P")
T = TypeVar("T")

OURS = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('migrations', 'properties')"
PRAGMAS = """
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA secure_delete = ON;
PRAGMA cache_size = -65536;
PRAGMA wal_autocheckpoint = 4000;
PRAGMA journal_size_limit = 67108864;
"""


def check_version(version: int) -> None:
    """Refuse a SQLite whose write-ahead log can corrupt a database (sqlite.org/wal.html#walresetbug).

    The bug is in 3.7.0 to 3.51.2; 3.44.6 and 3.50.7 have the correction too.

    Args:
        version: as SQLite counts: 3051003 is 3.51.3.

    Raises:
        CommandError: this one has the bug.

    """
    mended = version >= 3_051_003 or 3_044_006 <= version < 3_045_000 or 3_050_007 <= version < 3_051_000
    if not mended:
        text = f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
        raise CommandError(f"SQLite {text} can corrupt a database in WAL mode. Use 3.51.3 or newer.")


class Sqlite:
    """A SQLite database. Made by ``open_database``."""

    def __init__(self, path: Path, *, create: bool = True, migrate: bool = True) -> None:
        check_version(_version())
        self.path = path
        self.name = str(path.absolute())
        self.cache = Cache()
        self.warnings: list[str] = []
        self.applied = self.pending = 0
        try:
            self.is_new = not self._exists()
            if self.is_new and not create:
                raise CommandError(
                    f"There is no Seneca database at {path}, and none was created. Name its directory: --data DIR."
                )
            self._open(migrate=migrate)
        except (OSError, apsw.Error) as error:
            raise CommandError(f"The database {path} cannot be used: {reason(error)}.") from error
        self._reader: SqliteTransaction | None = None
        self._writer: Writer | None = None
        self._local = threading.local()
        self._scanners = ThreadPoolExecutor(SCAN_THREADS, thread_name_prefix="seneca-scan")

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), statementcachesize=200)
        wait_for_locks(connection, BUSY_SLICE)
        for _ in connection.execute(PRAGMAS):
            pass
        return connection

    def _exists(self) -> bool:
        """Whether the file holds a database of ours. Makes no file."""
        if not self.path.exists():
            return False
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            wait_for_locks(connection, START_PATIENCE)
            return connection.execute(OURS).fetchall() == [(2,)]

    def _open(self, *, migrate: bool) -> None:
        """Bring the schema up to date, if that is wanted, and read what the database says of itself.

        Where it is up to date, this only reads: it must not wait for whoever writes.
        """
        backup.make_private(self.path)
        with closing(self._connect()) as connection:
            wait_for_locks(connection, START_PATIENCE)  # several processes may start at once
            tx = SqliteTransaction(connection, 0, self.cache)
            if migrate:
                write_ahead(connection)
                if not is_current(tx):
                    with immediate(connection):
                        self.applied = migrations.apply(tx, "sqlite", self.warnings)
            else:
                self.pending = len(migrations.pending(tx, "sqlite"))
            row = tx.fetch_one("SELECT value FROM properties WHERE name = 'buckets'")
            self.id = (tx.fetch_one(migrations.DATABASE_ID) or [None])[0]
        assert row is not None  # migrations.apply wrote it
        self.buckets = int(row[0])

    def transaction(self) -> SqliteTransaction:
        """A connection of one's own, ready for concept functions. Raises ServiceUnavailable."""
        try:
            return SqliteTransaction(self._connect(), self.buckets, self.cache)
        except apsw.Error as error:
            raise fault(error) from error

    # -- for the server ------------------------------------------------------------------------

    async def read(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a keyed read here and now, on one snapshot."""
        if self._reader is None:
            self._reader = self.transaction()
        return self._snapshot(self._reader, f, *args, **kwargs)

    poll = read  # no request can delay it

    async def scan(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a read that may touch many rows on a thread, on one snapshot."""

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
        """Hand a write to the writer thread; returns when it is on disk."""
        if self._writer is None:
            self._writer = Writer(self.transaction)
        return await self._writer.submit(f, *args, **kwargs)

    async def vacuum(self, *, thoroughly: bool = False) -> None:
        """Rewrite the file if it is small, or ``thoroughly``."""
        await self._maintain(lambda connection: vacuum(connection, thoroughly=thoroughly))

    async def empty_log(self) -> None:
        """Empty the write-ahead log."""
        await self._maintain(empty_log)

    async def _maintain(self, work: Callable[[apsw.Connection], None]) -> None:
        """Work on the files, on a thread with a connection of its own."""

        def run() -> None:
            with closing(self.transaction().connection) as connection:
                try:
                    work(connection)
                except apsw.Error as error:
                    raise fault(error) from error

        await asyncio.get_running_loop().run_in_executor(None, run)

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
                if tx.connection.in_transaction:  # some faults end it by themselves
                    tx.connection.execute("COMMIT")
        except apsw.Error as error:
            raise fault(error) from error

    # -- for the shell -------------------------------------------------------------------------

    @contextmanager
    def read_transaction(self) -> Iterator[SqliteTransaction]:
        """A snapshot."""
        tx = self.transaction()
        try:
            tx.connection.execute("BEGIN")
            yield tx
        except apsw.Error as error:
            raise fault(error) from error
        finally:
            tx.connection.close()

    @contextmanager
    def write_transaction(self) -> Iterator[SqliteTransaction]:
        """A transaction: committed at the end of the block, undone if it raises."""
        tx = self.transaction()
        wait_for_locks(tx.connection, PATIENCE)
        try:
            with immediate(tx.connection):
                yield tx
        except apsw.Error as error:
            raise fault(error) from error
        finally:
            tx.connection.close()

    def backup(self, path: Path, look: Callable[[Transaction], T], progress: Progress, *, force: bool) -> T:
        """Copy everything, as it is at this moment, into a file."""
        with self._damage(), backup.placed(path, self.path, self.id, force=force) as part:
            with closing(self.transaction().connection) as connection:
                backup.write(connection, part, progress)
            backup.check(part, path)
            with closing(apsw.Connection(str(part), flags=apsw.SQLITE_OPEN_READONLY)) as copy:
                return look(SqliteTransaction(copy, self.buckets, Cache()))

    def restore(
        self,
        path: Path,
        prove: Callable[[Database], None],
        carry: Callable[[Transaction, Transaction], None],
        progress: Progress,
    ) -> None:
        """Put a copy in the place of everything, in one transaction."""
        with self._damage(), backup.copied(path, self.path) as part, closing(self.transaction().connection) as target:
            backup.check(part, path)
            backup.repage(part, target)
            fresh = Sqlite(part)
            try:
                fresh.check_schema(path)
                prove(fresh)
                source = fresh.transaction()

                def last() -> None:
                    with self.read_transaction() as old, immediate(source.connection):
                        carry(old, source)

                with closing(source.connection):
                    backup.replace(target, source.connection, last, progress)
            finally:
                fresh.close()

    def check_schema(self, name: Path | None = None) -> None:
        """Refuse a file that has anything the migrations do not make. It is called by its path, or by this name."""
        with self._damage(), closing(self.transaction().connection) as connection:
            schema.check(connection, name or self.path)

    @contextmanager
    def _damage(self) -> Iterator[None]:
        """Say what faults of the engine mean where a person reads it."""
        try:
            yield
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise CommandError(f"{self.path} is damaged: {error}.") from error
        except apsw.Error as error:
            raise fault(error) from error

    def distribute(self, progress: Callable[[str], None]) -> int:  # noqa: ARG002 there is nothing to tell
        """Refuse: a file is in one place."""
        raise CommandError(
            "SQLite is one file and cannot be distributed. Use a PostgreSQL with Citus: --database postgresql://…."
        )

    def close(self) -> None:
        """Finish the writes that wait and let go of every connection."""
        if self._writer is not None:
            self._writer.stop()
        self._scanners.shutdown()
        if self._reader is not None:
            self._reader.connection.close()


def is_current(tx: SqliteTransaction) -> bool:
    """Whether no migration is missing, by what was committed last, and the database has its id."""
    try:
        return not migrations.pending(tx, "sqlite") and tx.fetch_one(migrations.DATABASE_ID) is not None
    except apsw.SQLError:  # there is no such table: the database is new
        return False


def _version() -> int:
    major, minor, patch = (int(part) for part in apsw.sqlite_lib_version().split(".")[:3])
    return major * 1_000_000 + minor * 1000 + patch
