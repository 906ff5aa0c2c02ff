"""The interface of every storage engine, and how to open a database.

Domain functions take a ``Transaction`` as their first argument. A ``Database`` runs them: it chooses the thread and the
connection, begins and commits the transaction, and translates the engine's errors to ``errors.ServiceUnavailable``. Domain
functions never commit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from seneca.database.cache import Cache
from seneca.database.capabilities import Backups, Cluster, Files, SharedWriter
from seneca.database.properties import DEFAULT_PROPERTIES, InitialProperties
from seneca.errors import ConfigurationError

P = ParamSpec("P")
T = TypeVar("T")
Row = tuple[Any, ...]
Parameters = Mapping[str, object]
Values = tuple[object, ...]
Progress = Callable[[str, int, int | None], None]
"""Called from time to time with the name of the step, how much of it is done, and its total (None: unknown)."""


class PendingResult(Protocol):
    """The pending result of a query."""

    def fetchone(self) -> Row | None:
        """The first row, or None."""

    def fetchall(self) -> list[Row]:
        """Every row."""


class UniqueViolation(Exception):
    """A statement would violate a unique constraint."""


class ForeignKeyViolation(Exception):
    """A statement would leave a reference to a missing row."""


class Transaction(Protocol):
    """One transaction, or one request's savepoint in it. SQL takes ``:named`` parameters."""

    @property
    def buckets(self) -> int:
        """The number of buckets, fixed when the database was created."""

    @property
    def idle_ms(self) -> int:
        """How long an event of a study session counts as active time, in milliseconds, fixed likewise."""

    @property
    def cache(self) -> Cache:
        """This process's cache of versioned values; a row that was just read tells which version is current."""

    def fetch_one(self, sql: str, /, **parameters: object) -> Row | None:
        """The first row, or None."""

    def fetch_all(self, sql: str, /, **parameters: object) -> list[Row]:
        """Every row."""

    def send(self, sql: str, /, **parameters: object) -> PendingResult:
        """Send a query without waiting for its result: consecutive queries share one round trip.

        The result can be read once, and before the transaction's next write: anything else raises ``MisreadResult``. A statement with ``IN (:values)`` takes a sequence, ``values``.
        """

    def select_for_update(self, sql: str, /, **parameters: object) -> PendingResult:
        """As ``send``, and lock the selected rows against changes and other locks until this transaction ends."""

    def select_for_delete(self, sql: str, /, **parameters: object) -> PendingResult:
        """As ``select_for_update``, for rows that will be deleted: new references to them are blocked, too."""

    def stream(self, sql: str, /, **parameters: object) -> Iterable[Row]:
        """Iterate over the rows in bounded memory."""

    def execute(self, sql: str, /, **parameters: object) -> int:
        """Run a statement that changes rows; returns the number of changed rows.

        Raises:
            UniqueViolation: a unique constraint would be violated.
            ForeignKeyViolation: a foreign key would be violated.

        """

    def execute_later(self, sql: str, /, **parameters: object) -> None:
        """Run a statement without waiting for its outcome: a failure shows at the commit at the latest.

        A violated constraint means that another transaction was faster: this one is rolled back and run again.
        """

    def insert_many(self, sql: str, rows: Sequence[Parameters], /) -> list[Row]:
        """Run ``INSERT … VALUES (:a, :b) …`` for many rows in few statements; returns the rows of RETURNING.

        Raises UniqueViolation and ForeignKeyViolation, as ``execute``.
        """

    def insert_many_later(self, sql: str, rows: Sequence[Parameters], /) -> None:
        """As ``insert_many``, without waiting for its outcome (see ``execute_later``)."""

    def insert_values_later(self, sql: str, rows: Sequence[Values], /) -> None:
        """As ``insert_many_later``; each row is the values of the INSERT's parameters in their order, which takes half the time."""

    def copy_rows(self, sql: str, rows: Iterable[Values], /) -> None:
        """As ``insert_many``, for a large number of new rows of a plain INSERT; each row is its values in column order."""

    def fetch_each(self, sql: str, parameters: Sequence[Parameters], /) -> list[list[Row]]:
        """Every row of a query for each set of parameters, in one round trip."""

    def pipeline(self) -> AbstractContextManager[None]:
        """Queries that the block sends before it reads a result, and its deferred writes, share a round trip, as in ``Database.write``."""

    def fetch_in(self, sql: str, values: Sequence[object], /, **parameters: object) -> list[Row]:
        """Every row of a statement with ``IN (:values)``, in few statements."""

    def prepare_bulk_load(self, tables: Sequence[str], /, *, empty: Sequence[str]) -> bool:
        """Prepare these tables for ``bulk_load``, before anything is stored.

        An engine that must block the tables' readers until the end does so only while there is nothing for them to read.

        Args:
            tables: the tables.
            empty: tables that must be empty, so that there is nothing to read.

        Returns:
            Whether ``bulk_load`` may be used.

        """

    def bulk_load(self, tables: Sequence[str], indexes: Sequence[str], /) -> AbstractContextManager[None]:
        """Drop these indexes of the tables for a bulk load and rebuild them, by sorting, at the end of the block.

        An engine may do the same with the foreign keys between the tables.
        """


