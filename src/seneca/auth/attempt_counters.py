"""Counters of attempts: one row of the table ``throttles`` for each key.

An account's counters are in the account's bucket, and their keys start with its id. The keys of unknown names and of network
addresses are hashes.
"""

import hashlib

from msgspec import Struct

from seneca.common import text_types
from seneca.common.ids import bucket_of
from seneca.database import PendingResult, Row, Transaction


class Counter(Struct, frozen=True):
    """The primary key of a counter."""

    bucket: int
    key: str


def of_account(account_id: str, buckets: int) -> Counter:
    """The counter of an account for all unfamiliar addresses."""
    return Counter(bucket_of(account_id, buckets), f"account {account_id}")


def of_account_at(account_id: str, address: str, buckets: int) -> Counter:
    """The counter of an account for one familiar address."""
    return Counter(bucket_of(account_id, buckets), f"account {account_id} {sha256_hex(address)}")


def of_name(name: str, buckets: int) -> Counter:
    """The counter of a name that no account has."""
    return _hashed(f"name {text_types.key(name)}", buckets)


def of_address(purpose: str, address: str, buckets: int) -> Counter:
    """The counter of a network address, for one purpose."""
    return _hashed(f"{purpose} {address}", buckets)


def sha256_hex(text: str) -> str:
    """Compute a SHA-256, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _hashed(text: str, buckets: int) -> Counter:
    key = sha256_hex(text)
    return Counter(bucket_of(key, buckets), key)


INSERT = """
INSERT INTO throttles (bucket, key, tries, tried_at) VALUES (:bucket, :key, 0, :now) ON CONFLICT (bucket, key) DO NOTHING
"""
COUNTER = "SELECT tries, tried_at FROM throttles WHERE bucket = :bucket AND key = :key"
SET = "UPDATE throttles SET tries = :tries, tried_at = :tried_at WHERE bucket = :bucket AND key = :key"


def select_for_update(tx: Transaction, *counters: Counter, now: int) -> list[PendingResult]:
    """Create counters if necessary, and lock them until the end of the transaction, so that concurrent attempts are counted.

    Returns:
        The pending rows: the number of attempts and a time, for an account or a name that of the last attempt, for an
        address that of the first.

    """
    for counter in counters:
        tx.execute_later(INSERT, bucket=counter.bucket, key=counter.key, now=now)
    return [tx.select_for_update(COUNTER, bucket=counter.bucket, key=counter.key) for counter in counters]


def fetch_row(result: PendingResult) -> Row:
    """Fetch the row of a counter that was selected for update."""
    row = result.fetchone()
    assert row is not None
    return row


def put(tx: Transaction, counter: Counter, *, tries: int, tried_at: int) -> None:
    """Update a counter that was selected for update."""
    tx.execute_later(SET, bucket=counter.bucket, key=counter.key, tries=tries, tried_at=tried_at)


DECREMENT = "UPDATE throttles SET tries = tries - 1 WHERE bucket = :bucket AND key = :key AND tries > 0"
DECREMENT_SINCE = DECREMENT + " AND tried_at = :since"
DELETE = "DELETE FROM throttles WHERE bucket = :bucket AND key = :key"
DELETE_IF_ZERO = DELETE + " AND tries = 0"
DELETE_OLD = "DELETE FROM throttles WHERE bucket = :bucket AND tried_at < :oldest"
DELETE_OF_ACCOUNT = "DELETE FROM throttles WHERE bucket = :bucket AND key >= :first AND key < :end"


def decrement(tx: Transaction, counter: Counter, since: int | None = None) -> None:
    """Subtract an attempt. With ``since``, do so only if the counter's time is unchanged."""
    if since is None:
        tx.execute_later(DECREMENT, bucket=counter.bucket, key=counter.key)
        tx.execute_later(DELETE_IF_ZERO, bucket=counter.bucket, key=counter.key)
    else:
        tx.execute_later(DECREMENT_SINCE, bucket=counter.bucket, key=counter.key, since=since)


def delete(tx: Transaction, counter: Counter) -> None:
    """Delete a counter, which resets it."""
    tx.execute_later(DELETE, bucket=counter.bucket, key=counter.key)


def delete_old(tx: Transaction, bucket: int, oldest: int) -> None:
    """Delete a bucket's counters whose time is before ``oldest`` (milliseconds since 1970)."""
    tx.execute_later(DELETE_OLD, bucket=bucket, oldest=oldest)


def delete_of_account(tx: Transaction, account_id: str) -> None:
    """Delete all counters of an account, which ends every wait."""
    counter = of_account(account_id, tx.buckets)
    tx.execute_later(DELETE_OF_ACCOUNT, bucket=counter.bucket, first=counter.key, end=counter.key + "!")
