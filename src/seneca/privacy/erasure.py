"""Erase one person: everything that is held about an account, and its part of every figure.

One transaction does it, unless the account has very many sessions: these go in several, so that others may write in between.
The first then closes the account, which from then on exists for nobody; a crash on the way leaves it to the next server.
"""

import asyncio
from typing import Final

from msgspec import Struct

from seneca import accounts, audit
from seneca.accounts import Account, Credentials, Learner
from seneca.auth import login_throttle
from seneca.auth import sign_ins as auth_sign_ins
from seneca.auth.access_tokens import Caller
from seneca.auth.authorisation import authorise
from seneca.common.ids import bucket_of
from seneca.common.times import LATEST_MS
from seneca.database import Database, Transaction
from seneca.errors import AccountNotFound, LastAdministrator, ServiceUnavailable
from seneca.privacy import erased_accounts, vacuum
from seneca.sessions import deletion
from seneca.stats import totals

ATTEMPTS: Final = 12  # of a transaction that finds the database busy; each waits five seconds by itself
PAUSE: Final = 0.005  # seconds between two transactions, in which another process may write

SESSIONS_OF = "SELECT count(*) FROM sessions WHERE bucket = :bucket AND learner_id = :id"


class Erased(Struct, frozen=True):
    """What an erasure has ended and removed."""

    sign_ins: list[str]
    """For ``TokenVerifier.revoke``."""
    sessions: int
    is_complete: bool
    """Whether nothing is left for ``finish``."""


def claim(tx: Transaction, id: str, *, even_last: bool = False) -> Account:
    """An account that is about to go: until then nobody signs in to it, changes it, or starts a session.

    Raises:
        AccountNotFound: there is none with this id.
        LastAdministrator: it is the only administrator, and may not go unless ``even_last``.

    """
    accounts.lock_if_administrator(tx, id)  # first, as who demotes one does
    row = tx.select_for_delete(accounts.ACCOUNT, id=id).fetchone()
    if row is None:
        raise AccountNotFound
    account = accounts.account_of(row)
    if account.role == "admin" and not even_last:
        tx.select_for_update(accounts.ADMINISTRATORS)  # again, for one that became an administrator just now
        if tx.fetch_one(accounts.ANOTHER_ADMINISTRATOR, id=id) is None:
            raise LastAdministrator
    return account


BEING_ERASED = "SELECT id FROM accounts WHERE id = :id AND erased_at IS NOT NULL"
UNFINISHED = "SELECT id FROM accounts WHERE erased_at IS NOT NULL ORDER BY id"
CLOSE = "UPDATE accounts SET username = '', email = '', role = 'user', erased_at = :now WHERE id = :id"
DELETE_PASSWORD = "DELETE FROM passwords WHERE bucket = :bucket AND account_id = :id"  # noqa: S105 a statement
DELETE_QUOTAS = "DELETE FROM learner_quotas WHERE bucket = :bucket AND learner_id = :id"
DELETE_NAMES = "DELETE FROM account_names WHERE account_id = :id"
DELETE_ACCOUNT = "DELETE FROM accounts WHERE id = :id"


