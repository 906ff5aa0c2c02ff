"""The stored hashes of passwords."""

from collections.abc import Iterable

from seneca.auth import attempt_counters, passwords
from seneca.common.ids import bucket_of
from seneca.database import Transaction

PUT = """
INSERT INTO passwords (bucket, account_id, hash) VALUES (:bucket, :id, :hash)
ON CONFLICT (bucket, account_id) DO UPDATE SET hash = excluded.hash
"""
FAILURE_STEP = "SELECT value FROM properties WHERE name = 'login-failure-ms'"
RAISE_FAILURE_STEP = """
INSERT INTO properties (name, value) VALUES ('login-failure-ms', :step)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
WHERE CAST(properties.value AS INTEGER) < CAST(excluded.value AS INTEGER)
"""


def put(tx: Transaction, account_id: str, password_hash: str) -> None:
    """Set an account's password; nobody has to wait for earlier failures any more."""
    renew(tx, account_id, password_hash)
    raise_failure_step(tx, [password_hash])
    attempt_counters.delete_of_account(tx, account_id)


def renew(tx: Transaction, account_id: str, password_hash: str) -> None:
    """Replace the hash of a password that stays the same."""
    tx.execute_later(PUT, bucket=bucket_of(account_id, tx.buckets), id=account_id, hash=password_hash)


def raise_failure_step(tx: Transaction, hashes: Iterable[str]) -> None:
    """Let every failed sign-in take as long as the costliest of these hashes, or their accounts could be told by the time."""
    costly = (stored for stored in hashes if not passwords.is_current(stored))
    step = max(map(passwords.failure_step_ms, costly), default=0)
    if step > passwords.FAILURE_STEP_MS:
        tx.execute_later(RAISE_FAILURE_STEP, step=str(step))
