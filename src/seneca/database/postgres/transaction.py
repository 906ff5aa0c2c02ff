"""A PostgreSQL connection as concept functions see it, and what the server's errors mean.

Statements are sent in pipeline mode: what is asked together, and every ``execute_later`` up to the next question or
the COMMIT, costs one round trip.
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
    copy_target,
    multi_row_insert,
)
from seneca.database.cache import Cache
from seneca.errors import Busy, ServiceUnavailable

Connection: TypeAlias = psycopg.Connection[Row]

ROWS_AT_ONCE: Final = 2000  # of a result that is read piece by piece
LOCKED: Final = " FOR NO KEY UPDATE"
CLAIMED: Final = " FOR UPDATE"

LOST_RACES: Final = (errors.SerializationFailure, errors.DeadlockDetected)
"""What ends a transaction that another one overtook: run again, it finds what the other one left."""

IS_DISTRIBUTED: Final = "SELECT 1 FROM pg_extension WHERE extname = 'citus'"
REBUILT_AFTER_LOAD: Final = """
SELECT format('DROP INDEX %I', c.relname), pg_get_indexdef(c.oid)
FROM pg_class c WHERE c.relname = ANY (:indexes) AND pg_table_is_visible(c.oid) AND pg_has_role(c.relowner, 'USAGE')
UNION ALL
SELECT format('ALTER TABLE %I DROP CONSTRAINT %I', t.relname, f.conname),
    format('ALTER TABLE %I ADD CONSTRAINT %I %s', t.relname, f.conname, pg_get_constraintdef(f.oid))
FROM pg_constraint f JOIN pg_class t ON t.oid = f.conrelid JOIN pg_class r ON r.oid = f.confrelid
WHERE f.contype = 'f' AND t.relname = ANY (:tables) AND r.relname = ANY (:tables)
    AND pg_table_is_visible(t.oid) AND pg_has_role(t.relowner, 'USAGE')
"""
"""What an index or a foreign key is dropped with, and created again. Who does not own the tables keeps all.

