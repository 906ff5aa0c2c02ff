"""Whether a caller may still do what their token allowed when the request came: asked in the transaction that does it."""

from typing import Final

from seneca import accounts
from seneca.accounts import Role
from seneca.auth.access_tokens import Caller
from seneca.database import Transaction
from seneca.errors import Forbidden, Unauthenticated

SIGN_IN: Final = "SELECT 1 FROM sign_ins WHERE bucket = :bucket AND account_id = :account_id AND id = :id"


def authorise(tx: Transaction, caller: Caller, role: Role | None = None, *, subject: str | None = None) -> None:
    """Check that the caller's sign-in goes on and that they still have a role.

    The account and the sign-in are locked until the transaction ends: whatever would end either has come first, and is seen
    here, or comes after all that this transaction does.

    Args:
        tx: the transaction.
        caller: who asks, as their token says.
        role: the role that they need; None: any.
        subject: the account that they are about to change. If it is an administrator's, all administrators are locked first, in
            order, or two who change each other would wait for each other.

    Raises:
        Unauthenticated: the sign-in has ended.
        Forbidden: the account has another role by now.

    """
    if subject is not None:
        accounts.lock_if_administrator(tx, subject)
    account = tx.select_for_update(accounts.ROLE, id=caller.id)
    sign_in = tx.select_for_update(SIGN_IN, bucket=caller.bucket, account_id=caller.id, id=caller.sign_in)
    row = account.fetchone()
    if row is None or sign_in.fetchone() is None:
        raise Unauthenticated("signed-out", account=caller.id)
    if role is not None and row[0] != role:
        raise Forbidden(f"Only the role {role} may do that.")
