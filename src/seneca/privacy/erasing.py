"""Erase one person: everything that is held about an account, and its part of every figure, in one transaction."""

from msgspec import Struct

from seneca import accounts, audit, erasures, figures, throttle, units
from seneca.accounts import Credentials, Learner
from seneca.database import Transaction
from seneca.privacy import scouring
from seneca.sessions import removing
from seneca.signins import recording

SESSIONS_OF = "SELECT count(*) FROM sessions WHERE bucket = :bucket AND learner_id = :id"


class Erased(Struct, frozen=True):
    """What an erasure has ended and removed."""

    sign_ins: list[str]
    """For ``SignIns.forget``."""
    sessions: int


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
    account = accounts.claim(tx, account_id, even_last=even_last)
    learner = Learner(account.id, units.bucket_of(account.id, tx.buckets))
    sessions = 0
    while removed := removing.remove(tx, learner, units.LATEST + 1):
        sessions += removed
    figures.forget(tx, learner.bucket, learner.id)
    throttle.forget(tx, account.id, [account.username, account.email])
    ended = recording.end_all(tx, account.id, now)
    accounts.remove(tx, account.id)
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
    accounts.claim(tx, verified.id)
    current = accounts.credentials_of(tx, verified.id)
    if current is None or current.password_hash != verified.password_hash:
        return None
    return erase(tx, verified.id, verified.id, now)
