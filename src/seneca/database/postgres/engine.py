"""PostgreSQL, through psycopg: writes, reads, long reads and the poll each have a connection pool of their own.

A transaction costs two round trips: one for what it asks, one for what it writes and the COMMIT. One that another
transaction overtook is run again.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper, NumericBinaryLoader, NumericLoader

from seneca.database import SCAN_THREADS, Database, Progress, Transaction, migrations
from seneca.database.cache import Cache
from seneca.database.postgres.connection_errors import explain, public_name
from seneca.database.postgres.pool import ConnectionPool
from seneca.database.postgres.runner import SNAPSHOT, Runner, check_committed, exclude_writers
from seneca.database.postgres.transaction import Connection, PostgresTransaction, translate_error
from seneca.errors import CommandError

P = ParamSpec("P")
T = TypeVar("T")

OLDEST: Final = 150_000  # as PostgreSQL counts its versions
CONNECT_SECONDS: Final = 3
DURABLE: Final = ("fsync", "synchronous_commit", "full_page_writes")
OURS: Final = "SELECT to_regclass('properties')::text"
MIGRATING: Final = 0x5E4ECA  # the advisory lock of who brings the schema up to date

ALWAYS: Final = "-c timezone=UTC -c default_transaction_isolation=read\\ committed"
SERVING: Final = f"{ALWAYS} -c lock_timeout=5s -c statement_timeout=30s -c idle_in_transaction_session_timeout=30s"
SEQUENTIAL: Final = "-c citus.multi_shard_modify_mode=sequential"
"""On Citus, a reference table cannot be written after a query of many nodes unless it was run on one connection to each."""
WRITING: Final = f"{SERVING} {SEQUENTIAL}"
SHELL: Final = f"{ALWAYS} {SEQUENTIAL} -c lock_timeout=30s"

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

    def __init__(self, url: str, connections: int, *, create: bool = True, migrate: bool = True) -> None:
        self.name = public_name(url)
        self.cache = Cache()
        self.warnings: list[str] = []
        self._url = url
        self._adapters = adapters()
        self.applied = self.pending = 0
        self._start(create=create, migrate=migrate)
        self._runner = Runner(self.buckets, self.cache)
        self._writers = self._pool("write", connections, WRITING)
        self._readers = self._pool("read", connections)
        self._scanners = self._pool("scan", SCAN_THREADS)
        self._poller = self._pool("poll", 1)

    def _pool(self, kind: str, size: int, options: str = SERVING) -> ConnectionPool:
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

    def _start(self, *, create: bool, migrate: bool) -> None:
        """Bring the schema up to date, if that is wanted, and read what the database says of itself."""
        try:
            with self._connect(SHELL) as connection:
                self._check(connection)
                tx = PostgresTransaction(connection, None, 0, self.cache)
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATING,))
                    self.is_new = tx.fetch_one(OURS) == (None,)
                    if self.is_new and not create:
                        raise CommandError(
                            f"There is no Seneca database at {self.name}, and none was created. Name it: --database URL."
                        )
                    if migrate:
                        self.applied = migrations.apply(tx, "postgres", self.warnings)
                    else:
                        self.pending = len(migrations.pending(tx, "postgres"))
                    row = tx.fetch_one("SELECT value FROM properties WHERE name = 'buckets'")
        except psycopg.Error as error:
            raise CommandError(explain(error, self._url)) from error
        assert row is not None  # migrations.apply wrote it
        self.buckets = int(row[0])

    def _check(self, connection: Connection) -> None:
        version = connection.info.server_version
        if version < OLDEST:
            raise CommandError(f"PostgreSQL {version // 10_000} is too old. Use 15 or newer.")
        for setting in DURABLE:
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
        """Run a read on a thread: one statement as it is, several on one snapshot."""
        return await self._readers.run(self._runner.read, lambda tx: f(tx, *args, **kwargs))

    async def poll(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a read on the connection that nothing else uses."""
        return await self._poller.run(self._runner.read, lambda tx: f(tx, *args, **kwargs))

    async def scan(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a read that may touch many rows on a thread of its own kind, on one snapshot."""
        return await self._scanners.run(self._runner.snapshot, lambda tx: f(tx, *args, **kwargs))

    async def write(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a write on a thread, and commit it."""
        return await self._writers.run(self._runner.write, lambda tx: f(tx, *args, **kwargs))

    async def vacuum(self, *, thoroughly: bool = False) -> None:
        """Leave it to the server, which vacuums by itself in time (docs/privacy.md)."""
        if thoroughly:
            raise CommandError("PostgreSQL is scoured by its own VACUUM (FULL): docs/privacy.md has the statement.")

    async def empty_log(self) -> None:
        """Leave that to the server, too."""

    # -- for the shell -------------------------------------------------------------------------

    @contextmanager
    def read_transaction(self) -> Iterator[PostgresTransaction]:
        """A snapshot."""
        with self._alone(lambda connection: connection.execute(SNAPSHOT)) as tx:
            yield tx

    @contextmanager
    def write_transaction(self) -> Iterator[PostgresTransaction]:
        """A transaction beside which nobody writes: committed at the end of the block, undone if it raises."""
        with self._alone(exclude_writers) as tx:
            yield tx

    @contextmanager
    def _alone(self, begin: Callable[[Connection], object]) -> Iterator[PostgresTransaction]:
        """A connection of one's own, and a transaction on it."""
        try:
            with closing(self._connect(SHELL)) as connection:
                begin(connection)
                yield self._runner.transaction(connection)
                check_committed(connection.execute("COMMIT"))
        except psycopg.Error as error:
            raise translate_error(error) from error

    def distribute(self, progress: Callable[[str], None]) -> int:
        """Spread the tables over a Citus cluster."""
        from seneca.database.postgres import citus  # which few ever need

        try:
            with closing(self._connect(SHELL)) as connection:
                return citus.distribute(connection, progress)
        except psycopg.Error as error:
            raise translate_error(error) from error

    def backup(self, path: Path, look: Callable[[Transaction], T], progress: Progress, *, force: bool) -> T:  # noqa: ARG002
        """Refuse: PostgreSQL's own tools do that well."""
        raise CommandError(
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
        raise CommandError(
            "PostgreSQL is restored by its own tools (docs/backup.md), into an empty database: pg_restore --no-owner "
            '--exit-on-error --dbname="$SENECA_DATABASE_URL" FILE. After that: seneca restore --in-place.'
        )

    def check_schema(self) -> None:
        """Leave that to whoever restores: a role that may make triggers may do everything else, too."""

    def close(self) -> None:
        """Finish what is under way and let go of every connection."""
        for pool in (self._writers, self._readers, self._scanners, self._poller):
            pool.close()
