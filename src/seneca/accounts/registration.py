"""Register accounts: by an administrator, at the command line, or by the person themselves."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from seneca import accounts, audit
from seneca.accounts import Role
from seneca.auth import login_throttle, password_policy, passwords, setup_token
from seneca.auth.authorisation import Actor, authorise
from seneca.auth.caller import Caller
from seneca.auth.services import Services
from seneca.common.ids import new_id
from seneca.common.text_types import Email, Username
from seneca.database import Transaction
from seneca.errors import FieldError, InvalidInput, RegistrationClosed

ADMINISTRATOR_HELP: Final = (
    "Sign in as an administrator to register another. To register the first one, send the setup token "
    "(the file setup-token in the data directory) in the header X-Setup-Token, or run: seneca admin create."
)


class Registration(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of a request to register an account."""

    username: Username
    email: Email
    password: passwords.NewPassword
    role: Role = "user"

    def find_errors(self) -> Iterator[FieldError]:
        """Check what the types cannot express: the form of the name, the syntax of the address, weak passwords."""
        yield from accounts.name_errors(self.username, self.email)
        if isinstance(self.password, str):
            try:
                password_policy.DEFAULT.check(self.password, self.username or "", self.email or "")
            except InvalidInput as error:
                yield from error.errors


def check_first_administrator(tx: Transaction, token: str | None, *, is_local: bool) -> None:
    """Check that somebody without an account may register the first administrator.

    Args:
        tx: the transaction.
        token: the setup token that they sent, if any.
        is_local: whether the request comes from the server's machine, which counts if there is no token.

    Raises:
        RegistrationClosed: they may not; the message says what to do instead.

    """
    if accounts.administrator_existed(tx):
        raise RegistrationClosed("Sign in as an administrator to register another.")
    if not (is_local if token is None else setup_token.matches(tx, token)):
        raise RegistrationClosed(ADMINISTRATOR_HELP)


def register(tx: Transaction, actor: Actor, registration: Registration, password_hash: str, now: int) -> str:
    """Register an account for somebody else.

    Args:
        tx: the transaction.
        actor: an administrator, or the command line.
        registration: the account.
        password_hash: the hash of its password.
        now: milliseconds since 1970.

    Returns:
        The account's id.

    Raises:
        Unauthenticated, Forbidden: the actor is no longer a signed-in administrator.
        NameTaken: the username or the address is in use.

    """
    authorise(tx, actor, "admin")
    id_ = _create(tx, registration, password_hash, now)
    audit.record(tx, actor.id, "account.registered", id_, now, role=registration.role)
    return id_


def register_self(tx: Transaction, registration: Registration, password_hash: str, address: str, now: int) -> str:
    """Register one's own account: a learner, or the first administrator.

    Only the latter is an administrative action, and is audited.

    Args:
        tx: the transaction.
        registration: the account.
        password_hash: the hash of its password.
        address: the client's network address, from which the account is trusted to sign in.
        now: milliseconds since 1970.

    Returns:
        The account's id.

    Raises:
        NameTaken: the username or the address is in use.
        RegistrationClosed: it is an administrator, and there has been one before.

    """
    id_ = _create(tx, registration, password_hash, now, first_administrator=registration.role == "admin")
    login_throttle.trust_address(tx, id_, address, now)
    if registration.role == "admin":
        audit.record(tx, id_, "account.registered", id_, now, role="admin")
    return id_


def _create(
    tx: Transaction, registration: Registration, password_hash: str, now: int, *, first_administrator: bool = False
) -> str:
    id_ = new_id()
    accounts.create(
        tx,
        id=id_,
        username=registration.username,
        email=registration.email,
        role=registration.role,
        password_hash=password_hash,
        created_at=now,
        first_administrator=first_administrator,
    )
    return id_


async def register_account(
    services: Services, administrator: Caller | None, registration: Registration, address: str
) -> str:
    """Check the password, hash it, and register the account.

    Args:
        services: the services of this process.
        administrator: who registers it for somebody else; None: its owner, who was authorised to. Their address may make a
            limited number of registrations.
        registration: the account.
        address: the client's network address.

    Returns:
        The account's id.

    Raises:
        InvalidInput: the password breaks the policy.
        TooManyRequests: too many registrations from this address.
        ServiceUnavailable: too many passwords are waiting to be hashed.
        Unauthenticated, Forbidden, NameTaken, RegistrationClosed: as ``register`` and ``register_self``.

    """
    if services.password_policy is not password_policy.DEFAULT:  # which the registration's own check has applied
        services.password_policy.check(registration.password, registration.username, registration.email)
    if administrator is not None:
        password_hash = await services.password_hashers.hash(registration.password, address)
        return await services.write_in_slot(
            administrator.id, register, administrator, registration, password_hash, services.clock()
        )
    await services.database.write(
        login_throttle.reserve_registration, address, services.settings.max_registrations, services.clock()
    )
    password_hash = await services.password_hashers.hash(registration.password, address)
    id_ = await services.database.write(register_self, registration, password_hash, address, services.clock())
    if registration.role == "admin":
        setup_token.discard(services.settings.data)
    return id_
