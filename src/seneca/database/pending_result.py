"""The rule of pending results, the same on every engine: read each once, and before the transaction's next write.

Without it a result would depend on the engine: PostgreSQL runs a query when it is sent, SQLite when its result is read.
"""

from functools import lru_cache
from typing import Protocol


class MisreadResult(RuntimeError):
    """A pending result was read twice, or after a later write: a bug."""


class Writer(Protocol):
    """A transaction that counts its writes."""

    writes: int


class Pending:
    """What a result of either engine has in common."""

    __slots__ = ("_is_read", "_tx", "_writes")

    def __init__(self, tx: Writer) -> None:
        self._tx = tx
        self._writes = tx.writes
        self._is_read = False

    def _begin_read(self) -> None:
        """Check the rule. Raises MisreadResult."""
        if self._is_read:
            raise MisreadResult("A result can be read once.")
        if self._writes != self._tx.writes:
            raise MisreadResult("A result must be read before the transaction's next write.")
        self._is_read = True


@lru_cache(1024)
def is_write(sql: str) -> bool:
    """Whether a statement changes rows."""
    return not sql.lstrip().upper().startswith(("SELECT", "PRAGMA", "WITH", "BEGIN", "COMMIT", "SET", "SHOW"))
