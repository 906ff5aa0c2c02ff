"""Backfills: how a migration fills new columns and tables of an existing database, in short transactions.

Each transaction fills a few thousand rows and stores how far the backfill is. So an interrupted backfill is continued by the next
command or server, from the last commit.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from seneca.database import Transaction
from seneca.database.migrations.ranges import Key, Range, next_in_bucket, next_in_file

POSITION: Final = "SELECT value FROM properties WHERE name = 'backfill'"
PUT_POSITION: Final = """
INSERT INTO properties (name, value) VALUES ('backfill', :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
DELETE_POSITION: Final = "DELETE FROM properties WHERE name = 'backfill'"


class Backfill(Struct, frozen=True):
    """How a migration fills what it has added for the rows of a table."""

    table: str
    """A table whose key begins with the bucket."""
    key: tuple[str, ...]
    """The columns of its key after the bucket, at least one. Rows that are equal in them are filled together."""
    fill: Callable[[Transaction, Range], None]
    """Fills a range of a few thousand rows, in the caller's transaction. It must not read the transaction's ``buckets`` and ``idle_ms``: they are not set.

    On PostgreSQL the range is of one bucket. All that the function writes must be of that bucket, or a cluster could not do it.
    """
    has_rowid: bool = False
    """Whether SQLite stores the table by row number and not by key: then the ranges follow that order.

    If the last row of a range was deleted by hand, all rows are filled again: so filling a row twice must give the same as once.
    """


class Position(Struct):
    """How far the backfills of a migration are."""

    migration: int
    """The number of the migration."""
    total: int
    """The number of rows of the current backfill's table."""
    backfill: int = 0
    """The index of the current backfill."""
    filled: int = 0
    """The number of rows that it has filled."""
    key: Key = []
    """The key of the last of them."""


def read_position(tx: Transaction) -> Position | None:
    """How far the unfinished backfills are; None if none is unfinished."""
    row = tx.fetch_one(POSITION)
    return None if row is None else msgspec.json.decode(row[0], type=Position)


def begin(tx: Transaction, migration: int, backfills: Sequence[Backfill], index: int = 0) -> Position:
    """Store that a backfill has to be done; the first one in the transaction that changes the schema."""
    position = Position(migration, total=_count(tx, backfills[index].table), backfill=index)
    _put(tx, position)
    return position


def advance(tx: Transaction, engine: str, position: Position, backfills: Sequence[Backfill]) -> Position | None:
    """Do one step; returns how far the backfills are then, or None if they are complete."""
    backfill = backfills[position.backfill]
    find = next_in_file if engine == "sqlite" and backfill.has_rowid else next_in_bucket
    rows = find(tx, backfill.table, backfill.key, position.key)
    if rows is not None:
        filled = position.filled + _count(tx, backfill.table, rows.condition, **rows.parameters)
        position = msgspec.structs.replace(position, filled=filled, key=rows.last)
        _put(tx, position)
        backfill.fill(tx, rows)
        return position
    if position.backfill + 1 < len(backfills):
        return begin(tx, position.migration, backfills, position.backfill + 1)
    tx.execute(DELETE_POSITION)
    return None


def _count(tx: Transaction, table: str, condition: str = "1 = 1", **parameters: object) -> int:
    row = tx.fetch_one(f"SELECT count(*) FROM {table} WHERE {condition}", **parameters)
    return 0 if row is None else int(row[0])


def _put(tx: Transaction, position: Position) -> None:
    """Store the position first: a cluster changes reference tables before it accesses several nodes."""
    tx.execute(PUT_POSITION, value=msgspec.json.encode(position).decode())
