"""A PostgreSQL connection as domain functions see it, and the translation of the server's errors.

Statements are sent in pipeline mode: consecutive ``send`` calls, and every ``execute_later`` up to the next query or the
COMMIT, share one round trip.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain, count
from typing import Final, TypeAlias

import psycopg
from psycopg import errors
from psycopg.abc import Params

from seneca.database import (
    MAX_ROWS_PER_STATEMENT,
    ForeignKeyViolation,
    Parameters,
    Row,
    UniqueViolation,
    Values,
)
from seneca.database.cache import Cache
from seneca.database.pending_result import Pending, is_write
from seneca.database.properties import Properties
from seneca.database.statements import copy_target, multi_row_insert
from seneca.errors import Busy, ServiceUnavailable

Connection: TypeAlias = psycopg.Connection[Row]

ROWS_PER_FETCH: Final = 2000  # from a server-side cursor
FOR_UPDATE: Final = " FOR NO KEY UPDATE"
FOR_DELETE: Final = " FOR UPDATE"

LOST_RACES: Final = (errors.SerializationFailure, errors.DeadlockDetected)
"""Errors of a transaction that lost a race against another one: it can succeed when it is run again."""

IS_DISTRIBUTED: Final = "SELECT 1 FROM pg_extension WHERE extname = 'citus'"
BULK_LOAD_STATEMENTS: Final = """
SELECT format('DROP INDEX %I', c.relname), pg_get_indexdef(c.oid)
FROM pg_class c WHERE c.relname = ANY (:indexes) AND pg_table_is_visible(c.oid) AND pg_has_role(c.relowner, 'USAGE')
UNION ALL
SELECT format('ALTER TABLE %I DROP CONSTRAINT %I', t.relname, f.conname),
    format('ALTER TABLE %I ADD CONSTRAINT %I %s', t.relname, f.conname, pg_get_constraintdef(f.oid))
FROM pg_constraint f JOIN pg_class t ON t.oid = f.conrelid JOIN pg_class r ON r.oid = f.confrelid
WHERE f.contype = 'f' AND t.relname = ANY (:tables) AND r.relname = ANY (:tables)
    AND pg_table_is_visible(t.oid) AND pg_has_role(t.relowner, 'USAGE')
"""
"""The statements that drop and recreate the indexes and foreign keys; none for a role that does not own the tables.

Foreign keys to other tables stay: dropping one would block readers of the referenced table.
"""
LOCK_ATTEMPTS: Final = 20
LOCK_PAUSE_SECONDS: Final = 0.05

_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")
_cursors = count(1)


def translate_error(error: psycopg.Error) -> Exception:
    """Translate an error to the one that a client gets. An unexpected error, a bug, is returned unchanged."""
    if isinstance(error, errors.UniqueViolation):
        return UniqueViolation()
    if isinstance(error, errors.ForeignKeyViolation):
        return ForeignKeyViolation()
    if isinstance(error, errors.DiskFull):
        return ServiceUnavailable("The disk is full: nothing can be stored now.", retry_after=30)
    if isinstance(error, (errors.LockNotAvailable, errors.QueryCanceled, *LOST_RACES)):
        return Busy()
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, errors.ReadOnlySqlTransaction)):
        return ServiceUnavailable("The database cannot be used right now.", retry_after=2)
    return error


@lru_cache(1024)
def with_placeholders(sql: str) -> str:
    """Translate ``:named`` parameters to psycopg's placeholders."""
    return _PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%"))


@lru_cache(256)
def to_array_comparison(sql: str) -> str:
    """Translate ``IN (:values)`` to an array comparison, so that all lengths share one prepared statement."""
    return sql.replace("IN (:values)", "= ANY (:values)")


@lru_cache(1024)
def _numbered_insert(sql: str, rows: int) -> tuple[str, Callable[[Parameters], tuple[object, ...]]]:
    """As ``multi_row_insert``, with the server's own ``$1`` placeholders."""
    text, values = multi_row_insert(sql, rows)
    numbers = count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", text), values


