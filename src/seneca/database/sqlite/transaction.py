"""A SQLite connection as concept functions see it, and what the engine's faults mean to a client."""

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
    expand_values,
    multi_row_insert,
)
from seneca.database.cache import Cache
from seneca.errors import Busy, ServiceUnavailable

PATIENCE = 5.0  # seconds that a write waits for its turn

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


def fault(error: apsw.Error) -> Exception:
    """What a fault of the engine means to a client: try again later. Anything else is a bug, as it was."""
    if isinstance(error, apsw.BusyError):
        return Busy()
    if isinstance(error, apsw.FullError):
        return ServiceUnavailable("The disk is full: nothing can be stored now.", retry_after=30)
    if isinstance(error, _FAULTS):
        return ServiceUnavailable("The database cannot be used right now.", retry_after=5)
    return error


INDEX = "SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = :name"


class Asked:
    """A statement that runs once its answer is looked at: here nothing is gained by sending it before."""

    __slots__ = ("_parameters", "_sql", "_tx")

    def __init__(self, tx: "SqliteTransaction", sql: str, parameters: dict[str, Any]) -> None:
        self._tx = tx
        self._sql = sql
        self._parameters = parameters

    def fetchone(self) -> Row | None:
        """The first row, or None."""
        if "values" in self._parameters:
            return next(iter(self.fetchall()), None)
        return self._tx.fetch_one(self._sql, **self._parameters)

    def fetchall(self) -> list[Row]:
        """Every row."""
        if "values" in self._parameters:
            return self._tx.fetch_in(self._sql, self._parameters.pop("values"), **self._parameters)
        return self._tx.fetch_all(self._sql, **self._parameters)


class SqliteTransaction:
    """A connection, seen by concept functions. Begins and commits nothing itself."""

    def __init__(self, connection: apsw.Connection, buckets: int, memory: Cache) -> None:
        self.connection = connection
        self.buckets = buckets
        self.cache = memory
        self._execute = connection.execute

    def fetch_one(self, sql: str, /, **parameters: object) -> Row | None:
        """The first row, or None."""
        row: Row | None = self._execute(sql, parameters).fetchone()
        return row

    def fetch_all(self, sql: str, /, **parameters: object) -> list[Row]:
        """Every row."""
        return self._execute(sql, parameters).fetchall()

    def send(self, sql: str, /, **parameters: object) -> Asked:
        """Run a statement once its answer is looked at."""
        return Asked(self, sql, parameters)

    select_for_update = select_for_delete = send  # whoever asks to lock is the only writer

    def stream(self, sql: str, /, **parameters: object) -> Iterator[Row]:
        """Every row, one after the other."""
        return self._execute(sql, parameters)

    def execute(self, sql: str, /, **parameters: object) -> int:
        """Run a statement; returns how many rows it changed."""
        try:
            self._execute(sql, parameters)
        except apsw.ConstraintError as error:
            raise _constraint(error) from error
        return self.connection.changes()

    def execute_later(self, sql: str, /, **parameters: object) -> None:
        """Run a statement."""
        if "values" in parameters:
            values = cast("Sequence[object]", parameters.pop("values"))
            self.fetch_in(sql, values, **parameters)
        else:
            self.execute(sql, **parameters)

    def insert_many(self, sql: str, rows: Sequence[Parameters], /) -> list[Row]:
        """Insert many rows at once."""
        returned: list[Row] = []
        for start in range(0, len(rows), MAX_ROWS_PER_STATEMENT):
            together = rows[start : start + MAX_ROWS_PER_STATEMENT]
            text, values = multi_row_insert(sql, len(together))
            returned += self._insert(text, map(values, together))
        return returned

    def _insert(self, text: str, rows: Iterable[Values]) -> list[Row]:
        try:
            return self._execute(text, tuple(chain.from_iterable(rows))).fetchall()
        except apsw.ConstraintError as error:
            raise _constraint(error) from error

    def insert_many_later(self, sql: str, rows: Sequence[Parameters], /) -> None:
        """Insert many rows at once."""
        self.insert_many(sql, rows)

    def copy_rows(self, sql: str, rows: Iterable[Values], /) -> None:
        """Insert many rows, many at once."""
        left = iter(rows)
        while together := list(islice(left, MAX_ROWS_PER_STATEMENT)):
            text, _ = multi_row_insert(sql, len(together))
            self._insert(text, together)

    def fetch_each(self, sql: str, parameters: Sequence[Parameters], /) -> list[list[Row]]:
        """Every row of a question, for each of these parameters."""
        return [self.send(sql, **given).fetchall() for given in parameters]

    def pipeline(self) -> AbstractContextManager[None]:
        """Nothing travels here."""
        return nullcontext()

    def fetch_in(self, sql: str, values: Sequence[object], /, **parameters: object) -> list[Row]:
        """Every row of a statement with ``IN (:values)``."""
        found: list[Row] = []
        for start in range(0, len(values), MAX_ROWS_PER_STATEMENT):
            together = values[start : start + MAX_ROWS_PER_STATEMENT]
            text, names = expand_values(sql, len(together))
            found += self._execute(text, parameters | dict(zip(names, together, strict=True))).fetchall()
        return found

    def prepare_bulk_load(self, tables: Sequence[str], /, *, empty: Sequence[str]) -> bool:  # noqa: ARG002 the other engine's
        """Nothing needs preparing: readers are never shut out."""
        return True

    @contextmanager
    def bulk_load(self, tables: Sequence[str], indexes: Sequence[str], /) -> Iterator[None]:  # noqa: ARG002 the other engine's
        """Do without these indexes meanwhile. Others go on reading: they see neither the rows nor this."""
        statements = [self.fetch_all(INDEX, name=name)[0][0] for name in indexes]
        for name in indexes:
            self.execute(f"DROP INDEX {name}")
        self.execute("PRAGMA cache_size = -32768")  # sorting takes as much memory again
        yield
        for statement in statements:
            self.execute(statement)

    def script(self, sql: str, /) -> None:
        """Run several statements."""
        for _ in self._execute(sql):
            pass


def _extended(error: apsw.Error) -> int:
    """SQLite's extended result code, which apsw's types do not know of."""
    return int(getattr(error, "extendedresult", 0))


def _constraint(error: apsw.ConstraintError) -> Exception:
    if _extended(error) in _UNIQUE:
        return UniqueViolation()
    if _extended(error) == apsw.SQLITE_CONSTRAINT_FOREIGNKEY:
        return ForeignKeyViolation()
    return error
