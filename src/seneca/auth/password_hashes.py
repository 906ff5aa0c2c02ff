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
    replace(tx, account_id, password_hash)
    raise_failure_step(tx, [password_hash])
    attempt_counters.delete_of_account(tx, account_id)


def replace(tx: Transaction, account_id: str, password_hash: str) -> None:
    """Replace an account's password hash only, because the same password was hashed again."""
    tx.execute_later(PUT, bucket=bucket_of(account_id, tx.buckets), id=account_id, hash=password_hash)


def raise_failure_step(tx: Transaction, hashes: Iterable[str]) -> None:
    """Make failed sign-ins take at least as long as verifying the most expensive of these hashes.

    Otherwise the response time would reveal which names have an account.
    """
    imported = (stored for stored in hashes if not passwords.is_current(stored))
    step = max(map(passwords.failure_step_ms, imported), default=0)
    if step > passwords.FAILURE_STEP_MS:
        tx.execute_later(RAISE_FAILURE_STEP, step=str(step))