class SentResult(Pending):
    """The result of a query that was sent."""

    __slots__ = ("_cursor",)

    def __init__(self, tx: "PostgresTransaction", cursor: psycopg.Cursor[Row]) -> None:
        super().__init__(tx)
        self._cursor = cursor

    def fetchone(self) -> Row | None:
        """The first row, or None."""
        self._begin_read()
        return self._cursor.fetchone()

    def fetchall(self) -> list[Row]:
        """Every row."""
        self._begin_read()
        return self._cursor.fetchall()


class PostgresTransaction:
    """A connection, as domain functions see it. It neither begins nor commits.

    Args:
        connection: the connection.
        pipeline: the connection's pipeline, or None outside pipeline mode.
        properties: the database's properties.
        cache: this process's cache of the database.

    """

    def __init__(
        self, connection: Connection, pipeline: psycopg.Pipeline | None, properties: Properties, cache: Cache
    ) -> None:
        self.connection = connection
        self.buckets = properties.buckets
        self.idle_ms = properties.idle_ms
        self.cache = cache
        self.writes = 0
        self._pipeline = pipeline

    def _send(self, sql: str, parameters: Params | None) -> psycopg.Cursor[Row]:
        self.writes += is_write(sql)
        return self.connection.execute(sql, parameters, binary=True)

    def fetch_one(self, sql: str, /, **parameters: object) -> Row | None:
        """The first row, or None."""
        return self._send(with_placeholders(sql), parameters).fetchone()

    def fetch_all(self, sql: str, /, **parameters: object) -> list[Row]:
        """Every row."""
        return self._send(with_placeholders(sql), parameters).fetchall()

    def send(self, sql: str, /, **parameters: object) -> SentResult:
        """Send a query without waiting for its result."""
        return self._send_query(to_array_comparison(sql), parameters)

    def select_for_update(self, sql: str, /, **parameters: object) -> SentResult:
        """Send a query that locks its rows against changes."""
        return self._send_query(to_array_comparison(sql) + FOR_UPDATE, parameters)

    def select_for_delete(self, sql: str, /, **parameters: object) -> SentResult:
        """Send a query that locks its rows against changes and new references."""
        return self._send_query(to_array_comparison(sql) + FOR_DELETE, parameters)

    def _send_query(self, sql: str, parameters: Params) -> SentResult:
        return SentResult(self, self._send(with_placeholders(sql), parameters))

    def stream(self, sql: str, /, **parameters: object) -> Iterator[Row]:
        """Iterate over the rows of a server-side cursor."""
        with self.connection.cursor(f"rows_{next(_cursors)}", binary=True) as cursor:
            cursor.itersize = ROWS_PER_FETCH
            yield from cursor.execute(with_placeholders(sql), parameters)

    def execute(self, sql: str, /, **parameters: object) -> int:
        """Run a statement; returns the number of changed rows."""
        with _translated_constraints():
            cursor = self._send(with_placeholders(sql), parameters)
            self._wait()
        return cursor.rowcount

    def execute_later(self, sql: str, /, **parameters: object) -> None:
        """Send a statement; a failure shows at the commit at the latest."""
        self._send(with_placeholders(to_array_comparison(sql)), parameters)

    def insert_many(self, sql: str, rows: Sequence[Parameters], /) -> list[Row]:
        """Insert many rows in few statements; returns the rows of RETURNING."""
        with _translated_constraints():
            cursors = self._insert(sql, rows)
            self._wait()
        return [row for cursor in cursors if cursor.description for row in cursor.fetchall()]

    def insert_many_later(self, sql: str, rows: Sequence[Parameters], /) -> None:
        """Send the INSERTs of many rows; a failure shows at the commit at the latest."""
        self._insert(sql, rows)

    def _insert(self, sql: str, rows: Sequence[Parameters]) -> list[psycopg.Cursor[Row]]:
        self.writes += 1
        cursors: list[psycopg.Cursor[Row]] = []
        for start in range(0, len(rows), MAX_ROWS_PER_STATEMENT):
            chunk = rows[start : start + MAX_ROWS_PER_STATEMENT]
            text, values = _numbered_insert(sql, len(chunk))
            cursor = psycopg.RawCursor(self.connection)  # psycopg would otherwise parse a thousand placeholders
            cursors.append(cursor.execute(text, tuple(chain.from_iterable(map(values, chunk))), binary=True))
        return cursors

    def insert_values_later(self, sql: str, rows: Sequence[Values], /) -> None:
        """Send the INSERTs of many rows; a failure shows at the commit at the latest."""
        self.writes += 1
        for start in range(0, len(rows), MAX_ROWS_PER_STATEMENT):
            chunk = rows[start : start + MAX_ROWS_PER_STATEMENT]
            text, _ = _numbered_insert(sql, len(chunk))
            psycopg.RawCursor(self.connection).execute(text, tuple(chain.from_iterable(chunk)), binary=True)

    def copy_rows(self, sql: str, rows: Iterable[Values], /) -> None:
        """Insert rows with COPY."""
        self.writes += 1
        statement = f"COPY {copy_target(sql)} FROM STDIN"
        with _translated_constraints(), self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    def fetch_each(self, sql: str, parameters: Sequence[Parameters], /) -> list[list[Row]]:
        """Every row of a query for each set of parameters, in one round trip."""
        with self.pipeline():
            cursors = [self.send(sql, **each) for each in parameters]
            return [cursor.fetchall() for cursor in cursors]

    @contextmanager
    def pipeline(self) -> Iterator[None]:
        """Use pipeline mode in the block."""
        outer = self._pipeline
        try:
            with self.connection.pipeline() as self._pipeline:
                yield
        finally:
            self._pipeline = outer

    def _wait(self) -> None:
        """Wait for the statements that were sent."""
        if self._pipeline is not None:
            self._pipeline.sync()

    def fetch_in(self, sql: str, values: Sequence[object], /, **parameters: object) -> list[Row]:
        """Every row of a statement with ``IN (:values)``."""
        return self.fetch_all(to_array_comparison(sql), values=list(values), **parameters) if values else []

    def prepare_bulk_load(self, tables: Sequence[str], /, *, empty: Sequence[str]) -> bool:
        """Lock the tables, if the ``empty`` ones are empty and nobody is using the tables. Never on a cluster.

        NOWAIT prevents a deadlock with another transaction.
        """
        if self.fetch_one(IS_DISTRIBUTED) or any(self.fetch_one(f"SELECT 1 FROM {table} LIMIT 1") for table in empty):
            return False
        for _ in range(LOCK_ATTEMPTS):
            try:
                with self.connection.transaction():  # a savepoint
                    self.connection.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE NOWAIT")
            except errors.LockNotAvailable:
                time.sleep(LOCK_PAUSE_SECONDS)
            except errors.InsufficientPrivilege:
                return False
            else:
                return True
        return False

    @contextmanager
    def bulk_load(self, tables: Sequence[str], indexes: Sequence[str], /) -> Iterator[None]:
        """Drop these indexes, and the foreign keys between these tables, and recreate them at the end of the block."""
        statements = self.fetch_all(BULK_LOAD_STATEMENTS, tables=list(tables), indexes=list(indexes))
        for drop, _ in statements:
            self.connection.execute(drop)
        yield
        for _, create in statements:
            self.connection.execute(create)

    def script(self, sql: str, /) -> None:
        """Run several statements."""
        self.connection.execute(sql)


@contextmanager
def _translated_constraints() -> Iterator[None]:
    try:
        yield
    except psycopg.IntegrityError as error:
        raise translate_error(error) from error
