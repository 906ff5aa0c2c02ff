"""Authorisation inside the transaction of an action, because the caller may have lost a role or been signed out since."""

from typing import Final

from msgspec import Struct

from seneca import accounts
from seneca.accounts import Role
from seneca.auth.caller import Caller
from seneca.database import Transaction
from seneca.errors import Forbidden, Unauthenticated


class CommandLine(Struct, frozen=True, tag=True):
    """The person who runs a command on the server's machine, and may do everything. In the audit log they have no id."""

    id: None = None


COMMAND_LINE: Final = CommandLine()

Actor = Caller | CommandLine
"""Who performs an administrative action."""

LIVE_SIGN_IN: Final = "SELECT 1 FROM sign_ins WHERE bucket = :bucket AND account_id = :account_id AND id = :id"


def authorise(tx: Transaction, actor: Actor, role: Role | None = None, *, target: str | None = None) -> None:
    """Check that the actor is still signed in and still has a role; the command line may do everything.

    The actor's account and the sign-in stay locked until the transaction ends. A transaction that ends either of them therefore
    commits before this check, or after this transaction.

    Args:
        tx: the transaction.
        actor: the caller, according to the access token, or the command line.
        role: the required role; None: any.
        target: the id of the account that the actor is about to change. If it is an administrator, all administrators are
            locked first, in order, so that two who change each other do not deadlock.

    Raises:
        Unauthenticated: the sign-in has ended.
        Forbidden: the account now has another role.

    """
    if target is not None:
        accounts.lock_if_administrator(tx, target)
    if isinstance(actor, CommandLine):
        return
    account = tx.select_for_update(accounts.ROLE, id=actor.id)
    sign_in = tx.select_for_update(LIVE_SIGN_IN, bucket=actor.bucket, account_id=actor.id, id=actor.sign_in)
    row = account.fetchone()
    if row is None or sign_in.fetchone() is None:
        raise Unauthenticated("signed-out", account=actor.id)
    if role is not None and row[0] != role:
        raise Forbidden(f"Only the role {role} may do that.")