class Database(Protocol):
    """An open database."""

    @property
    def backups(self) -> Backups | None:
        """The capability to back up and restore."""

    @property
    def files(self) -> Files | None:
        """The capability to remove deleted data from files."""

    @property
    def cluster(self) -> Cluster | None:
        """The capability to distribute the tables."""

    @property
    def shared_writer(self) -> SharedWriter | None:
        """The capability to write for all workers in one process."""

    @property
    def name(self) -> str:
        """The location to show to people: a file path, or a URL without user and password."""

    @property
    def is_new(self) -> bool:
        """Whether opening it created it."""

    @property
    def applied(self) -> int:
        """The number of migrations that were completed when it was opened."""

    @property
    def pending(self) -> int:
        """The number of migrations that are missing or not complete, if it was opened without ``migrate``."""

    @property
    def buckets(self) -> int:
        """The number of buckets, fixed when the database was created."""

    @property
    def warnings(self) -> Sequence[str]:
        """Problems with the engine's configuration, for the operator."""

    async def read(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run ``f(tx, …)``, which runs a single query, by key and of a bounded number of rows: one round trip.

        Raises:
            SeveralStatements: ``f`` runs a second query, or anything but ``fetch_one``, ``fetch_all`` or ``send``: a bug.

        """

    async def read_snapshot(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """As ``read``, for several queries, which see one consistent snapshot."""

    async def poll(self, f: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``read_snapshot``, for the one check that every request depends on: no other request delays it."""

    async def scan(self, f: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``read_snapshot``, for queries that may touch many rows: they never delay other requests."""

    async def write(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run ``f(tx, …)`` and commit. Returns once the changes are durable; if it raises, nothing was stored.

        A server may run ``f`` in another process: it is a function of a module, with type hints.
        """

    async def write_bulk(self, f: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``write``, for a write of many rows: other writes do not wait for several of these."""

    def read_transaction(self) -> AbstractContextManager[Transaction]:
        """A snapshot for commands: ``with database.read_transaction() as tx``."""

    def write_transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction for commands that blocks all other writes: committed at the end of the block, rolled back if it raises."""

    def check_schema(self) -> None:
        """Check that the schema is exactly what the migrations create. Raises CommandError, which names the difference."""

    def close(self) -> None:
        """Finish running work and close every connection."""


MAX_CONCURRENT_LISTS = 2
MAX_CONCURRENT_EXPORTS = 1
SCAN_THREADS = MAX_CONCURRENT_LISTS + MAX_CONCURRENT_EXPORTS

MAX_ROWS_PER_STATEMENT = 100  # or values


def open_database(
    url: str,
    connections: int = 1,
    *,
    create: bool = True,
    migrate: bool = True,
    initial: InitialProperties = DEFAULT_PROPERTIES,
    announce: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda *_: None,
    writer: Path | None = None,
) -> Database:
    """Open a database; create or migrate it if necessary.

    Args:
        url: ``sqlite:///PATH`` or ``postgresql://…``.
        connections: of PostgreSQL, the maximum for writes, and the maximum for reads.
        create: create the schema if there is none; otherwise that is an error.
        migrate: apply missing migrations and complete their backfills; otherwise read only what every schema version has.
        initial: the properties of a new database.
        announce: called before each migration of an existing database with what is about to happen.
        progress: called after each step of a migration's backfill.
        writer: of SQLite, the socket of the process that writes for all workers of a server.

    Raises:
        ConfigurationError: the URL's form is not valid.
        CommandError: the database cannot be used; the text says why.

    """
    scheme, _, rest = url.partition("://")
    if scheme in ("postgresql", "postgres"):
        from seneca.database.postgres.engine import Postgres  # slow to import, and not needed on SQLite

        return Postgres(
            url,
            connections,
            create=create,
            migrate=migrate,
            initial=initial,
            announce=announce,
            progress=progress,
        )
    if scheme != "sqlite" or not rest.startswith("/") or rest == "/":
        raise ConfigurationError(
            "SENECA_DATABASE_URL must be of the form sqlite:///PATH or postgresql://HOST/DATABASE."
        )
    from seneca.database.sqlite.engine import Sqlite

    path = Path(rest.removeprefix("/"))
    return Sqlite(
        path, create=create, migrate=migrate, initial=initial, announce=announce, progress=progress, writer=writer
    )
