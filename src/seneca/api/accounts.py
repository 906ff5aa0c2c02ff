"""Accounts over HTTP."""

from typing import Any

from litestar import Request, get, patch, post
from msgspec import UNSET, Struct

from seneca import accounts, audit
from seneca.accounts import Account, Change, Registration
from seneca.api.registration import check_may_register
from seneca.auth import login_throttle, password_policy, setup_token, sign_ins
from seneca.auth.access_tokens import Caller
from seneca.common import units
from seneca.database import Transaction
from seneca.errors import (
    AccountNotFound,
    InvalidInput,
    LastAdministrator,
    NameTaken,
    OwnAccount,
    RegistrationClosed,
    TooManyRequests,
    Unauthenticated,
)
from seneca.http import examples, pagination, path_parameters, request_bodies
from seneca.http.app_state import now, services
from seneca.http.auth import caller_of, signed_in, write_as_admin
from seneca.http.client_address import client_address
from seneca.http.endpoint import Answer, operation
from seneca.http.limits.long_reads import scan
from seneca.http.responses import Reply, reply

AnyRequest = Request[Any, Any, Any]
TAG = "Accounts and sign-in"


class Registered(Struct, frozen=True, rename="camel"):
    """The answer to a registration."""

    message: str
    user_id: str


@post(
    "/auth/register",
    opt=operation(
        tag=TAG,
        who="anyone",
        body=Registration,
        example=examples.REGISTRATION,
        request_headers=["X-Setup-Token"],
        answers=[Answer(201, "The account is there.", Registered, examples.REGISTERED)],
        refusals=[RegistrationClosed, NameTaken, TooManyRequests],
    ),
)
async def register(request: AnyRequest) -> Reply:
    """Register an account.

    Anyone may register a learner (with `SENECA_REGISTRATION=admin`: an administrator may). An administrator is
    registered by an administrator; the first one with the setup token in `X-Setup-Token`, or from the machine itself.
    """
    is_first = False

    async def authorise(asked: Registration) -> None:
        nonlocal is_first
        is_first = await check_may_register(request, asked.role)

    asked = await request_bodies.read(request, Registration, authorise=authorise)
    shared = services(request)
    if shared.password_policy is not password_policy.DEFAULT:  # which was checked with the body
        shared.password_policy.check(asked.password, asked.username, asked.email)
    administrator = administrator_of(request)
    if administrator is None:
        limit = shared.settings.max_registrations
        await shared.database.write(login_throttle.reserve_registration, client_address(request), limit, now())
    password_hash = await shared.password_hashers.hash(asked.password, client_address(request))
    user_id = units.new_id()
    # A learner who registers acts on nobody.
    actor = administrator.id if administrator else user_id if asked.role == "admin" else None

    def work(tx: Transaction, moment: int) -> None:
        accounts.create(
            tx,
            id=user_id,
            username=asked.username,
            email=asked.email,
            role=asked.role,
            password_hash=password_hash,
            created_at=moment,
            first_administrator=is_first,
        )
        if administrator is None:
            login_throttle.trust_address(tx, user_id, client_address(request), moment)
        if actor is not None:
            audit.record(tx, actor, "account.registered", user_id, moment, role=asked.role)

    if administrator is None:
        await shared.database.write(work, now())
    else:
        await write_as_admin(request, administrator, work)
    if is_first:
        setup_token.discard(shared.settings.data)
    return reply(Registered("User registered successfully", user_id), 201)


def administrator_of(request: AnyRequest) -> Caller | None:
    """The administrator who registers somebody else; None: whoever asks registers themselves."""
    try:
        caller = signed_in(request)
    except Unauthenticated:  # a learner may be registered with no token, and so with a bad one
        return None
    return caller if caller.role == "admin" else None


@get(
    "/auth/me",
    opt=operation(
        tag=TAG,
        who="signed-in",
        answers=[Answer(200, "The account.", Account, examples.ACCOUNT)],
        refusals=[AccountNotFound],
    ),
)
async def me(request: AnyRequest) -> Reply:
    """Read the caller's account."""
    return reply(await services(request).database.read(accounts.get, caller_of(request).id))


@get(
    "/users",
    opt=operation(
        tag=TAG,
        who="admin",
        query=["limit", "cursor", "q"],
        answers=[
            Answer(
                200,
                "Accounts, by creation.",
                list[Account],
                [examples.ACCOUNT],
                pagination.LINK,
            )
        ],
    ),
)
async def page(request: AnyRequest) -> Reply:
    """List accounts; with `q`, those whose username or address contains it, in capitals or not."""
    asked = pagination.asked(request)
    after = asked.after(accounts.Place, accounts.BEGINNING)
    found = await scan(request, accounts.page, query=asked.query, after=after, limit=asked.limit)
    return reply(found.accounts, headers=asked.link(found.more_after))


@get(
    "/users/{userId:str}",
    opt=operation(
        tag=TAG,
        who="admin",
        answers=[Answer(200, "The account.", Account, examples.ACCOUNT)],
        refusals=[AccountNotFound],
    ),
)
async def one(request: AnyRequest) -> Reply:
    """Read an account."""
    user_id = path_parameters.identifier(request, "userId")
    return reply(await services(request).database.read(accounts.get, user_id))


@patch(
    "/users/{userId:str}",
    opt=operation(
        tag=TAG,
        who="admin",
        body=Change,
        example=examples.ACCOUNT_CHANGE,
        answers=[Answer(200, "The account as it is now.", Account, examples.ACCOUNT)],
        refusals=[AccountNotFound, LastAdministrator, OwnAccount],
    ),
)
async def change(request: AnyRequest) -> Reply:
    """Change another account's role, its password, or both. Its sign-ins end.

    One's own password is changed by `PUT /auth/password`, one's own role by another administrator.
    """
    asked = await request_bodies.read(request, Change)
    user_id = path_parameters.identifier(request, "userId")
    role = None if asked.role is UNSET else asked.role
    if role is None and asked.password is UNSET:
        raise InvalidInput.field("", "at least one of role and password is required")
    shared = services(request)
    caller = caller_of(request)
    if asked.password is not UNSET:
        shared.password_policy.check(asked.password)  # before the account is looked for: 400 comes before 404
        account = await shared.database.read(accounts.get, user_id)
        shared.password_policy.check(asked.password, account.username, account.email)
    if user_id == caller.id:
        raise OwnAccount(
            "Change your own password with PUT /auth/password. Your own role is changed by another administrator."
        )
    password_hash = None
    if asked.password is not UNSET:
        password_hash = await shared.password_hashers.hash(asked.password, client_address(request))

    def work(tx: Transaction, moment: int) -> tuple[Account, list[str]]:
        account = accounts.change(tx, user_id, role=role, password_hash=password_hash)
        if role is not None:
            audit.record(tx, caller.id, "account.role-changed", user_id, moment, role=role)
        if password_hash is not None:
            audit.record(tx, caller.id, "account.password-set", user_id, moment)
        return account, sign_ins.end_all(tx, user_id, moment)

    account, ended = await write_as_admin(request, caller, work, subject=user_id)
    shared.sign_ins.forget(ended)
    return reply(account)


ROUTES = [register, me, page, one, change]
