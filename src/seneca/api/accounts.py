"""Accounts over HTTP."""

from typing import Any

from litestar import Request, get, patch, post
from msgspec import UNSET, Struct

from seneca import accounts, audit
from seneca.accounts import Account, Change, Registration
from seneca.api.registration import check_may_register
from seneca.auth import login_throttle, password_policy, setup_token, sign_ins
from seneca.auth.access_tokens import Caller
from seneca.common.ids import new_id
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
from seneca.http.app_state import app_state, now
from seneca.http.auth import authenticate, current_caller, write_as_admin
from seneca.http.client_address import client_address
from seneca.http.endpoint import ResponseSpec, operation
from seneca.http.limits.long_reads import scan
from seneca.http.responses import JsonResponse, json_response

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
        requires="anyone",
        body=Registration,
        example=examples.REGISTRATION,
        request_headers=["X-Setup-Token"],
        responses=[ResponseSpec(201, "The account is there.", Registered, examples.REGISTERED)],
        errors=[RegistrationClosed, NameTaken, TooManyRequests],
    ),
)
async def register(request: AnyRequest) -> JsonResponse:
    """Register an account.

    Anyone may register a learner (with `SENECA_REGISTRATION=admin`: an administrator may). An administrator is
    registered by an administrator; the first one with the setup token in `X-Setup-Token`, or from the machine itself.
    """
    is_first = False

    async def authorise(asked: Registration) -> None:
        nonlocal is_first
        is_first = await check_may_register(request, asked.role)

    asked = await request_bodies.read(request, Registration, authorise=authorise)
    shared = app_state(request)
    if shared.password_policy is not password_policy.DEFAULT:  # which was checked with the body
        shared.password_policy.check(asked.password, asked.username, asked.email)
    administrator = administrator_of(request)
    if administrator is None:
        limit = shared.settings.max_registrations
        await shared.database.write(login_throttle.reserve_registration, client_address(request), limit, now())
    password_hash = await shared.password_hashers.hash(asked.password, client_address(request))
    user_id = new_id()
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
    return json_response(Registered("User registered successfully", user_id), 201)


def administrator_of(request: AnyRequest) -> Caller | None:
    """The administrator who registers somebody else; None: whoever asks registers themselves."""
    try:
        caller = authenticate(request)
    except Unauthenticated:  # a learner may be registered with no token, and so with a bad one
        return None
    return caller if caller.role == "admin" else None


@get(
    "/auth/me",
    opt=operation(
        tag=TAG,
        requires="signed-in",
        responses=[ResponseSpec(200, "The account.", Account, examples.ACCOUNT)],
        errors=[AccountNotFound],
    ),
)
async def me(request: AnyRequest) -> JsonResponse:
    """Read the caller's account."""
    return json_response(await app_state(request).database.read(accounts.get, current_caller(request).id))


@get(
    "/users",
    opt=operation(
        tag=TAG,
        requires="admin",
        query=["limit", "cursor", "q"],
        responses=[
            ResponseSpec(
                200,
                "Accounts, by creation.",
                list[Account],
                [examples.ACCOUNT],
                pagination.LINK,
            )
        ],
    ),
)
async def page(request: AnyRequest) -> JsonResponse:
    """List accounts; with `q`, those whose username or address contains it, in capitals or not."""
    asked = pagination.page_params(request)
    after = asked.after(accounts.Cursor, accounts.FIRST_PAGE)
    found = await scan(request, accounts.page, query=asked.query, after=after, limit=asked.limit)
    return json_response(found.items, headers=asked.link(found.next_cursor))


@get(
    "/users/{userId:str}",
    opt=operation(
        tag=TAG,
        requires="admin",
        responses=[ResponseSpec(200, "The account.", Account, examples.ACCOUNT)],
        errors=[AccountNotFound],
    ),
)
async def one(request: AnyRequest) -> JsonResponse:
    """Read an account."""
    user_id = path_parameters.identifier(request, "userId")
    return json_response(await app_state(request).database.read(accounts.get, user_id))


@patch(
    "/users/{userId:str}",
    opt=operation(
        tag=TAG,
        requires="admin",
        body=Change,
        example=examples.ACCOUNT_CHANGE,
        responses=[ResponseSpec(200, "The account as it is now.", Account, examples.ACCOUNT)],
        errors=[AccountNotFound, LastAdministrator, OwnAccount],
    ),
)
async def change(request: AnyRequest) -> JsonResponse:
    """Change another account's role, its password, or both. Its sign-ins end.

    One's own password is changed by `PUT /auth/password`, one's own role by another administrator.
    """
    asked = await request_bodies.read(request, Change)
    user_id = path_parameters.identifier(request, "userId")
    role = None if asked.role is UNSET else asked.role
    if role is None and asked.password is UNSET:
        raise InvalidInput.field("", "at least one of role and password is required")
    shared = app_state(request)
    caller = current_caller(request)
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
    shared.token_verifier.revoke(ended)
    return json_response(account)


ROUTES = [register, me, page, one, change]
