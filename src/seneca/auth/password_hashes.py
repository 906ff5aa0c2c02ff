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
    """Set an account's password, and end every wait that its failed sign-ins have caused."""
    tx.execute_later(PUT, bucket=bucket_of(account_id, tx.buckets), id=account_id, hash=password_hash)
    raise_failure_step(tx, [password_hash])
    attempt_counters.delete_of_account(tx, account_id)


RENEW = "UPDATE passwords SET hash = :new WHERE bucket = :bucket AND account_id = :id AND hash = :old"


def renew(tx: Transaction, account_id: str, old: str, new: str) -> bool:
    """Replace an account's password hash by a new one of the same password; returns whether the old one was still stored."""
    return tx.execute(RENEW, bucket=bucket_of(account_id, tx.buckets), id=account_id, old=old, new=new) == 1


def raise_failure_step(tx: Transaction, hashes: Iterable[str]) -> None:
    """Make failed sign-ins take at least as long as verifying the most expensive of these hashes.

    Otherwise the response time would reveal which names have an account.
    """
    imported = (stored for stored in hashes if not passwords.is_current(stored))
    step = max(map(passwords.failure_step_ms, imported), default=0)
    if step > passwords.FAILURE_STEP_MS:
        tx.execute_later(RAISE_FAILURE_STEP, step=str(step))