Foreign keys to other tables stay: dropping one would shut readers out of the table that it refers to.
"""
LOCK_ATTEMPTS: Final = 20
LOCK_PAUSE_SECONDS: Final = 0.05

_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")
_cursors = count(1)


def translate_error(error: psycopg.Error) -> Exception:
    """What an error of the server means to a client: try again later. Anything else is a bug, as it was."""
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
    """A statement with ``:named`` parameters, as psycopg writes them."""
    return _PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%"))


@lru_cache(256)
def any_of(sql: str) -> str:
    """A statement with ``IN (:values)``, for an array of any length: one prepared statement for all lengths."""
    return sql.replace("IN (:values)", "= ANY (:values)")


@lru_cache(1024)
def _numbered(sql: str, rows: int) -> tuple[str, Callable[[Parameters], tuple[object, ...]]]:
    """As ``multi_row_insert``, with the placeholders that the server itself knows."""
    text, values = multi_row_insert(sql, rows)
    numbers = count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", text), values


class PostgresTransaction:
    """A connection, seen by concept functions. Begins and commits nothing itself.

    Args:
        connection: the connection.
        pipeline: the connection's pipeline; None where each statement is waited for.
        buckets: how many buckets this database has.
        memory: what this process remembers of it.

    """

    def __init__(self, connection: Connection, pipeline: psycopg.Pipeline | None, buckets: int, memory: Cache) -> None:
        self.connection = connection
        self.buckets = buckets
        self.cache = memory
        self._pipeline = pipeline

    def _send(self, sql: str, parameters: Params | None) -> psycopg.Cursor[Row]:
        return self.connection.execute(sql, parameters, binary=True)

    def fetch_one(self, sql: str, /, **parameters: object) -> Row | None:
        """The first row, or None."""
        return self._send(with_placeholders(sql), parameters).fetchone()

    def fetch_all(self, sql: str, /, **parameters: object) -> list[Row]:
        """Every row."""
        return self._send(with_placeholders(sql), parameters).fetchall()

    def send(self, sql: str, /, **parameters: object) -> psycopg.Cursor[Row]:
        """Send a question."""
        return self._send(with_placeholders(any_of(sql)), parameters)

    def select_for_update(self, sql: str, /, **parameters: object) -> psycopg.Cursor[Row]:
        """Send a question whose rows nobody else changes until the end."""
        return self._send(with_placeholders(any_of(sql) + LOCKED), parameters)

    def select_for_delete(self, sql: str, /, **parameters: object) -> psycopg.Cursor[Row]:
        """Send a question whose rows nobody else changes, or refers to anew, until the end."""
        return self._send(with_placeholders(any_of(sql) + CLAIMED), parameters)

    def stream(self, sql: str, /, **parameters: object) -> Iterator[Row]:
        """Every row, one after the other, from a cursor in the server."""
        with self.connection.cursor(f"rows_{next(_cursors)}", binary=True) as cursor:
            cursor.itersize = ROWS_AT_ONCE
            yield from cursor.execute(with_placeholders(sql), parameters)

    def execute(self, sql: str, /, **parameters: object) -> int:
        """Run a statement; returns how many rows it changed."""
        with _constraints():
            cursor = self._send(with_placeholders(sql), parameters)
            self._wait()
        return cursor.rowcount

    def execute_later(self, sql: str, /, **parameters: object) -> None:
        """Run a statement; that it failed shows at the latest when the transaction is committed."""
        self._send(with_placeholders(any_of(sql)), parameters)

    def insert_many(self, sql: str, rows: Sequence[Parameters], /) -> list[Row]:
        """Insert many rows at once."""
        with _constraints():
            cursors = self._insert(sql, rows)
            self._wait()
        return [row for cursor in cursors if cursor.description for row in cursor.fetchall()]

    def insert_many_later(self, sql: str, rows: Sequence[Parameters], /) -> None:
        """Insert many rows at once; that it failed shows at the latest when the transaction is committed."""
        self._insert(sql, rows)

    def _insert(self, sql: str, rows: Sequence[Parameters]) -> list[psycopg.Cursor[Row]]:
        cursors: list[psycopg.Cursor[Row]] = []
        for start in range(0, len(rows), MAX_ROWS_PER_STATEMENT):
            together = rows[start : start + MAX_ROWS_PER_STATEMENT]
            text, values = _numbered(sql, len(together))
            cursor = psycopg.RawCursor(self.connection)  # psycopg would look for each of a thousand placeholders
            cursors.append(cursor.execute(text, tuple(chain.from_iterable(map(values, together))), binary=True))
        return cursors

    def copy_rows(self, sql: str, rows: Iterable[Values], /) -> None:
        """Copy many rows in."""
        statement = f"COPY {copy_target(sql)} FROM STDIN"
        with _constraints(), self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    def fetch_each(self, sql: str, parameters: Sequence[Parameters], /) -> list[list[Row]]:
        """Every row of a question, for each of these parameters, in one round trip."""
        with self.pipeline():
            asked = [self.send(sql, **given) for given in parameters]
            return [cursor.fetchall() for cursor in asked]

    @contextmanager
    def pipeline(self) -> Iterator[None]:
        """Send what comes in a pipeline."""
        outer = self._pipeline
        try:
            with self.connection.pipeline() as self._pipeline:
                yield
        finally:
            self._pipeline = outer

    def _wait(self) -> None:
        """Wait for what was sent."""
        if self._pipeline is not None:
            self._pipeline.sync()

    def fetch_in(self, sql: str, values: Sequence[object], /, **parameters: object) -> list[Row]:
        """Every row of a statement with ``IN (:values)``."""
        return self.fetch_all(any_of(sql), values=list(values), **parameters) if values else []

    def prepare_bulk_load(self, tables: Sequence[str], /, *, empty: Sequence[str]) -> bool:
        """Lock tables, if certain others are empty and nobody uses these now. On a cluster this is not done.

        NOWAIT, so that this transaction and another one never wait for each other.
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
        """Do without these indexes, and the foreign keys from one of these tables to another, until the end of the block."""
        statements = self.fetch_all(REBUILT_AFTER_LOAD, tables=list(tables), indexes=list(indexes))
        for drop, _ in statements:
            self.connection.execute(drop)
        yield
        for _, create in statements:
            self.connection.execute(create)

    def script(self, sql: str, /) -> None:
        """Run several statements."""
        self.connection.execute(sql)


@contextmanager
def _constraints() -> Iterator[None]:
    try:
        yield
    except psycopg.IntegrityError as error:
        raise translate_error(error) from error
