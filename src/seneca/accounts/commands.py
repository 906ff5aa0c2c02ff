"""Change the role and the password of an account, by an administrator or at the command line."""

import msgspec
from msgspec import UNSET, Struct, UnsetType

from seneca import accounts, audit
from seneca.accounts import ACCOUNT, Account, Role
from seneca.auth import password_hashes, passwords, sign_ins
from seneca.auth.authorisation import Actor, authorise
from seneca.auth.caller import Caller
from seneca.auth.services import Services
from seneca.database import Transaction
from seneca.errors import AccountNotFound, InvalidInput, OwnAccount

SET_ROLE = "UPDATE accounts SET role = :role WHERE id = :id"


class AccountChange(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An administrator's change to an account. Omitted members stay unchanged."""

    role: Role | UnsetType = UNSET
    password: passwords.NewPassword | UnsetType = UNSET


def change(
    tx: Transaction, actor: Actor, id: str, *, role: Role | None = None, password_hash: str | None = None, now: int
) -> tuple[Account, list[str]]:
    """Change an account's role, its password, or both, and end its sign-ins.

    Args:
        tx: the transaction.
        actor: an administrator, or the command line.
        id: the account's id.
        role: the new role; None: unchanged.
        password_hash: the hash of the new password; None: unchanged.
        now: milliseconds since 1970.

    Returns:
        The changed account, and the ids of the ended sign-ins, for ``TokenVerifier.revoke``.

    Raises:
        Unauthenticated, Forbidden: the actor is no longer a signed-in administrator.
        AccountNotFound: no account has this id, or it is being erased.
        LastAdministrator: this is the only administrator, who cannot be demoted.

    """
    authorise(tx, actor, "admin", target=id)
    row = tx.select_for_update(ACCOUNT, id=id).fetchone()
    if row is None:
        raise AccountNotFound
    account = accounts.account_of(row)
    if role is not None:
        account = _set_role(tx, account, role)
        audit.record(tx, actor.id, "account.role-changed", id, now, role=role)
    if password_hash is not None:
        password_hashes.put(tx, id, password_hash)
        audit.record(tx, actor.id, "account.password-set", id, now)
    return account, sign_ins.end_all(tx, id, now)


def _set_role(tx: Transaction, account: Account, role: Role) -> Account:
    if role == account.role:
        return account
    if role == "admin":
        tx.execute(accounts.RECORD_ADMINISTRATOR, id=account.id)
    else:
        accounts.check_not_last_administrator(tx, account.id)
    tx.execute(SET_ROLE, id=account.id, role=role)
    return msgspec.structs.replace(account, role=role)


async def change_account(services: Services, caller: Caller, id: str, change_: AccountChange, address: str) -> Account:
    """Check and hash the new password, if there is one, and change an account.

    Args:
        services: the services of this process.
        caller: the administrator.
        id: the account's id.
        change_: the change.
        address: the administrator's network address.

    Raises:
        InvalidInput: the change is empty, or the password breaks the policy.
        OwnAccount: it is the administrator's own account.
        ServiceUnavailable: too many passwords are waiting to be hashed.
        Unauthenticated, Forbidden, AccountNotFound, LastAdministrator: as ``change``.

    """
    role = None if change_.role is UNSET else change_.role
    password = None if change_.password is UNSET else change_.password
    if role is None and password is None:
        raise InvalidInput.field("", "at least one of role and password is required")
    if password is not None:
        services.password_policy.check(password)  # before the account is read: 400 takes precedence over 404
        account = await services.database.read(accounts.get, id)
        services.password_policy.check(password, account.username, account.email)
    if id == caller.id:
        raise OwnAccount(
            "Change your own password with PUT /auth/password. Only another administrator can change your role."
        )
    password_hash = None if password is None else await services.password_hashers.hash(password, address)
    account, ended = await services.write_in_slot(
        caller.id, change, caller, id, role=role, password_hash=password_hash, now=services.clock()
    )
    services.token_verifier.revoke(ended)
    return account
