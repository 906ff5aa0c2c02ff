"""Ranges of a table's rows, one after the other: what one step of a backfill fills."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from seneca.database import Row, Transaction

ROWS_PER_RANGE: Final = 5000

Key = list[Any]
"""The values of a row's key, with the bucket; empty before the first row."""


class Range(Struct, frozen=True):
    """Some rows of a table."""

    condition: str
    """Selects them, in SQL."""
    parameters: dict[str, object]
    """The parameters of the condition."""
    last: Key
    """The key of the last row."""


def next_in_bucket(tx: Transaction, table: str, columns: Sequence[str], key: Key) -> Range | None:
    """The next range in the order of the table's key, within one bucket.

    Args:
        tx: the transaction.
        table: a table whose key begins with the bucket.
        columns: the next columns of its key. If they do not identify a row, rows that are equal in them stay together.
        key: the key of the last row of the range before.

    Returns:
        None if no rows are left.

    """
    names = ", ".join(columns)
    after = ", ".join(f":after_{column}" for column in columns)
    last = ", ".join(f":last_{column}" for column in columns)
    bucket, *values = key or (-1, *("" for _ in columns))
    while True:
        parameters = {f"after_{column}": value for column, value in zip(columns, values, strict=True)}
        rows = f"SELECT {names} FROM {table} WHERE bucket = :bucket AND ({names}) > ({after}) ORDER BY {names} LIMIT :limit"
        row = _last_row(tx, rows, names, columns, bucket=bucket, **parameters)
        if row is not None:
            parameters |= {f"last_{column}": value for column, value in zip(columns, row, strict=True)}
            condition = f"bucket = :bucket AND ({names}) > ({after}) AND ({names}) <= ({last})"
            return Range(condition, {"bucket": bucket, **parameters}, [bucket, *row])
        row = tx.fetch_one(f"SELECT bucket FROM {table} WHERE bucket > :bucket ORDER BY bucket LIMIT 1", bucket=bucket)
        if row is None:
            return None
        bucket, values = row[0], ["" for _ in columns]


def next_in_file(tx: Transaction, table: str, columns: Sequence[str], key: Key) -> Range | None:
    """As ``next_in_bucket``, in the order in which SQLite stores the rows, so that each page of the file is written once.

    The range before is given by a key because VACUUM may give the rows new numbers, in the same order.
    """
    names = ("bucket", *columns)
    after = None
    if key:
        condition = " AND ".join(f"{name} = :{name}" for name in names)
        after = tx.fetch_one(f"SELECT rowid FROM {table} WHERE {condition}", **dict(zip(names, key, strict=True)))
    parameters = {"after": -1 if after is None else after[0]}
    columns = ("number", *names)
    rows = f"SELECT rowid AS {', '.join(columns)} FROM {table} WHERE rowid > :after ORDER BY rowid LIMIT :limit"
    row = _last_row(tx, rows, ", ".join(columns), ("number",), **parameters)
    if row is None:
        return None
    last, *key = row
    return Range("rowid > :after AND rowid <= :last", {**parameters, "last": last}, key)


def _last_row(tx: Transaction, rows: str, names: str, order: Sequence[str], **parameters: object) -> Row | None:
    """The last row of a query of a range."""
    descending = ", ".join(f"{column} DESC" for column in order)
    sql = f"SELECT {names} FROM ({rows}) range_rows ORDER BY {descending} LIMIT 1"
    return tx.fetch_one(sql, limit=ROWS_PER_RANGE, **parameters)
