"""The ids of erased accounts, stored so that no import or restore brings these accounts back."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from seneca.common.ids import bucket_of
from seneca.database import PendingResult, Transaction

INSERT = """
INSERT INTO erasures (bucket, account_id, erased_at) VALUES (:bucket, :id, :at)
ON CONFLICT (bucket, account_id) DO NOTHING
"""
AMONG = "SELECT account_id FROM erasures WHERE bucket = :bucket AND account_id IN (:values)"
ALL = "SELECT account_id, erased_at FROM erasures"


def record(tx: Transaction, account_id: str, at: int) -> None:
    """Record that an account was erased at a time, in milliseconds since 1970. An existing record stays unchanged."""
    tx.execute_later(INSERT, bucket=bucket_of(account_id, tx.buckets), id=account_id, at=at)


def send_among(tx: Transaction, account_ids: Iterable[str]) -> list[PendingResult]:
    """Send queries that find which of these accounts were erased. The rows of all results together hold their ids."""
    by_bucket: defaultdict[int, list[str]] = defaultdict(list)
    for id_ in account_ids:
        by_bucket[bucket_of(id_, tx.buckets)].append(id_)
    return [tx.send(AMONG, bucket=bucket, values=ids) for bucket, ids in by_bucket.items()]


def fetch_all(tx: Transaction) -> Iterator[tuple[str, int]]:
    """Read the id of each erased account, and the time of its erasure."""
    yield from tx.stream(ALL)
