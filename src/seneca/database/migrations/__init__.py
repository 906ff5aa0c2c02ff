"""Schema migrations: numbered SQL files, each applied once and in order.

Some have a step in Python, in the same transaction. Some have a backfill: the SQL adds columns or tables, and the backfill fills
them for existing rows, in many short transactions (``backfill``). It is complete before the next migration begins, and before a
server serves.
"""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from importlib.resources import files
from typing import Final, Protocol

from seneca.database import Progress, Transaction, name_keys
from seneca.database.migrations import active_time, backfill, study_days
from seneca.database.migrations.backfill import Backfill, Position
from seneca.database.properties import DEFAULT_IDLE_MINUTES, DEFAULT_PROPERTIES, InitialProperties
from seneca.errors import CommandError

BUCKETS = 64
PAUSE_SECONDS: Final = 0.002  # between two steps, so that another process gets SQLite's write lock, which is not fair

HAS_MIGRATIONS_TABLE = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'",
    "postgres": "SELECT to_regclass('migrations')::text",
}
CREATE_MIGRATIONS_TABLE = "CREATE TABLE migrations (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL)"
LATEST_NUMBER = "SELECT coalesce(max(number), 0) FROM migrations"
RECORD_MIGRATION = "INSERT INTO migrations (number, name) VALUES (:number, :name)"
COUNT_SESSIONS = "SELECT count(*) FROM sessions"
SET_PROPERTY = "INSERT INTO properties (name, value) VALUES (:name, :value)"
IDLE_MINUTES = "SELECT value FROM properties WHERE name = 'idle-minutes'"
DATABASE_ID = "SELECT value FROM properties WHERE name = 'database-id'"
"""Identifies a database; its backups have the same id."""


Migration = tuple[int, str, str]
"""Its number, name and SQL."""
Announce = Callable[[str], None]
"""Called with what is about to happen, as text for the operator."""


class MigrationTransaction(Transaction, Protocol):
    """What a migration needs of an engine: an open transaction that runs any SQL."""

    def script(self, sql: str, /) -> None:
        """Run several statements."""


STEPS: Final[Mapping[int, Callable[[Transaction], list[str]]]] = {6: name_keys.recompute}
"""Python steps by migration number, run after its SQL. Each returns warnings for the operator."""
BACKFILLS: Final[Mapping[int, Sequence[Backfill]]] = {8: active_time.BACKFILLS, 10: study_days.BACKFILLS}
"""Backfills by migration number, done one after the other."""


@cache
def known(engine: str) -> tuple[Migration, ...]:
    """All migrations of an engine, in order."""
    migrations = []
    for file in files("seneca.database.migrations").joinpath(engine).iterdir():
        if file.name.endswith(".sql"):
            number, _, name = file.name.removesuffix(".sql").partition("_")
            migrations.append((int(number), name, file.read_text(encoding="utf-8")))
    return tuple(sorted(migrations))


def missing(tx: Transaction, engine: str) -> list[Migration]:
    """The missing migrations.

    Raises:
        CommandError: the database is newer than this program.

    """
    row = tx.fetch_one(LATEST_NUMBER)
    latest = int(str(row[0])) if row else 0
    migrations = known(engine)
    if latest > migrations[-1][0]:
        raise CommandError(f"The database has schema {latest}, newer than this program knows. Use a newer Seneca.")
    return [migration for migration in migrations if migration[0] > latest]


def pending(tx: Transaction, engine: str) -> int:
    """The number of migrations that are missing, or whose backfill is not complete. Raises as ``missing`` does."""
    return len(missing(tx, engine)) + (backfill.read_position(tx) is not None)


