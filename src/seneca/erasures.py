"""Which accounts were erased: their ids, kept so that nothing brings them back."""

from collections.abc import Iterator

from seneca import units
from seneca.database import Transaction

NOTE = """
INSERT INTO erasures (bucket, account_id, erased_at) VALUES (:bucket, :id, :at)
ON CONFLICT (bucket, account_id) DO NOTHING
"""
AMONG = "SELECT account_id FROM erasures WHERE account_id IN (:values)"
ALL = "SELECT account_id, erased_at FROM erasures"


def note(tx: Transaction, account_id: str, at: int) -> None:
    """Remember that an account was erased, at a time in milliseconds since 1970. The first time stays."""
    tx.put(NOTE, bucket=units.bucket_of(account_id, tx.buckets), id=account_id, at=at)


def every(tx: Transaction) -> Iterator[tuple[str, int]]:
    """Every erased account's id, and when it was erased."""
    yield from tx.rows(ALL)
