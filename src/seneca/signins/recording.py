"""The rows of sign-ins: how one starts, and how it ends."""

from seneca import accounts, units
from seneca.accounts import Credentials
from seneca.database import Transaction

START = """
INSERT INTO sign_ins (bucket, account_id, id, started_at) VALUES (:bucket, :account_id, :id, :now)
"""


def start(
    tx: Transaction, verified: Credentials, name: str, new_hash: str | None, now: int
) -> tuple[str, Credentials] | None:
    """Record a sign-in whose password was verified a moment ago; returns its id and the account as it is now.

    Args:
        tx: the transaction.
        verified: the credentials against which the password was verified.
        name: the name that was given.
        new_hash: the password's renewed hash, where the stored one is of an older kind.
        now: milliseconds since 1970.

    Returns:
        None if meanwhile the password was changed, its hash renewed, or the name is gone: verify again.

    """
    tx.lock(accounts.ACCOUNT, id=verified.id)  # whoever changes it ends the sign-ins that are there
    current = accounts.credentials(tx, name)
    if current is None or (current.id, current.password_hash) != (
        verified.id,
        verified.password_hash,
    ):
        return None
    if new_hash is not None:
        tx.put(accounts.PUT_HASH, bucket=current.bucket, id=current.id, hash=new_hash)
    id_ = units.new_id()
    tx.put(START, bucket=current.bucket, account_id=current.id, id=id_, now=now)
    return id_, current


END_ALL = """
UPDATE sign_ins SET ended_at = :now WHERE bucket = :bucket AND account_id = :account_id AND ended_at IS NULL
RETURNING id
"""


def end_all(tx: Transaction, account_id: str, now: int) -> list[str]:
    """End every sign-in of an account; returns their ids, for ``SignIns.forget``."""
    bucket = units.bucket_of(account_id, tx.buckets)
    return [row[0] for row in tx.all(END_ALL, bucket=bucket, account_id=account_id, now=now)]


ENDED = "SELECT id FROM sign_ins WHERE ended_at >= :since"


def ended(tx: Transaction, since: int) -> set[str]:
    """The sign-ins that have ended since then (milliseconds since 1970)."""
    return {row[0] for row in tx.all(ENDED, since=since)}
