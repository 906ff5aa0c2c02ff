"""The transaction of ``Database.read``: a single query, which is a snapshot by itself and needs neither BEGIN nor COMMIT."""

from typing import NoReturn

from seneca.database import PendingResult, Row, Transaction
from seneca.database.cache import Cache


class SeveralStatements(RuntimeError):
    """``Database.read`` runs a function with more than one query: a bug. Use ``Database.read_snapshot``."""


class SingleStatement:
    """A transaction that runs one query by ``fetch_one``, ``fetch_all`` or ``send``; everything else raises SeveralStatements."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._is_used = False

    @property
    def buckets(self) -> int:
        """The number of buckets."""
        return self._tx.buckets

    @property
    def cache(self) -> Cache:
        """This process's cache."""
        return self._tx.cache

    def _use(self) -> None:
        if self._is_used:
            raise SeveralStatements("Database.read runs one query. Use Database.read_snapshot for several.")
        self._is_used = True

    def fetch_one(self, sql: str, /, **parameters: object) -> Row | None:
        """The first row, or None."""
        self._use()
        return self._tx.fetch_one(sql, **parameters)

    def fetch_all(self, sql: str, /, **parameters: object) -> list[Row]:
        """Every row."""
        self._use()
        return self._tx.fetch_all(sql, **parameters)

    def send(self, sql: str, /, **parameters: object) -> PendingResult:
        """Send a query."""
        self._use()
        return self._tx.send(sql, **parameters)

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse what may be several statements. Raises SeveralStatements."""
        raise SeveralStatements(f"Database.read runs one query, by fetch_one, fetch_all or send, not by {name}.")
