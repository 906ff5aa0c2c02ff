"""A pending result is read once, and before the transaction's next write: on every engine, since they differ in when they run a query."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seneca.database import Database, Transaction, open_database
from seneca.database.pending_result import MisreadResult
from tests.helpers.engines import engine

NAMES = "SELECT name FROM properties ORDER BY name"
NAMES_IN = "SELECT name FROM properties WHERE name IN (:values) ORDER BY name"
INSERT = "INSERT INTO properties (name, value) VALUES (:name, :value)"
UPDATE = "UPDATE properties SET value = 'y' WHERE name = :name"
A = {"name": "a", "value": "x"}
WRITES: dict[str, Callable[[Transaction], Any]] = {
    "execute": lambda tx: tx.execute(INSERT, **A),
    "execute_later": lambda tx: tx.execute_later(INSERT, **A),
    "execute_later of several values": lambda tx: tx.execute_later(
        "DELETE FROM properties WHERE name IN (:values)", values=["none"]
    ),
    "insert_many": lambda tx: tx.insert_many(INSERT, [A]),
    "insert_many_later": lambda tx: tx.insert_many_later(INSERT, [A]),
    "fetch_all": lambda tx: tx.fetch_all(f"{UPDATE} RETURNING name", name="a"),
    "fetch_one": lambda tx: tx.fetch_one(f"{UPDATE} RETURNING name", name="a"),
    "fetch_in": lambda tx: tx.fetch_in("DELETE FROM properties WHERE name IN (:values) RETURNING name", ["none"]),
}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(engine().url(tmp_path))
    yield opened
    opened.close()


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("read", ["fetchone", "fetchall"])
@pytest.mark.parametrize("kind", ["send", "select_for_update", "select_for_delete"])
def test_a_result_that_is_read_after_a_write_is_an_error(database: Database, kind: str, read: str, write: str):
    def work(tx: Transaction) -> None:
        result = getattr(tx, kind)(NAMES)
        WRITES[write](tx)
        getattr(result, read)()

    with pytest.raises(MisreadResult, match="before the transaction's next write"):
        asyncio.run(database.write(work))
    assert database_rows(database) == []  # nothing is stored


@pytest.mark.parametrize("first", ["fetchone", "fetchall"])
@pytest.mark.parametrize("second", ["fetchone", "fetchall"])
@pytest.mark.parametrize("values", [{}, {"values": ["buckets"]}])
def test_a_result_is_read_once(database: Database, first: str, second: str, values: dict[str, list[str]]):
    def work(tx: Transaction) -> None:
        result = tx.send(NAMES_IN if values else NAMES, **values)
        assert getattr(result, first)()
        getattr(result, second)()

    with pytest.raises(MisreadResult, match="once"):
        asyncio.run(database.write(work))


def test_what_was_read_in_time_is_as_it_was_before_the_write(database: Database):
    def work(tx: Transaction) -> tuple[list[Any], list[Any]]:
        before = tx.send(NAMES_IN, values=["a", "b"]).fetchall()
        tx.execute_later(INSERT, **A)
        after = tx.send(NAMES_IN, values=["a", "b"])
        return before, after.fetchall()

    assert asyncio.run(database.write(work)) == ([], [("a",)])


def database_rows(database: Database) -> list[Any]:
    with database.read_transaction() as tx:
        return tx.fetch_all("SELECT name FROM properties WHERE name = 'a'")
