"""Bring a database's schema up to date: numbered SQL files, applied once each, in order; some with a step in Python."""

import uuid
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Final, Protocol

from seneca.database import name_keys
from seneca.errors import CommandError

BUCKETS = 64

HAS_LEDGER = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'",
    "postgres": "SELECT to_regclass('migrations')::text",
}
CREATE_LEDGER = "CREATE TABLE migrations (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)"
LATEST = "SELECT coalesce(max(number), 0) FROM migrations"
APPLIED = "INSERT INTO migrations (number, name) VALUES (:number, :name)"
FIX = "INSERT INTO properties (name, value) VALUES (:name, :value)"
DATABASE_ID = "SELECT value FROM properties WHERE name = 'database-id'"
"""What tells one database from another; its backups have the same."""


class Schema(Protocol):
    """What applying a migration needs of an engine: an open transaction that takes any SQL."""

    def fetch_one(self, sql: str, /, **parameters: object) -> tuple[object, ...] | None:
        """The first row, or None."""

    def fetch_all(self, sql: str, /, **parameters: object) -> list[tuple[object, ...]]:
        """Every row."""

    def execute(self, sql: str, /, **parameters: object) -> int:
        """Run one statement."""

    def script(self, sql: str, /) -> None:
        """Run several statements."""


STEPS: Final[Mapping[int, Callable[[Schema], list[str]]]] = {6: name_keys.recompute}
"""What SQL cannot do, by the number of the migration, after its SQL. Each returns warnings for the operator."""


def known(engine: str) -> list[tuple[int, str, str]]:
    """Every migration of an engine: its number, name and SQL, in order."""
    found = []
    for file in files("seneca.database.migrations").joinpath(engine).iterdir():
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
        CommandError: the database is newer than this program.

    """
    if tx.fetch_one(HAS_LEDGER[engine]) in (None, (None,)):
        tx.execute(CREATE_LEDGER)  # only then: it takes a right that a role on a migrated database need not have
    missing = pending(tx, engine)
    is_new = len(missing) == len(known(engine))
    for number, name, sql in missing:
        tx.script(sql)
        if step := STEPS.get(number):
            warnings += step(tx)
        tx.execute(APPLIED, number=number, name=name)
    if is_new:
        tx.execute(FIX, name="buckets", value=str(BUCKETS))
        tx.execute(FIX, name="bucket-hash", value="crc32")
    if tx.fetch_one(DATABASE_ID) is None:
        tx.execute(FIX, name="database-id", value=str(uuid.uuid4()))
    return len(missing)


def pending(tx: Schema, engine: str) -> list[tuple[int, str, str]]:
    """The migrations that a database lacks: number, name and SQL.

    Raises:
        CommandError: the database is newer than this program.

    """
    row = tx.fetch_one(LATEST)
    latest = int(str(row[0])) if row else 0
    migrations = known(engine)
    if latest > migrations[-1][0]:
        raise CommandError(f"The database has schema {latest}, newer than this program knows. Use a newer Seneca.")
    return [migration for migration in migrations if migration[0] > latest]
