"""The PostgreSQL engine, on psycopg: writes, reads, scans and the poll each have a separate connection pool.

A transaction costs two round trips: one for its queries, one for its writes and the COMMIT. A transaction that loses a race
is run again.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper, NumericBinaryLoader, NumericLoader

from seneca.database import SCAN_THREADS, Progress, Transaction, migrations
from seneca.database.cache import Cache
from seneca.database.migrations import Announce, Migrator
from seneca.database.postgres.citus import CitusCluster
from seneca.database.postgres.connection_errors import explain_error, public_name
from seneca.database.postgres.pool import ConnectionPool
from seneca.database.postgres.runner import SNAPSHOT, Runner, check_committed, exclude_writers
from seneca.database.postgres.transaction import Connection, PostgresTransaction, translate_error
from seneca.database.properties import DEFAULT_PROPERTIES, InitialProperties, Properties, read_properties
from seneca.errors import CommandError

P = ParamSpec("P")
T = TypeVar("T")

MIN_SERVER_VERSION: Final = 150_000  # 15.0, in libpq's notation
CONNECT_SECONDS: Final = 3
DURABILITY_SETTINGS: Final = ("fsync", "synchronous_commit", "full_page_writes")
PROPERTIES_TABLE: Final = "SELECT to_regclass('properties')::text"
MIGRATION_LOCK: Final = 0x5E4ECA  # advisory lock

BASE_OPTIONS: Final = "-c timezone=UTC -c default_transaction_isolation=read\\ committed"
READ_OPTIONS: Final = (
    f"{BASE_OPTIONS} -c lock_timeout=5s -c statement_timeout=30s -c idle_in_transaction_session_timeout=30s"
)
CITUS_SEQUENTIAL: Final = "-c citus.multi_shard_modify_mode=sequential"
"""Citus can write a reference table after a multi-node query only if that used a single connection to each node."""
WRITE_OPTIONS: Final = f"{READ_OPTIONS} {CITUS_SEQUENTIAL}"
COMMAND_OPTIONS: Final = f"{BASE_OPTIONS} {CITUS_SEQUENTIAL} -c lock_timeout=30s"

# A failed statement in a pipeline is raised; psycopg also logs a warning about each statement that follows it.
logging.getLogger("psycopg").setLevel(logging.ERROR)


class _Sum(NumericLoader):
    """Sums of bigints are numeric in PostgreSQL: load them as int."""

    def load(self, data: Any) -> Any:
        return int(super().load(data))


class _BinarySum(NumericBinaryLoader):
    def load(self, data: Any) -> Any:
        return int(super().load(data))


def adapters() -> AdaptersMap:
    """How values are sent and loaded: every int as bigint, otherwise each integer size would get a separate prepared statement."""
    adapters_map = AdaptersMap(psycopg.adapters)
    adapters_map.register_dumper(int, Int8Dumper)
    adapters_map.register_dumper(int, Int8BinaryDumper)
    adapters_map.register_loader("numeric", _Sum)
    adapters_map.register_loader("numeric", _BinarySum)
    return adapters_map


class Postgres:
    """A PostgreSQL database. Use ``open_database``."""

    def __init__(
        self,
        url: str,
        connections: int,
        *,
        create: bool = True,
        migrate: bool = True,
        initial: InitialProperties = DEFAULT_PROPERTIES,
        announce: Announce = lambda _: None,
        progress: Progress = lambda *_: None,
    ) -> None:
        self.name = public_name(url)
        self.cache = Cache()
        self.warnings: list[str] = []
        self._url = url
        self._adapters = adapters()
        self.applied = self.pending = 0
        self.backups = self.files = self.shared_writer = None
        self.cluster = CitusCluster(lambda: self._connect(COMMAND_OPTIONS))
        self.is_new = False
        migrator = Migrator("postgres", self.warnings, initial, announce, progress)
        try:
            self._start(migrator if migrate else None, create=create)
        except psycopg.Error as error:
            raise explain_error(error, url, migrator.advice) from error
        self._runner = Runner(self._properties, self.cache)
        self._writers = self._pool("write", connections, WRITE_OPTIONS)
        self._readers = self._pool("read", connections)
        self._scanners = self._pool("scan", SCAN_THREADS)
        self._poller = self._pool("poll", 1)

    def _pool(self, kind: str, size: int, options: str = READ_OPTIONS) -> ConnectionPool:
        return ConnectionPool(kind, size, lambda: self._connect(options))

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

    def _start(self, migrator: Migrator | None, *, create: bool) -> None:
        """Migrate the schema, if requested, and read the database's properties."""
        with self._connect(COMMAND_OPTIONS) as connection:
            self._check(connection)
            tx = PostgresTransaction(connection, None, Properties(), self.cache)
            with locked(tx):
                if not create and tx.fetch_one(PROPERTIES_TABLE) == (None,):
                    raise CommandError(
                        f"There is no Seneca database at {self.name}, and none was created. Choose another: --database URL."
                    )
            if migrator is None:
                self.pending = migrations.pending(tx, "postgres")
            else:
                migrator.run(lambda: locked(tx))
                self.applied, self.is_new = migrator.applied, migrator.is_new
            self._properties = read_properties(tx)

    @property
    def buckets(self) -> int:
        """The number of buckets."""
        return self._properties.buckets

    def _check(self, connection: Connection) -> None:
        version = connection.info.server_version
        if version < MIN_SERVER_VERSION:
            raise CommandError(f"PostgreSQL {version // 10_000} is too old. Use 15 or newer.")
        for setting in DURABILITY_SETTINGS:
            if connection.execute("SELECT current_setting(%s)", (setting,)).fetchone() == ("off",):
                self.warnings.append(f"PostgreSQL has {setting} = off: acknowledged writes can be lost. Set it to on.")
        row = connection.execute("SHOW server_encoding").fetchone()
        if row != ("UTF8",):
            raise CommandError("The database must be encoded in UTF8: createdb --encoding=UTF8 --template=template0.")

    # -- for the server ------------------------------------------------------------------------

    async def read(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a single query on a thread."""
        return await self._readers.run(self._runner.read, lambda tx: f(tx, *args, **kwargs))

    async def read_snapshot(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run queries on a thread, on one snapshot."""
        return await self._readers.run(self._runner.read_snapshot, lambda tx: f(tx, *args, **kwargs))

    async def poll(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a read on the dedicated poll connection."""
        return await self._poller.run(self._runner.read_snapshot, lambda tx: f(tx, *args, **kwargs))

    async def scan(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a read that may touch many rows on one of the scan threads, on one snapshot."""
        return await self._scanners.run(self._runner.snapshot, lambda tx: f(tx, *args, **kwargs))

    async def write(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a write on a thread and commit it."""
        return await self._writers.run(self._runner.write, lambda tx: f(tx, *args, **kwargs))

    write_bulk = write  # writes do not wait for each other

    # -- for commands -------------------------------------------------------------------------

    @contextmanager
    def read_transaction(self) -> Iterator[PostgresTransaction]:
        """A snapshot for commands."""
        with self._separate_transaction(lambda connection: connection.execute(SNAPSHOT)) as tx:
            yield tx

    @contextmanager
    def write_transaction(self) -> Iterator[PostgresTransaction]:
        """A transaction that blocks all other writes: committed at the end of the block, rolled back if it raises."""
        with self._separate_transaction(exclude_writers) as tx:
            yield tx

    @contextmanager
    def _separate_transaction(self, begin: Callable[[Connection], object]) -> Iterator[PostgresTransaction]:
        """A transaction on a separate connection."""
        try:
            with closing(self._connect(COMMAND_OPTIONS)) as connection:
                begin(connection)
                yield self._runner.transaction(connection)
                check_committed(connection.execute("COMMIT"))
        except psycopg.Error as error:
            raise translate_error(error) from error

    def check_schema(self) -> None:
        """Do nothing: a role that can create triggers can do everything else, too."""

    def close(self) -> None:
        """Finish running work and close every connection."""
        for pool in (self._writers, self._readers, self._scanners, self._poller):
            pool.close()


@contextmanager
def locked(tx: PostgresTransaction) -> Iterator[PostgresTransaction]:
    """A transaction that takes the migration lock first."""
    with tx.connection.transaction():
        tx.connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        yield tx
