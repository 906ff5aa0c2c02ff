"""PostgreSQL, through psycopg: a few threads, each with a connection of its own.

A transaction costs two round trips: one for what it asks, one for what it writes and the COMMIT. One that another
transaction overtook is run again.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper, NumericBinaryLoader, NumericLoader

from seneca.database import Database, Progress, Transaction, migrations
from seneca.database.memory import Memory
from seneca.database.postgres.running import SNAPSHOT, Lost, Runner, Work, check_committed
from seneca.database.postgres.transaction import Connection, PostgresTransaction, meaning
from seneca.errors import Unavailable, Unusable

P = ParamSpec("P")
T = TypeVar("T")

OLDEST: Final = 150_000  # as PostgreSQL counts its versions
MOST_WAITING: Final = 4096
SCANNERS: Final = 2
CONNECT_SECONDS: Final = 3
DURABLE: Final = ("fsync", "synchronous_commit", "full_page_writes")
MIGRATING: Final = 0x5E4ECA  # the advisory lock of who brings the schema up to date

ALWAYS: Final = "-c timezone=UTC -c default_transaction_isolation=read\\ committed"
SERVING: Final = f"{ALWAYS} -c lock_timeout=5s -c statement_timeout=30s -c idle_in_transaction_session_timeout=30s"
SHELL: Final = f"{ALWAYS} -c lock_timeout=30s"
ALONE: Final = "LOCK TABLE accounts, courses, sessions IN EXCLUSIVE MODE"
"""Everybody else goes on reading. Every write of the server's locks a row of these first."""


logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of what follows when a pipeline fails, which we raise


class _Sum(NumericLoader):
    """Sums of integers are integers; PostgreSQL calls them numeric."""

    def load(self, data: Any) -> Any:
        return int(super().load(data))


class _BinarySum(NumericBinaryLoader):
    def load(self, data: Any) -> Any:
        return int(super().load(data))


def adapters() -> AdaptersMap:
    """How values go to the server and come back: every integer as bigint, or each size would be prepared anew."""
    made = AdaptersMap(psycopg.adapters)
    made.register_dumper(int, Int8Dumper)
    made.register_dumper(int, Int8BinaryDumper)
    made.register_loader("numeric", _Sum)
    made.register_loader("numeric", _BinarySum)
    return made


