"""Bring a database's schema up to date: numbered SQL files, applied once each, in order; some with a step in Python."""

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Final, Protocol

from seneca.database import name_keys
from seneca.errors import Unusable

BUCKETS = 64

CREATE_LEDGER = "CREATE TABLE IF NOT EXISTS migrations (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)"
LATEST = "SELECT coalesce(max(number), 0) FROM migrations"
APPLIED = "INSERT INTO migrations (number, name) VALUES (:number, :name)"
FIX = "INSERT INTO properties (name, value) VALUES (:name, :value)"


class Schema(Protocol):
    """What applying a migration needs of an engine: an open transaction that takes any SQL."""

    def one(self, sql: str, /, **parameters: object) -> tuple[object, ...] | None:
        """The first row, or None."""

    def all(self, sql: str, /, **parameters: object) -> list[tuple[object, ...]]:
        """Every row."""

    def run(self, sql: str, /, **parameters: object) -> int:
        """Run one statement."""

    def script(self, sql: str, /) -> None:
        """Run several statements."""


STEPS: Final[Mapping[int, Callable[[Schema], list[str]]]] = {6: name_keys.recompute}
"""What SQL cannot do, by the number of the migration, after its SQL. Each returns warnings for the operator."""


def known(engine: str) -> list[tuple[int, str, str]]:
    """Every migration of an engine: its number, name and SQL, in order."""
    found = []
    for file in files("seneca").joinpath("migrations", engine).iterdir():
        if file.name.endswith(".sql"):
            number, _, name = file.name.removesuffix(".sql").partition("_")
            found.append((int(number), name, file.read_text(encoding="utf-8")))
    return sorted(found)


def apply(tx: Schema, engine: str, warnings: list[str]) -> int:
    """Apply the migrations that are missing, inside the caller's transaction; returns how many.

    Args:
        tx: the transaction.
        engine: ``sqlite`` or ``postgres``.
        warnings: takes what an operator must know of it.

    Raises:
        Unusable: the database is newer than this program.

    """
    tx.run(CREATE_LEDGER)
    row = tx.one(LATEST)
    latest = int(str(row[0])) if row else 0
    migrations = known(engine)
    if latest > migrations[-1][0]:
        raise Unusable(f"The database has schema {latest}, newer than this program knows. Use a newer Seneca.")
    missing = [m for m in migrations if m[0] > latest]
    for number, name, sql in missing:
        tx.script(sql)
        if step := STEPS.get(number):
            warnings += step(tx)
        tx.run(APPLIED, number=number, name=name)
    if latest == 0:
        tx.run(FIX, name="buckets", value=str(BUCKETS))
        tx.run(FIX, name="bucket-hash", value="crc32")
    return len(missing)