def erase(tx: Transaction, actor: str | None, account_id: str, now: int, *, even_last: bool = False) -> Erased:
    """Erase an account, or begin to, where it has more sessions than a short transaction should remove.

    Either way nobody can sign in to it, see it or start a session of it from now on, and its names are free. Its id stays in
    the audit log and among the erasures. Whatever else is left, ``finish`` removes, and every figure is right in between.

    Args:
        tx: the transaction.
        actor: who does it, an account's id; None: whoever is at the shell.
        account_id: whom.
        now: milliseconds since 1970.
        even_last: even the last administrator.

    Raises:
        AccountNotFound: there is none with this id, or it is being erased already.
        LastAdministrator: it is the only administrator.

    """
    account = claim(tx, account_id, even_last=even_last)
    learner = Learner(account.id, bucket_of(account.id, tx.buckets))
    counted = tx.fetch_one(SESSIONS_OF, bucket=learner.bucket, id=account.id)
    sessions = int(counted[0]) if counted else 0
    is_complete = deletion.delete_batch(tx, learner, LATEST_MS + 1) == sessions
    login_throttle.erase(tx, account.id, [account.username, account.email])
    ended = auth_sign_ins.end_all(tx, account.id, now)
    tx.execute_later(DELETE_PASSWORD, bucket=learner.bucket, id=account.id)
    tx.execute_later(DELETE_NAMES, id=account.id)
    if is_complete:
        _delete_account(tx, learner)
    else:
        tx.execute_later(CLOSE, id=account.id, now=now)
    erased_accounts.record(tx, account.id, now)
    audit.record(tx, actor, "account.erased", account.id, now, role=account.role, sessions=sessions)
    vacuum.request_vacuum(tx, had_sessions=sessions > 0)
    return Erased(ended, sessions, is_complete)


def _delete_account(tx: Transaction, learner: Learner) -> None:
    totals.delete(tx, learner.bucket, learner.id)
    tx.execute_later(DELETE_QUOTAS, bucket=learner.bucket, id=learner.id)
    tx.execute_later(DELETE_ACCOUNT, id=learner.id)


def unfinished(tx: Transaction) -> list[str]:
    """The ids of accounts whose erasure has begun, and that are still there."""
    return [row[0] for row in tx.fetch_all(UNFINISHED)]


def remove_some(tx: Transaction, account_id: str) -> bool:
    """Remove some sessions of an account that is being erased; when there are none left, the account.

    Returns:
        Whether it is gone.

    """
    learner = Learner(account_id, bucket_of(account_id, tx.buckets))
    if deletion.delete_batch(tx, learner, LATEST_MS + 1):
        return False
    if tx.select_for_delete(BEING_ERASED, id=account_id).fetchone() is not None:
        _delete_account(tx, learner)
        vacuum.request_vacuum(tx, had_sessions=True)
    return True


async def finish(database: Database, account_id: str) -> None:
    """Remove what is left of an account that is being erased, in short transactions. Others go on writing.

    Raises:
        ServiceUnavailable: the database was busy for a minute. Whoever looks for ``unfinished`` erasures next goes on.

    """
    failures = 0
    while True:
        try:
            if await database.write(remove_some, account_id):
                return
            failures = 0
        except ServiceUnavailable as fault:
            failures += 1
            if failures == ATTEMPTS:
                raise ServiceUnavailable(
                    "The account is closed. What it has recorded is still being removed, which goes on by itself.",
                    retry_after=30,
                ) from fault
        await asyncio.sleep(PAUSE)


async def finish_all(database: Database) -> None:
    """Finish every erasure that has begun. Raises ServiceUnavailable as ``finish`` does."""
    for account_id in await database.scan(unfinished):
        await finish(database, account_id)


def erase_whole(tx: Transaction, account_id: str, now: int) -> None:
    """Erase an account, even the last administrator, in one transaction, beside which nobody writes."""
    if tx.fetch_one(BEING_ERASED, id=account_id) is None:
        erase(tx, None, account_id, now, even_last=True)
    while not remove_some(tx, account_id):
        pass


def erase_self(tx: Transaction, caller: Caller, verified: Credentials, now: int) -> Erased | None:
    """Erase the caller's account, whose password was verified a moment ago.

    Returns:
        None if meanwhile the password was changed: verify again.

    Raises:
        AccountNotFound: it is gone already.
        LastAdministrator: it is the only administrator.
        Unauthenticated: the caller's sign-in has ended.

    """
    claim(tx, verified.id)
    authorise(tx, caller)
    current = accounts.credentials_of(tx, verified.id)
    if current is None or current.password_hash != verified.password_hash:
        return None
    return erase(tx, verified.id, verified.id, now)
