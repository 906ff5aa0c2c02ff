"""Erase accounts: delete all data about an account, and subtract it from all totals.

This takes one transaction, unless the account has too many sessions for a short one. Then the first transaction closes the
account, so that it no longer exists for anybody, and further ones delete the sessions in batches, so that others can write
in between. After a crash the next server finishes the erasure.
"""

import asyncio
from typing import Final

from msgspec import Struct

from seneca import accounts, audit
from seneca.accounts import Account, Credentials, Learner
from seneca.auth import login_throttle, sign_ins
from seneca.auth.authorisation import Actor, authorise
from seneca.auth.caller import Caller
from seneca.auth.login_throttle import LoginAttempt
from seneca.common.ids import bucket_of
from seneca.common.times import LATEST_MS
from seneca.database import Database, Transaction
from seneca.errors import (
    AccountNotFound,
    InvalidCredentials,
    OwnAccount,
    ServiceUnavailable,
)
from seneca.privacy import erased_accounts, vacuum
from seneca.sessions import deletion, voided
from seneca.stats import totals

MAX_ATTEMPTS: Final = 12  # of a transaction while the database is busy; each one waits for five seconds
PAUSE_SECONDS: Final = 0.005  # between two transactions, in which another process can write

SESSIONS_OF = "SELECT count(*) FROM sessions WHERE bucket = :bucket AND learner_id = :id"


class ErasureResult(Struct, frozen=True):
    """The result of an erasure."""

    sign_ins: list[str]
    """The ended sign-ins, for ``TokenVerifier.revoke``."""
    sessions: int
    is_complete: bool
    """Whether the account is deleted, so that nothing is left for ``finish``."""


def lock_account(tx: Transaction, id: str, *, allow_last_administrator: bool = False) -> Account:
    """Lock an account that is about to be erased, so that nobody signs in to it, changes it, or starts a session.

    Raises:
        AccountNotFound: no account has this id, or it is already being erased.
        LastAdministrator: it is the only administrator, and ``allow_last_administrator`` is false.

    """
    accounts.lock_if_administrator(tx, id)  # first, in the same order as a demotion
    row = tx.select_for_delete(accounts.ACCOUNT, id=id).fetchone()
    if row is None:
        raise AccountNotFound
    account = accounts.account_of(row)
    if account.role == "admin" and not allow_last_administrator:
        accounts.check_not_last_administrator(tx, id)
    return account


BEING_ERASED = "SELECT id FROM accounts WHERE id = :id AND erased_at IS NOT NULL"
UNFINISHED = "SELECT id FROM accounts WHERE erased_at IS NOT NULL ORDER BY id"
CLOSE = "UPDATE accounts SET username = '', email = '', role = 'user', erased_at = :now WHERE id = :id"
DELETE_PASSWORD = "DELETE FROM passwords WHERE bucket = :bucket AND account_id = :id"  # noqa: S105 a statement
DELETE_QUOTAS = "DELETE FROM learner_quotas WHERE bucket = :bucket AND learner_id = :id"
DELETE_NAMES = "DELETE FROM account_names WHERE account_id = :id"
DELETE_ACCOUNT = "DELETE FROM accounts WHERE id = :id"


def erase(
    tx: Transaction, actor: str | None, account_id: str, now: int, *, allow_last_administrator: bool = False
) -> ErasureResult:
    """Erase an account, or start to erase one that has more sessions than a short transaction should delete.

    In both cases the account cannot be used or seen from then on, and its names are free. Its id stays in the audit log and
    in the table of erased accounts. ``finish`` deletes the rest; all totals are exact in between.

    Args:
        tx: the transaction.
        actor: the id of the acting account; None: the command line.
        account_id: the account.
        now: milliseconds since 1970.
        allow_last_administrator: erase the account even if it is the only administrator.

    Raises:
        AccountNotFound: no account has this id, or it is already being erased.
        LastAdministrator: it is the only administrator, and ``allow_last_administrator`` is false.

    """
    account = lock_account(tx, account_id, allow_last_administrator=allow_last_administrator)
    learner = Learner(account.id, bucket_of(account.id, tx.buckets))
    count = tx.fetch_one(SESSIONS_OF, bucket=learner.bucket, id=account.id)
    sessions = int(count[0]) if count else 0
    is_complete = deletion.delete_batch(tx, learner, LATEST_MS + 1) == sessions
    login_throttle.erase(tx, account.id, [account.username, account.email])
    ended = sign_ins.end_all(tx, account.id, now)
    tx.execute_later(DELETE_PASSWORD, bucket=learner.bucket, id=account.id)
    tx.execute_later(DELETE_NAMES, id=account.id)
    if is_complete:
        _delete_account(tx, learner)
    else:
        tx.execute_later(CLOSE, id=account.id, now=now)
    erased_accounts.record(tx, account.id, now)
    audit.record(tx, actor, "account.erased", account.id, now, role=account.role, sessions=sessions)
    vacuum.request_vacuum(tx, had_sessions=sessions > 0)
    return ErasureResult(ended, sessions, is_complete)