class Migrator:
    """Applies the missing migrations of a database, and completes their backfills.

    Args:
        engine: ``sqlite`` or ``postgres``.
        warnings: receives warnings for the operator.
        initial: the properties of a new database.
        announce: called before each migration of an existing database with what is about to happen.
        progress: called after each step of a backfill, with the number of rows that are filled.

    """

    def __init__(
        self,
        engine: str,
        warnings: list[str],
        initial: InitialProperties = DEFAULT_PROPERTIES,
        announce: Announce = lambda _: None,
        progress: Progress = lambda *_: None,
    ) -> None:
        self.is_new = False
        """Whether the database was empty."""
        self.applied = 0
        """The number of migrations that were completed."""
        self._engine = engine
        self._warnings = warnings
        self._initial = initial
        self._announce = announce
        self._progress = progress
        self._position: Position | None = None

    @property
    def advice(self) -> str:
        """What to do after an error, if a backfill is not complete; otherwise empty."""
        if self._position is None:
            return ""
        return (
            f"{self._describe(self._position)}: {self._position.filled:,} of {self._position.total:,}. Nothing is lost: remove the cause, "
            "then run seneca migrate or start the server, which continues there."
        )

    def run(self, begin: Callable[[], AbstractContextManager[MigrationTransaction]]) -> None:
        """Apply the missing migrations. Several processes may do this at once.

        Args:
            begin: a transaction that only one process has at a time, committed at the end of its block.

        Raises:
            CommandError: the database is newer than this program.

        """
        is_complete = False
        while not is_complete:
            with begin() as tx:
                position, is_complete = self._advance(tx)
            self._position = position
            if position is not None:
                self._progress(self._describe(position), position.filled, position.total)
                time.sleep(PAUSE_SECONDS)

    def _advance(self, tx: MigrationTransaction) -> tuple[Position | None, bool]:
        """Do the next transaction's work; returns how far a backfill is, and whether everything is complete."""
        if tx.fetch_one(HAS_MIGRATIONS_TABLE[self._engine]) in (None, (None,)):
            # only if it is missing: creating a table takes a privilege that the role may lack later
            tx.execute(CREATE_MIGRATIONS_TABLE)
        absent = missing(tx, self._engine)
        self.is_new = len(absent) == len(known(self._engine))
        position = None if self.is_new else backfill.read_position(tx)
        if position is None:
            position = self._apply(tx, absent)
            return position, position is None
        if self._position is None:
            self._announce(f"{self._describe(position)}: continued after {position.filled:,} of {position.total:,}.")
        self._position = position
        position = backfill.advance(tx, self._engine, position, BACKFILLS[position.migration])
        self.applied += position is None
        return position, position is None and not absent

    def _apply(self, tx: MigrationTransaction, absent: list[Migration]) -> Position | None:
        """Apply migrations up to the first one with a backfill; returns that backfill's position, or None."""
        sessions = tx.fetch_one(COUNT_SESSIONS) if absent and not self.is_new else None
        position = None
        for number, name, sql in absent:
            backfills = None if self.is_new else BACKFILLS.get(number)
            if sessions is not None:
                self._announce(
                    f"Migration {number} ({name}) of a database with {sessions[0]:,} sessions. If it is interrupted, "
                    + ("it continues where it was." if backfills else "nothing has changed, and it begins again.")
                )
            tx.script(sql)
            if step := STEPS.get(number):
                self._warnings += step(tx)
            tx.execute(RECORD_MIGRATION, number=number, name=name)
            if backfills is not None:
                position = backfill.begin(tx, number, backfills)
                break
            self.applied += 1
        self._set_properties(tx)
        return position

    def _set_properties(self, tx: MigrationTransaction) -> None:
        """Set the properties that a database lacks."""
        if self.is_new:
            tx.execute(SET_PROPERTY, name="buckets", value=str(BUCKETS))
            tx.execute(SET_PROPERTY, name="bucket-hash", value="crc32")
        if tx.fetch_one(IDLE_MINUTES) is None:
            minutes = self._initial.idle_minutes if self.is_new else DEFAULT_IDLE_MINUTES
            tx.execute(SET_PROPERTY, name="idle-minutes", value=str(minutes))
        if tx.fetch_one(study_days.TIME_ZONE) is None:
            tx.execute(SET_PROPERTY, name="time-zone", value=self._initial.time_zone)
        if tx.fetch_one(DATABASE_ID) is None:
            tx.execute(SET_PROPERTY, name="database-id", value=str(uuid.uuid4()))

    def _describe(self, position: Position) -> str:
        """What a backfill does."""
        name = next(name for number, name, _ in known(self._engine) if number == position.migration)
        table = BACKFILLS[position.migration][position.backfill].table
        return f"Migration {position.migration} ({name}) fills {table}"
