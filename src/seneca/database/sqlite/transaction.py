"""A SQLite connection as domain functions see it, and the translation of the engine's errors."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain, islice
from typing import Any, cast

import apsw

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
from seneca.database.statements import expand_values, multi_row_insert
from seneca.errors import Busy, ServiceUnavailable

MAX_WRITE_WAIT_SECONDS = 5.0  # for the write lock

_UNIQUE_CODES = {
    apsw.SQLITE_CONSTRAINT_UNIQUE,
    apsw.SQLITE_CONSTRAINT_PRIMARYKEY,
    apsw.SQLITE_CONSTRAINT_ROWID,
}
_TEMPORARY_ERRORS = (
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


def translate_error(error: apsw.Error) -> Exception:
    """Translate an error to the one that a client gets. An unexpected error, which is a bug, is returned unchanged."""
    if isinstance(error, apsw.BusyError):
        return Busy()
    if isinstance(error, apsw.FullError):
        return ServiceUnavailable("The disk is full: nothing can be stored now.", retry_after=30)
    if isinstance(error, _TEMPORARY_ERRORS):
        return ServiceUnavailable("The database cannot be used right now.", retry_after=5)
    return error


INDEX = "SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = :name"


class LazyResult(Pending):
    """A query that runs when its result is read: SQLite gains nothing from sending it earlier."""

    __slots__ = ("_parameters", "_sql", "_transaction")

    def __init__(self, tx: "SqliteTransaction", sql: str, parameters: dict[str, Any]) -> None:
        super().__init__(tx)
        self._transaction = tx
        self._sql = sql
        self._parameters = parameters

    def fetchone(self) -> Row | None:
        """The first row, or None."""
        if "values" in self._parameters:
            return next(iter(self.fetchall()), None)
        self._begin_read()
        row: Row | None = self._transaction.run(self._sql, self._parameters).fetchone()
        return row

    def fetchall(self) -> list[Row]:
        """Every row."""
        self._begin_read()
        if "values" in self._parameters:
            values = self._parameters.pop("values")
            return self._transaction.fetch_in(self._sql, values, **self._parameters)
        return self._transaction.run(self._sql, self._parameters).fetchall()


class SqliteTransaction:
    """A connection, as domain functions see it. It neither begins nor commits."""

    def __init__(self, connection: apsw.Connection, properties: Properties, cache: Cache) -> None:
        self.connection = connection
        self.buckets = properties.buckets
        self.idle_ms = properties.idle_ms
        self.cache = cache
        self.writes = 0
        self._execute = connection.execute

    def run(self, sql: str, parameters: dict[str, Any]) -> apsw.Cursor:
        """Run a statement; returns a cursor over its rows."""
        self.writes += is_write(sql)
        return self._execute(sql, parameters)

    def fetch_one(self, sql: str, /, **parameters: object) -> Row | None:
        """The first row, or None."""
        row: Row | None = self.run(sql, parameters).fetchone()
        return row

    def fetch_all(self, sql: str, /, **parameters: object) -> list[Row]:
        """Every row."""
        return self.run(sql, parameters).fetchall()

    def send(self, sql: str, /, **parameters: object) -> LazyResult:
        """Run a query when its result is read."""
        return LazyResult(self, sql, parameters)

    select_for_update = select_for_delete = send  # the caller is the only writer, so there is nothing to lock

    def stream(self, sql: str, /, **parameters: object) -> Iterator[Row]:
        """Iterate over the rows."""
        return self._execute(sql, parameters)

    def execute(self, sql: str, /, **parameters: object) -> int:
        """Run a statement; returns the number of changed rows."""
        self._change(sql, parameters)
        return self.connection.changes()

    def _change(self, sql: str, parameters: dict[str, Any]) -> None:
        self.writes += 1
        try:
            self._execute(sql, parameters)
        except apsw.ConstraintError as error:
            raise _translate_constraint(error) from error

    def execute_later(self, sql: str, /, **parameters: object) -> None:
        """Run a statement at once."""
        if "values" in parameters:
            values = cast("Sequence[object]", parameters.pop("values"))
            self.fetch_in(sql, values, **parameters)
        else:
            self._change(sql, parameters)

    def insert_many(self, sql: str, rows: Sequence[Parameters], /) -> list[Row]:
        """Insert many rows in few statements; returns the rows of RETURNING."""
        result: list[Row] = []
        for start in range(0, len(rows), MAX_ROWS_PER_STATEMENT):
            chunk = rows[start : start + MAX_ROWS_PER_STATEMENT]
            text, values = multi_row_insert(sql, len(chunk))
            result += self._insert(text, map(values, chunk))
        return result

    def _insert(self, text: str, rows: Iterable[Values]) -> list[Row]:
        self.writes += 1
        try:
            return self._execute(text, tuple(chain.from_iterable(rows))).fetchall()
        except apsw.ConstraintError as error:
            raise _translate_constraint(error) from error

    def insert_many_later(self, sql: str, rows: Sequence[Parameters], /) -> None:
        """Insert many rows in few statements."""
        self.insert_many(sql, rows)

    def insert_values_later(self, sql: str, rows: Sequence[Values], /) -> None:
        """Insert many rows in few statements."""
        for start in range(0, len(rows), MAX_ROWS_PER_STATEMENT):
            chunk = rows[start : start + MAX_ROWS_PER_STATEMENT]
            text, _ = multi_row_insert(sql, len(chunk))
            self._insert(text, chunk)

    def copy_rows(self, sql: str, rows: Iterable[Values], /) -> None:
        """Insert many rows in few statements."""
        iterator = iter(rows)
        while chunk := list(islice(iterator, MAX_ROWS_PER_STATEMENT)):
            text, _ = multi_row_insert(sql, len(chunk))
            self._insert(text, chunk)

    def fetch_each(self, sql: str, parameters: Sequence[Parameters], /) -> list[list[Row]]:
        """Every row of a query for each set of parameters."""
        return [self.send(sql, **each).fetchall() for each in parameters]

    def pipeline(self) -> AbstractContextManager[None]:
        """Do nothing: there are no round trips."""
        return nullcontext()

    def fetch_in(self, sql: str, values: Sequence[object], /, **parameters: object) -> list[Row]:
        """Every row of a statement with ``IN (:values)``."""
        self.writes += is_write(sql)
        result: list[Row] = []
        for start in range(0, len(values), MAX_ROWS_PER_STATEMENT):
            chunk = values[start : start + MAX_ROWS_PER_STATEMENT]
            text, names = expand_values(sql, len(chunk))
            result += self._execute(text, parameters | dict(zip(names, chunk, strict=True))).fetchall()
        return result

    def prepare_bulk_load(self, tables: Sequence[str], /, *, empty: Sequence[str]) -> bool:  # noqa: ARG002 another engine's
        """Do nothing: readers are never blocked."""
        return True

    @contextmanager
    def bulk_load(self, tables: Sequence[str], indexes: Sequence[str], /) -> Iterator[None]:  # noqa: ARG002 another engine's
        """Drop these indexes and rebuild them at the end of the block. Concurrent readers keep their snapshots."""
        statements = [self.fetch_all(INDEX, name=name)[0][0] for name in indexes]
        for name in indexes:
            self.execute(f"DROP INDEX {name}")
        self.execute("PRAGMA cache_size = -32768")  # halved, because sorting takes as much cache again
        yield
        for statement in statements:
            self.execute(statement)

    def script(self, sql: str, /) -> None:
        """Run several statements."""
        for _ in self._execute(sql):
            pass


def _extended(error: apsw.Error) -> int:
    """SQLite's extended result code, which is missing from apsw's types."""
    return int(getattr(error, "extendedresult", 0))


def _translate_constraint(error: apsw.ConstraintError) -> Exception:
    if _extended(error) in _UNIQUE_CODES:
        return UniqueViolation()
    if _extended(error) == apsw.SQLITE_CONSTRAINT_FOREIGNKEY:
        return ForeignKeyViolation()
    return error
