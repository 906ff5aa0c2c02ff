"""Backfills: how a migration fills new columns and tables of an existing database, in short transactions.

Each transaction fills a few thousand rows and stores how far the backfill is. So an interrupted backfill is continued by the next
command or server, from the last commit. ``SESSION_RANGE`` and ``next_sessions`` divide all sessions into such ranges.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from seneca.database import Transaction

ROWS_PER_STEP: Final = 5000

POSITION: Final = "SELECT value FROM properties WHERE name = 'backfill'"
PUT_POSITION: Final = """
INSERT INTO properties (name, value) VALUES ('backfill', :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
DELETE_POSITION: Final = "DELETE FROM properties WHERE name = 'backfill'"

COUNT_SESSIONS: Final = "SELECT count(*) FROM sessions"
NEXT_BUCKET: Final = "SELECT bucket FROM sessions WHERE bucket > :bucket ORDER BY bucket LIMIT 1"
SESSION_KEYS: Final = """
SELECT learner_id, id FROM sessions
WHERE bucket = :bucket AND (learner_id, id) > (:learner_id, :id)
ORDER BY learner_id, id
LIMIT :limit
"""
SESSION_RANGE: Final = """
bucket = :bucket AND (learner_id, id) > (:after_learner, :after_id) AND (learner_id, id) <= (:last_learner, :last_id)
"""
"""The condition that selects the sessions of a ``Sessions``; its parameters are ``Sessions.parameters``."""

Key = list[Any]
"""Where the last step ended, as JSON values; empty before the first step."""


class Step(Struct, frozen=True):
    """What one step has filled."""

    key: Key
    """Where the next step begins."""
    rows: int


class Backfill(Struct, frozen=True):
    """How a migration fills what it has added."""

    rows: str
    """What it counts, as a plural noun."""
    count: str
    """The query of their number."""
    fill: Callable[[Transaction, Key], Step | None]
    """Fills a few thousand rows after a key, in the caller's transaction; returns None if there are none left.

    On a cluster, all that it writes is of one bucket, or of reference tables. Nobody else writes to the tables that it fills. The transaction's properties
    (``buckets``, ``idle_ms``) are not set.
    """


class Position(Struct):
    """How far the backfill of a migration is."""

    migration: int
    """The number of the migration."""
    total: int
    """The number of rows to fill."""
    filled: int = 0
    """The number of rows that are filled."""
    key: Key = []


def read_position(tx: Transaction) -> Position | None:
    """How far the unfinished backfill is; None if none is unfinished."""
    row = tx.fetch_one(POSITION)
    return None if row is None else msgspec.json.decode(row[0], type=Position)


def begin(tx: Transaction, migration: int, backfill: Backfill) -> Position:
    """Store that a backfill has to be done, in the transaction that changes the schema."""
    row = tx.fetch_one(backfill.count)
    position = Position(migration, total=0 if row is None else row[0])
    _put(tx, position)
    return position


def advance(tx: Transaction, position: Position, backfill: Backfill) -> Position | None:
    """Do one step; returns how far the backfill is then, or None if it is complete."""
    step = backfill.fill(tx, position.key)
    if step is None:
        tx.execute(DELETE_POSITION)
        return None
    position = msgspec.structs.replace(position, filled=position.filled + step.rows, key=step.key)
    _put(tx, position)
    return position


def _put(tx: Transaction, position: Position) -> None:
    tx.execute(PUT_POSITION, value=msgspec.json.encode(position).decode())


# -- all sessions, range by range ------------------------------------------------------------------


class Sessions(Struct, frozen=True):
    """A range of sessions of one bucket, in the order of their keys."""

    bucket: int
    after: tuple[str, str]
    """The learner and the id of the session before the first one."""
    last: tuple[str, str]
    """Those of the last one."""
    number: int
    """The number of sessions."""

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of ``SESSION_RANGE``."""
        (after_learner, after_id), (last_learner, last_id) = self.after, self.last
        return {
            "bucket": self.bucket,
            "after_learner": after_learner,
            "after_id": after_id,
            "last_learner": last_learner,
            "last_id": last_id,
        }


def fill_sessions(fill: Callable[[Transaction, Sessions], None]) -> Backfill:
    """A backfill of sessions, and of what is computed from them, that calls a function for each range of sessions."""

    def fill_next(tx: Transaction, key: Key) -> Step | None:
        sessions = next_sessions(tx, key)
        if sessions is None:
            return None
        fill(tx, sessions)
        return Step([sessions.bucket, *sessions.last], sessions.number)

    return Backfill("sessions", COUNT_SESSIONS, fill_next)


def next_sessions(tx: Transaction, key: Key) -> Sessions | None:
    """The sessions after a key, at most ``ROWS_PER_STEP`` of one bucket; None if there are none."""
    bucket, *after = key or (-1, "", "")
    while True:
        keys = tx.fetch_all(SESSION_KEYS, bucket=bucket, learner_id=after[0], id=after[1], limit=ROWS_PER_STEP)
        if keys:
            return Sessions(bucket, after=(after[0], after[1]), last=keys[-1], number=len(keys))
        row = tx.fetch_one(NEXT_BUCKET, bucket=bucket)
        if row is None:
            return None
        bucket, after = row[0], ["", ""]
