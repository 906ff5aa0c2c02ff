"""`Database.read` runs one query, `read_snapshot` several on one snapshot: the same on every engine."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seneca.database import Database, Transaction, open_database
from seneca.database.single_statement import SeveralStatements
from tests.helpers.engines import engine

NAMES = "SELECT name FROM properties WHERE name IN ('buckets', 'added') ORDER BY name"
ONE = "SELECT 1 FROM properties WHERE name = :name"
ADD = "INSERT INTO properties (name, value) VALUES ('added', '')"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(engine().url(tmp_path))
    yield opened
    opened.close()


def read(database: Database, work: Callable[[Transaction], Any]) -> Any:
    return asyncio.run(database.read(work))


@pytest.mark.parametrize(
    "work",
    [
        lambda tx: tx.fetch_one(ONE, name="buckets"),
        lambda tx: tx.fetch_all(ONE, name="buckets")[0],
        lambda tx: tx.send(ONE, name="buckets").fetchone(),
    ],
)
def test_a_read_runs_one_query(database: Database, work: Callable[[Transaction], Any]):
    for _ in range(2):
        assert read(database, work) == (1,)


@pytest.mark.parametrize(
    "second",
    [
        lambda tx: tx.fetch_one(NAMES),
        lambda tx: tx.fetch_all(NAMES),
        lambda tx: tx.send(NAMES),
        lambda tx: list(tx.stream(NAMES)),
        lambda tx: tx.fetch_in("SELECT 1 FROM properties WHERE name IN (:values)", ["buckets"]),
        lambda tx: tx.execute(ADD),
        lambda tx: tx.pipeline(),
    ],
)
@pytest.mark.parametrize("first", [lambda tx: tx.send(NAMES), lambda tx: tx.fetch_one(NAMES)])
def test_a_second_statement_is_refused(
    database: Database, first: Callable[[Transaction], Any], second: Callable[[Transaction], Any]
):
    def work(tx: Transaction) -> None:
        first(tx)
        second(tx)

    with pytest.raises(SeveralStatements, match=r"Database\.read runs one query"):
        read(database, work)
    assert read(database, lambda tx: tx.fetch_all(NAMES)) == [("buckets",)]


def test_the_queries_of_a_snapshot_see_the_same_state(database: Database, tmp_path: Path):
    another = open_database(engine().url(tmp_path))

    def work(tx: Transaction) -> list[Any]:
        before = tx.fetch_all(NAMES)
        with another.write_transaction() as other:
            other.execute(ADD)
        return [before, tx.fetch_all(NAMES)]

    assert asyncio.run(database.read_snapshot(work)) == [[("buckets",)], [("buckets",)]]
    assert read(database, lambda tx: tx.fetch_all(NAMES)) == [("added",), ("buckets",)]
    another.close()
