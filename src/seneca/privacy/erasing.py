"""Erase one person: everything that is held about an account, and its part of every figure, in one transaction."""

from msgspec import Struct

from seneca import accounts, audit, erasures, figures, login_throttle, units
from seneca.accounts import Account, Credentials, Learner
from seneca.database import Transaction
from seneca.errors import LastAdministrator, NoSuchAccount
from seneca.privacy import scouring
from seneca.sessions import removing
from seneca.signins import recording

SESSIONS_OF = "SELECT count(*) FROM sessions WHERE bucket = :bucket AND learner_id = :id"


class Erased(Struct, frozen=True):
    """What an erasure has ended and removed."""

    sign_ins: list[str]
    """For ``SignIns.forget``."""
    sessions: int


def claim(tx: Transaction, id: str, *, even_last: bool = False) -> Account:
    """An account that is about to go: until then nobody signs in to it, changes it, or starts a session.

    Raises:
        NoSuchAccount: there is none with this id.
        LastAdministrator: it is the only administrator, and may not go unless ``even_last``.

    """
    if accounts.role(tx, id) == "admin":
        tx.lock(accounts.ADMINISTRATORS)  # first, as who demotes one does
    row = tx.claim(accounts.ACCOUNT, id=id).fetchone()
    if row is None:
        raise NoSuchAccount
    account = accounts.account_of(row)
    if account.role == "admin" and not even_last:
        tx.lock(accounts.ADMINISTRATORS)  # again, for one that became an administrator just now
        if tx.one(accounts.ANOTHER_ADMINISTRATOR, id=id) is None:
            raise LastAdministrator
    return account


REMOVALS = (
    "DELETE FROM passwords WHERE bucket = :bucket AND account_id = :id",
    "DELETE FROM account_names WHERE account_id = :id",
    "DELETE FROM accounts WHERE id = :id",
)


def erase(tx: Transaction, actor: str | None, account_id: str, now: int, *, even_last: bool = False) -> Erased:
    """Erase an account. Its id stays in the audit log and among the erasures, and nowhere else.

    Args:
        tx: the transaction.
        actor: who does it, an account's id; None: whoever is at the shell.
        account_id: whom.
        now: milliseconds since 1970.
        even_last: even the last administrator.

    Raises:
        NoSuchAccount: there is none with this id.
        LastAdministrator: it is the only administrator.

    """
    account = claim(tx, account_id, even_last=even_last)
    learner = Learner(account.id, units.bucket_of(account.id, tx.buckets))
    sessions = 0
    while removed := removing.remove(tx, learner, units.LATEST + 1):
        sessions += removed
    figures.forget(tx, learner.bucket, learner.id)
    login_throttle.erase(tx, account.id, [account.username, account.email])
    ended = recording.end_all(tx, account.id, now)
    for removal in REMOVALS:
        tx.put(removal, bucket=learner.bucket, id=account.id)
    erasures.note(tx, account.id, now)
    audit.record(tx, actor, "account.erased", account.id, now, role=account.role, sessions=sessions)
    scouring.want(tx)
    return Erased(ended, sessions)


def erase_self(tx: Transaction, verified: Credentials, now: int) -> Erased | None:
    """Erase the account whose password was verified a moment ago.

    Returns:
        None if meanwhile the password was changed: verify again.

    Raises:
        NoSuchAccount: it is gone already.
        LastAdministrator: it is the only administrator.

    """
    claim(tx, verified.id)
    current = accounts.credentials_of(tx, verified.id)
    if current is None or current.password_hash != verified.password_hash:
        return None
    return erase(tx, verified.id, verified.id, now)
