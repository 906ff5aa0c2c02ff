"""Schema migrations: numbered SQL files, each applied once and in order; some have a step in Python."""

import uuid
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Final, Protocol

from seneca.database import name_keys
from seneca.database.name_keys import StepTransaction
from seneca.database.properties import DEFAULT_IDLE_MINUTES
from seneca.errors import CommandError

BUCKETS = 64

HAS_MIGRATIONS_TABLE = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'",
    "postgres": "SELECT to_regclass('migrations')::text",
}
CREATE_MIGRATIONS_TABLE = "CREATE TABLE migrations (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)"
LATEST_NUMBER = "SELECT coalesce(max(number), 0) FROM migrations"
RECORD_MIGRATION = "INSERT INTO migrations (number, name) VALUES (:number, :name)"
SET_PROPERTY = "INSERT INTO properties (name, value) VALUES (:name, :value)"
IDLE_MINUTES = "SELECT value FROM properties WHERE name = 'idle-minutes'"
COUNT_SESSIONS = "SELECT count(*) FROM sessions"
DATABASE_ID = "SELECT value FROM properties WHERE name = 'database-id'"
"""Identifies a database; its backups have the same id."""


Announce = Callable[[str], None]
"""Called with what is about to happen, as text for the operator."""


class MigrationTransaction(StepTransaction, Protocol):
    """What a migration needs of an engine: an open transaction that runs any SQL."""

    def script(self, sql: str, /) -> None:
        """Run several statements."""


STEPS: Final[Mapping[int, Callable[[StepTransaction], list[str]]]] = {6: name_keys.recompute}
"""Python steps by migration number, run after its SQL. Each returns warnings for the operator."""


def known(engine: str) -> list[tuple[int, str, str]]:
    """All migrations of an engine, in order: number, name and SQL."""
    migrations = []
    for file in files("seneca.database.migrations").joinpath(engine).iterdir():
        if file.name.endswith(".sql"):
            number, _, name = file.name.removesuffix(".sql").partition("_")
            migrations.append((int(number), name, file.read_text(encoding="utf-8")))
    return sorted(migrations)


def apply(
    tx: MigrationTransaction,
    engine: str,
    warnings: list[str],
    idle_minutes: int = DEFAULT_IDLE_MINUTES,
    announce: Announce = lambda _: None,
) -> int:
    """Apply the missing migrations inside the caller's transaction; returns their number.

    Args:
        tx: the transaction.
        engine: ``sqlite`` or ``postgres``.
        warnings: receives warnings for the operator.
        idle_minutes: this property of a new database.
        announce: called before each migration of an existing database with what is about to happen.

    Raises:
        CommandError: the database is newer than this program.

    """
    if tx.fetch_one(HAS_MIGRATIONS_TABLE[engine]) in (None, (None,)):
        tx.execute(
            CREATE_MIGRATIONS_TABLE
        )  # only if it is missing: creating a table takes a privilege that the role may lack later
    missing = pending(tx, engine)
    is_empty = len(missing) == len(known(engine))
    sessions = tx.fetch_one(COUNT_SESSIONS) if missing and not is_empty else None
    for number, name, sql in missing:
        if sessions is not None:
            announce(
                f"Migration {number} ({name}) of a database with {int(str(sessions[0])):,} sessions. "
                "If it is interrupted, nothing has changed, and it begins again."
            )
        tx.script(sql)
        if step := STEPS.get(number):
            warnings += step(tx)
        tx.execute(RECORD_MIGRATION, number=number, name=name)
    if is_empty:
        tx.execute(SET_PROPERTY, name="buckets", value=str(BUCKETS))
        tx.execute(SET_PROPERTY, name="bucket-hash", value="crc32")
    if tx.fetch_one(IDLE_MINUTES) is None:
        tx.execute(SET_PROPERTY, name="idle-minutes", value=str(idle_minutes if is_empty else DEFAULT_IDLE_MINUTES))
    if tx.fetch_one(DATABASE_ID) is None:
        tx.execute(SET_PROPERTY, name="database-id", value=str(uuid.uuid4()))
    return len(missing)


def pending(tx: MigrationTransaction, engine: str) -> list[tuple[int, str, str]]:
    """The missing migrations: number, name and SQL.

    Raises:
        CommandError: the database is newer than this program.

    """
    row = tx.fetch_one(LATEST_NUMBER)
    latest = int(str(row[0])) if row else 0
    migrations = known(engine)
    if latest > migrations[-1][0]:
        raise CommandError(f"The database has schema {latest}, newer than this program knows. Use a newer Seneca.")
    return [migration for migration in migrations if migration[0] > latest]
