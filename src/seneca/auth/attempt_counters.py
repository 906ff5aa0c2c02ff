"""Counters of attempts: one row of the table throttles for each key.

An account's counters lie in the account's bucket, under keys that start with its id. Names that belong to nobody, and
network addresses, are kept as hashes.
"""

import hashlib

from msgspec import Struct

from seneca.common import text_types
from seneca.common.ids import bucket_of
from seneca.database import PendingResult, Row, Transaction


class Counter(Struct, frozen=True):
    """Where a counter is kept."""

    bucket: int
    key: str


def of_account(account_id: str, buckets: int) -> Counter:
    """The counter of an account, for all addresses that are not familiar to it."""
    return Counter(bucket_of(account_id, buckets), f"account {account_id}")


def of_account_at(account_id: str, address: str, buckets: int) -> Counter:
    """The counter of an account at an address that is familiar to it."""
    return Counter(bucket_of(account_id, buckets), f"account {account_id} {hash_of(address)}")


def of_name(name: str, buckets: int) -> Counter:
    """The counter of a name that belongs to no account."""
    return _hashed(f"name {text_types.key(name)}", buckets)


def of_address(purpose: str, address: str, buckets: int) -> Counter:
    """A counter of a network address, for one purpose."""
    return _hashed(f"{purpose} {address}", buckets)


def hash_of(what: str) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(what.encode()).hexdigest()


def _hashed(what: str, buckets: int) -> Counter:
    key = hash_of(what)
    return Counter(bucket_of(key, buckets), key)


ADD = """
INSERT INTO throttles (bucket, key, tries, tried_at) VALUES (:bucket, :key, 0, :now) ON CONFLICT (bucket, key) DO NOTHING
"""
READ = "SELECT tries, tried_at FROM throttles WHERE bucket = :bucket AND key = :key"
SET = "UPDATE throttles SET tries = :tries, tried_at = :tried_at WHERE bucket = :bucket AND key = :key"


def select_for_update(tx: Transaction, counter: Counter, now: int) -> PendingResult:
    """Lock a counter until the end of the transaction, so that attempts at the same time see each other.

    Returns:
        Its row: how many attempts, and a time (of an account or a name the last attempt's, of an address the first's).

    """
    tx.execute_later(ADD, bucket=counter.bucket, key=counter.key, now=now)
    return tx.select_for_update(READ, bucket=counter.bucket, key=counter.key)


def row_of(answer: PendingResult) -> Row:
    """The row of a counter that was selected for update."""
    row = answer.fetchone()
    assert row is not None
    return row


def put(tx: Transaction, counter: Counter, *, tries: int, tried_at: int) -> None:
    """Set a counter that was selected for update."""
    tx.execute_later(SET, bucket=counter.bucket, key=counter.key, tries=tries, tried_at=tried_at)


DECREMENT = "UPDATE throttles SET tries = tries - 1 WHERE bucket = :bucket AND key = :key AND tries > 0"
DECREMENT_SINCE = DECREMENT + " AND tried_at = :since"
DELETE = "DELETE FROM throttles WHERE bucket = :bucket AND key = :key"
DELETE_IF_ZERO = DELETE + " AND tries = 0"
DELETE_OLD = "DELETE FROM throttles WHERE bucket = :bucket AND tried_at < :oldest"
DELETE_OF_ACCOUNT = "DELETE FROM throttles WHERE bucket = :bucket AND key >= :first AND key < :end"


def decrement(tx: Transaction, counter: Counter, since: int | None = None) -> None:
    """Take an attempt back; with ``since``, only if the counter's time is still that one."""
    if since is None:
        tx.execute_later(DECREMENT, bucket=counter.bucket, key=counter.key)
        tx.execute_later(DELETE_IF_ZERO, bucket=counter.bucket, key=counter.key)
    else:
        tx.execute_later(DECREMENT_SINCE, bucket=counter.bucket, key=counter.key, since=since)


def delete(tx: Transaction, counter: Counter) -> None:
    """Delete a counter."""
    tx.execute_later(DELETE, bucket=counter.bucket, key=counter.key)


def delete_old(tx: Transaction, bucket: int, oldest: int) -> None:
    """Delete a bucket's counters whose time is before ``oldest``."""
    tx.execute_later(DELETE_OLD, bucket=bucket, oldest=oldest)


def delete_of_account(tx: Transaction, account_id: str) -> None:
    """Delete every counter of an account: nobody has to wait for it any more."""
    key = of_account(account_id, tx.buckets)
    tx.execute_later(DELETE_OF_ACCOUNT, bucket=key.bucket, first=key.key, end=key.key + "!")
