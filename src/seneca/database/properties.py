"""Properties of a database: those that it gets first, and those that are fixed from then on."""

from typing import Final, Protocol

from msgspec import Struct

from seneca.common.times import MINUTE_MS

DEFAULT_IDLE_MINUTES: Final = 5
"""Of a database from before this property existed; migration 0008 computes with it."""


class InitialProperties(Struct, frozen=True):
    """The properties that a database gets when it is created, or when a migration introduces them."""

    idle_minutes: int = DEFAULT_IDLE_MINUTES
    """Of new databases only: older ones have ``DEFAULT_IDLE_MINUTES``."""
    time_zone: str = "UTC"


DEFAULT_PROPERTIES: Final = InitialProperties()


PROPERTIES: Final = "SELECT name, value FROM properties WHERE name IN ('buckets', 'idle-minutes')"


class Properties(Struct, frozen=True):
    """The fixed properties. The defaults are for a database that is not migrated yet."""

    buckets: int = 0
    """The number of buckets over which learners are distributed."""
    idle_ms: int = DEFAULT_IDLE_MINUTES * MINUTE_MS
    """How long an event of a study session counts as active time, in milliseconds (see ``sessions.activity``)."""


class _Reader(Protocol):
    def fetch_all(self, sql: str, /) -> list[tuple[object, ...]]:
        """Every row."""


def read_properties(tx: _Reader) -> Properties:
    """Read the properties. A database that is not fully migrated has the default idle time."""
    values = {str(name): int(str(value)) for name, value in tx.fetch_all(PROPERTIES)}
    idle_minutes = values.get("idle-minutes", DEFAULT_IDLE_MINUTES)
    return Properties(buckets=values["buckets"], idle_ms=idle_minutes * MINUTE_MS)
