"""The embedded engine: SQLite through apsw, write-ahead log, every commit synced to disk.

Keyed reads run on the event loop's own thread (a few microseconds each). Writes go to one writer
thread, which commits all that wait at once (``writer``). Reads that may touch many rows go to
threads with connections of their own.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import apsw

from seneca.database import (
    MOST_TOGETHER,
    BrokenReference,
    NotUnique,
    Parameters,
    Row,
    Transaction,
    many_rows,
    many_values,
    migrations,
)
from seneca.database.memory import Memory
from seneca.errors import Unavailable, Unusable

if TYPE_CHECKING:
    from seneca.database.writer import Writer

P = ParamSpec("P")
T = TypeVar("T")

BUSY_SLICE = 50  # milliseconds that SQLite itself waits for a lock before it says so
PATIENCE = 5.0  # seconds that a write waits for its turn
SCANNERS = 2

PRAGMAS = """
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA cache_size = -65536;
PRAGMA wal_autocheckpoint = 4000;
PRAGMA journal_size_limit = 67108864;
"""

_UNIQUE = {
    apsw.SQLITE_CONSTRAINT_UNIQUE,
    apsw.SQLITE_CONSTRAINT_PRIMARYKEY,
    apsw.SQLITE_CONSTRAINT_ROWID,
}
_FAULTS = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.FullError,
    apsw.IOError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.NoMemError,
    apsw.InterruptError,
    apsw.ProtocolError,
)


def check_version(version: int) -> None:
    """Refuse a SQLite whose write-ahead log can corrupt a database (sqlite.org/wal.html#walresetbug).

    The bug is in 3.7.0 to 3.51.2; 3.44.6 and 3.50.7 have the correction too.

    Args:
        version: as SQLite counts: 3051003 is 3.51.3.

    Raises:
        Unusable: this one has the bug.

    """
    mended = version >= 3_051_003 or 3_044_006 <= version < 3_045_000 or 3_050_007 <= version < 3_051_000
    if not mended:
        text = f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
        raise Unusable(f"SQLite {text} can corrupt a database in WAL mode. Use 3.51.3 or newer.")


def fault(error: apsw.Error) -> Exception:
    """What a fault of the engine means to a client: try again later. Anything else is a bug, as it was."""
    if isinstance(error, apsw.BusyError):
        return Unavailable("The database is busy with another write. Try again.", retry_after=5)
    if isinstance(error, apsw.FullError):
        return Unavailable("The disk is full: nothing can be stored now.", retry_after=30)
    if isinstance(error, _FAULTS):
        return Unavailable("The database cannot be used right now.", retry_after=5)
    return error


INDEX = "SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = :name"


class SqliteTransaction:
    """A connection, seen by concept functions. Begins and commits nothing itself."""

    def __init__(self, connection: apsw.Connection, buckets: int, memory: Memory) -> None:
        self.connection = connection
        self.buckets = buckets
        self.memory = memory
        self._execute = connection.execute

    def one(self, sql: str, /, **parameters: object) -> Row | None:
        """The first row, or None."""
        row: Row | None = self._execute(sql, parameters).fetchone()
        return row

    def all(self, sql: str, /, **parameters: object) -> list[Row]:
        """Every row."""
        return self._execute(sql, parameters).fetchall()

    def rows(self, sql: str, /, **parameters: object) -> Iterator[Row]:
        """Every row, one after the other."""
        return self._execute(sql, parameters)

    def run(self, sql: str, /, **parameters: object) -> int:
        """Run a statement; returns how many rows it changed."""
        try:
            self._execute(sql, parameters)
        except apsw.ConstraintError as error:
            raise _constraint(error) from error
        return self.connection.changes()

    def insert(self, sql: str, rows: Sequence[Parameters], /) -> list[Row]:
        """Insert many rows at once."""
        returned: list[Row] = []
        for start in range(0, len(rows), MOST_TOGETHER):
            together = rows[start : start + MOST_TOGETHER]
            text, names = many_rows(sql, len(together))
            try:
                returned += self._execute(text, [row[name] for row in together for name in names]).fetchall()
            except apsw.ConstraintError as error:
                raise _constraint(error) from error
        return returned

    def among(self, sql: str, values: Sequence[object], /, **parameters: object) -> list[Row]:
        """Every row of a statement with ``IN (:values)``."""
        found: list[Row] = []
        for start in range(0, len(values), MOST_TOGETHER):
            together = values[start : start + MOST_TOGETHER]
            text, names = many_values(sql, len(together))
            found += self._execute(text, parameters | dict(zip(names, together, strict=True))).fetchall()
        return found

    @contextmanager
    def loading(self, indexes: Sequence[str], /) -> Iterator[None]:
        """Do without these indexes meanwhile. Others go on reading: they see neither the rows nor this."""
        statements = [self.all(INDEX, name=name)[0][0] for name in indexes]
        for name in indexes:
            self.run(f"DROP INDEX {name}")
        self.run("PRAGMA cache_size = -32768")  # sorting takes as much memory again
        yield
        for statement in statements:
            self.run(statement)

    def script(self, sql: str, /) -> None:
        """Run several statements."""
        for _ in self._execute(sql):
            pass


def _extended(error: apsw.Error) -> int:
    """SQLite's extended result code, which apsw's types do not know of."""
    return int(getattr(error, "extendedresult", 0))


def _constraint(error: apsw.ConstraintError) -> Exception:
    if _extended(error) in _UNIQUE:
        return NotUnique()
    if _extended(error) == apsw.SQLITE_CONSTRAINT_FOREIGNKEY:
        return BrokenReference()
    return error


class Sqlite:
    """A SQLite database. Made by ``open_database``."""

    def __init__(self, path: Path) -> None:
        check_version(_version())
        self.path = path
        self.memory = Memory()
        self.applied = self._migrate()
        self._reader: SqliteTransaction | None = None
        self._writer: Writer | None = None
        self._local = threading.local()
        self._scanners = ThreadPoolExecutor(SCANNERS, thread_name_prefix="seneca-scan")

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), statementcachesize=200)
        connection.set_busy_timeout(BUSY_SLICE)
        for _ in connection.execute(PRAGMAS):
            pass
        return connection

    def _migrate(self) -> int:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = self._connect()
            connection.set_busy_timeout(30_000)  # several processes may start at once
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            tx = SqliteTransaction(connection, 0, self.memory)
            with _immediate(connection):
                applied = migrations.apply(tx, "sqlite")
                row = tx.one("SELECT value FROM properties WHERE name = 'buckets'")
            self.path.chmod(0o600)
            connection.close()
        except (OSError, apsw.Error) as error:
            raise Unusable(f"The database {self.path} cannot be used: {error}.") from error
        assert row is not None  # migrations.apply wrote it
        self.buckets = int(row[0])
        return applied

    def transaction(self) -> SqliteTransaction:
        """A connection of one's own, ready for concept functions. Raises Unavailable."""
        try:
            return SqliteTransaction(self._connect(), self.buckets, self.memory)
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
            from seneca.database.writer import Writer

            self._writer = Writer(self.transaction)
        return await self._writer.submit(f, *args, **kwargs)

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
    def reading(self) -> Iterator[SqliteTransaction]:
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
    def writing(self) -> Iterator[SqliteTransaction]:
        """A transaction: committed at the end of the block, undone if it raises."""
        tx = self.transaction()
        tx.connection.set_busy_timeout(int(PATIENCE * 1000))
        try:
            with _immediate(tx.connection):
                yield tx
        except apsw.Error as error:
            raise fault(error) from error
        finally:
            tx.connection.close()

    def close(self) -> None:
        """Finish the writes that wait and let go of every connection."""
        if self._writer is not None:
            self._writer.stop()
        self._scanners.shutdown()
        if self._reader is not None:
            self._reader.connection.close()


@contextmanager
def _immediate(connection: apsw.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version() -> int:
    major, minor, patch = (int(part) for part in apsw.sqlite_lib_version().split(".")[:3])
    return major * 1_000_000 + minor * 1000 + patch