class Postgres:
    """A PostgreSQL database. Made by ``open_database``."""

    def __init__(self, url: str, connections: int) -> None:
        self.memory = Memory()
        self.warnings: list[str] = []
        self._url = url
        self._adapters = adapters()
        self.applied = self._migrate()
        self._runner = Runner(self.buckets, self.memory)
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="seneca-database")
        self._scanners = ThreadPoolExecutor(SCANNERS, thread_name_prefix="seneca-scan")
        self._local = threading.local()
        self._open: set[Connection] = set()
        self._waiting = 0

    def _connect(self, options: str) -> Connection:
        return psycopg.connect(
            self._url,
            autocommit=True,
            context=self._adapters,
            connect_timeout=CONNECT_SECONDS,
            application_name="seneca",
            options=options,
            tcp_user_timeout=5000,  # milliseconds
        )

    def _migrate(self) -> int:
        try:
            with self._connect(SHELL) as connection:
                self._check(connection)
                tx = PostgresTransaction(connection, None, 0, self.memory)
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATING,))
                    applied = migrations.apply(tx, "postgres", self.warnings)
                    row = tx.one("SELECT value FROM properties WHERE name = 'buckets'")
        except psycopg.ProgrammingError as error:  # its text may hold a part of the URL, and so of the password
            raise Unusable("SENECA_DATABASE_URL is no URL that PostgreSQL understands.") from error
        except psycopg.Error as error:
            raise Unusable(f"The database {self._name()} cannot be used: {' '.join(str(error).split())}") from error
        assert row is not None  # migrations.apply wrote it
        self.buckets = int(row[0])
        return applied

    def _name(self) -> str:
        """The database, without the password that its URL may hold."""
        parts = urlsplit(self._url)
        return f"{parts.path.removeprefix('/')} on {parts.hostname or 'this machine'}"

    def _check(self, connection: Connection) -> None:
        version = connection.info.server_version
        if version < OLDEST:
            raise Unusable(f"PostgreSQL {version // 10_000} is too old. Use 15 or newer.")
        for setting in DURABLE:
            if connection.execute("SELECT current_setting(%s)", (setting,)).fetchone() == ("off",):
                self.warnings.append(f"PostgreSQL has {setting} = off: acknowledged writes can be lost. Set it to on.")
        row = connection.execute("SHOW server_encoding").fetchone()
        if row != ("UTF8",):
            raise Unusable("The database must be encoded in UTF8: createdb --encoding=UTF8 --template=template0.")

    # -- for the server ------------------------------------------------------------------------

    async def read(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a read on a thread: one statement as it is, several on one snapshot."""
        return await self._on(self._threads, self._runner.read, lambda tx: f(tx, *args, **kwargs))

    async def scan(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a read that may touch many rows on a thread of its own kind, on one snapshot."""
        return await self._on(self._scanners, self._runner.snapshot, lambda tx: f(tx, *args, **kwargs))

    async def write(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a write on a thread, and commit it."""
        return await self._on(self._threads, self._runner.write, lambda tx: f(tx, *args, **kwargs))

    async def scour(self, *, thoroughly: bool = False) -> None:
        """Leave it to the server, which vacuums by itself in time (docs/privacy.md)."""
        if thoroughly:
            raise Unusable("PostgreSQL is scoured by its own VACUUM (FULL): docs/privacy.md has the statement.")

    async def _on(
        self,
        threads: ThreadPoolExecutor,
        way: Callable[[Connection, Work[T]], T],
        work: Work[T],
    ) -> T:
        if self._waiting >= MOST_WAITING:
            raise Unavailable("Too many requests are waiting. Try again.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, self._with_connection, way, work)
        finally:
            self._waiting -= 1

    def _with_connection(self, way: Callable[[Connection, Work[T]], T], work: Work[T]) -> T:
        """Run work on this thread's connection, or on a new one if that turns out to be gone."""
        try:
            connection, is_new = self._connection()
            try:
                return way(connection, work)
            except Lost:
                if is_new:
                    raise
            return way(self._connection()[0], work)
        except psycopg.Error as error:
            raise meaning(error) from error

    def _connection(self) -> tuple[Connection, bool]:
        """This thread's connection, and whether it was made just now."""
        held: Connection | None = getattr(self._local, "connection", None)
        if held is not None and not held.closed:
            return held, False
        if held is not None:
            self._open.discard(held)
        self._local.connection = self._connect(SERVING)
        self._open.add(self._local.connection)
        return self._local.connection, True

    # -- for the shell -------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[PostgresTransaction]:
        """A snapshot."""
        with self._alone(SNAPSHOT) as tx:
            yield tx

    @contextmanager
    def writing(self) -> Iterator[PostgresTransaction]:
        """A transaction beside which nobody writes: committed at the end of the block, undone if it raises."""
        with self._alone("BEGIN") as tx:
            tx.connection.execute(ALONE)
            yield tx

    @contextmanager
    def _alone(self, begin: str) -> Iterator[PostgresTransaction]:
        """A connection of one's own, and a transaction on it."""
        try:
            with closing(self._connect(SHELL)) as connection:
                connection.execute(begin)
                yield self._runner.transaction(connection)
                check_committed(connection.execute("COMMIT"))
        except psycopg.Error as error:
            raise meaning(error) from error

    def distribute(self, progress: Callable[[str], None]) -> int:
        """Spread the tables over a Citus cluster."""
        from seneca.database.postgres import citus  # which few ever need

        try:
            with closing(self._connect(SHELL)) as connection:
                return citus.distribute(connection, progress)
        except psycopg.Error as error:
            raise meaning(error) from error

    def backup(self, path: Path, look: Callable[[Transaction], T], progress: Progress) -> T:  # noqa: ARG002
        """Refuse: PostgreSQL's own tools do that well."""
        raise Unusable(
            "PostgreSQL is backed up by its own tools (docs/backup.md): "
            'pg_dump --format=custom --no-owner --file=FILE "$SENECA_DATABASE_URL".'
        )

    def restore(
        self,
        path: Path,  # noqa: ARG002
        prove: Callable[[Database], None],  # noqa: ARG002
        carry: Callable[[Transaction, Transaction], None],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> None:
        """Refuse likewise."""
        raise Unusable(
            "PostgreSQL is restored by its own tools (docs/backup.md), into an empty database: pg_restore --no-owner "
            '--exit-on-error --dbname="$SENECA_DATABASE_URL" FILE. After that: seneca restore --in-place.'
        )

    def close(self) -> None:
        """Finish what is under way and let go of every connection."""
        self._threads.shutdown()
        self._scanners.shutdown()
        for connection in self._open:
            connection.close()