def _delete_account(tx: Transaction, learner: Learner) -> None:
    totals.delete(tx, learner.bucket, learner.id)
    tx.execute_later(DELETE_QUOTAS, bucket=learner.bucket, id=learner.id)
    voided.delete_of_learner(tx, learner)
    tx.execute_later(DELETE_ACCOUNT, id=learner.id)


def unfinished(tx: Transaction) -> list[str]:
    """Read the ids of accounts whose erasure has started and is not finished."""
    return [row[0] for row in tx.fetch_all(UNFINISHED)]


def delete_batch(tx: Transaction, account_id: str) -> bool:
    """Delete one batch of the sessions of an account that is being erased; if none is left, delete the account.

    Returns:
        Whether the account is deleted.

    """
    learner = Learner(account_id, bucket_of(account_id, tx.buckets))
    tx.select_for_update(accounts.LOCK, id=account_id)  # as all who change the number of a learner's sessions
    if deletion.delete_batch(tx, learner, LATEST_MS + 1):
        return False
    if tx.select_for_delete(BEING_ERASED, id=account_id).fetchone() is not None:
        _delete_account(tx, learner)
        vacuum.request_vacuum(tx, had_sessions=True)
    return True


async def finish(database: Database, account_id: str) -> None:
    """Delete the rest of an account that is being erased, in short transactions between which others can write.

    Raises:
        ServiceUnavailable: the database was busy for a minute. The next process that reads ``unfinished`` resumes the erasure.

    """
    failures = 0
    while True:
        try:
            if await database.write_bulk(delete_batch, account_id):
                return
            failures = 0
        except ServiceUnavailable as error:
            failures += 1
            if failures == MAX_ATTEMPTS:
                raise ServiceUnavailable(
                    "The account is closed. Its sessions are still being deleted in the background.",
                    retry_after=30,
                ) from error
        await asyncio.sleep(PAUSE_SECONDS)


async def finish_all(database: Database) -> None:
    """Finish all erasures that have started. Raises ServiceUnavailable as ``finish`` does."""
    for account_id in await database.scan(unfinished):
        await finish(database, account_id)


def erase_at_once(tx: Transaction, account_id: str, now: int) -> None:
    """Erase an account, even the last administrator, in one transaction, while no other transaction writes."""
    if tx.fetch_one(BEING_ERASED, id=account_id) is None:
        erase(tx, None, account_id, now, allow_last_administrator=True)
    while not delete_batch(tx, account_id):
        pass


def erase_another(tx: Transaction, actor: Actor, id: str, now: int) -> ErasureResult:
    """Erase another account, as an administrator or at the command line.

    Raises:
        OwnAccount: it is the actor's own account.
        Unauthenticated, Forbidden: the actor is no longer a signed-in administrator.
        AccountNotFound, LastAdministrator: as ``erase``.

    """
    if id == actor.id:
        raise OwnAccount("Erase your own account with DELETE /auth/me, which asks for your password.")
    authorise(tx, actor, "admin", target=id)
    return erase(tx, actor.id, id, now)


def erase_self(
    tx: Transaction, caller: Caller, verified: Credentials, attempt: LoginAttempt, now: int
) -> ErasureResult:
    """Erase the caller's account after the password was verified.

    Args:
        tx: the transaction.
        caller: the caller.
        verified: the credentials against which the password was verified.
        attempt: the counted login attempt.
        now: milliseconds since 1970.

    Raises:
        AccountNotFound: the account no longer exists, or no longer has the name that was verified.
        LastAdministrator: it is the only administrator.
        Unauthenticated: the caller's sign-in has ended.
        InvalidCredentials: the password has changed since the verification.

    """
    if verified.id != caller.id:
        raise AccountNotFound
    login_throttle.withdraw(tx, attempt)
    lock_account(tx, caller.id)
    authorise(tx, caller)
    current = accounts.credentials_of(tx, caller.id)
    if current is None or current.password_hash != verified.password_hash:
        raise InvalidCredentials(account=caller.id)
    return erase(tx, caller.id, caller.id, now)
