"""Accounts over HTTP."""

from typing import Any

from litestar import Request, get, patch, post
from msgspec import UNSET, Struct

from seneca import accounts, audit
from seneca.accounts import Account, AccountChange, Registration
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
from seneca.http import examples, pagination
from seneca.http.app_state import app_state, now_ms
from seneca.http.auth import authenticate, current_caller, write_as_admin
from seneca.http.client_address import client_address
from seneca.http.endpoint import ResponseSpec, operation
from seneca.http.limits.long_reads import scan
from seneca.http.requests import path_uuid, read_body
from seneca.http.responses import Response, json_response

AnyRequest = Request[Any, Any, Any]
TAG = "Accounts and sign-in"


class RegistrationResponse(Struct, frozen=True, rename="camel"):
    """The response to a registration."""

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
        responses=[ResponseSpec(201, "Created.", RegistrationResponse, examples.REGISTRATION_RESPONSE)],
        errors=[RegistrationClosed, NameTaken, TooManyRequests],
    ),
)
async def register(request: AnyRequest) -> Response:
    """Register an account.

    Anyone may register a learner; with `SENECA_REGISTRATION=admin` only an administrator may. Registering an administrator takes
    an administrator's token. The first administrator needs the setup token in `X-Setup-Token`, or a request from the server's machine.
    """
    is_first_admin = False

    async def authorise(registration: Registration) -> None:
        nonlocal is_first_admin
        is_first_admin = await check_may_register(request, registration.role)

    registration = await read_body(request, Registration, authorise=authorise)
    state = app_state(request)
    if state.password_policy is not password_policy.DEFAULT:  # reading the body has checked the default policy
        state.password_policy.check(registration.password, registration.username, registration.email)
    administrator = find_administrator(request)
    if administrator is None:
        limit = state.settings.max_registrations
        await state.database.write(login_throttle.reserve_registration, client_address(request), limit, now_ms())
    password_hash = await state.password_hashers.hash(registration.password, client_address(request))
    user_id = new_id()
    # A learner's own registration is not an administrative action: it has no actor.
    actor = administrator.id if administrator else user_id if registration.role == "admin" else None

    def work(tx: Transaction, now: int) -> None:
        accounts.create(
            tx,
            id=user_id,
            username=registration.username,
            email=registration.email,
            role=registration.role,
            password_hash=password_hash,
            created_at=now,
            first_administrator=is_first_admin,
        )
        if administrator is None:
            login_throttle.trust_address(tx, user_id, client_address(request), now)
        if actor is not None:
            audit.record(tx, actor, "account.registered", user_id, now, role=registration.role)

    if administrator is None:
        await state.database.write(work, now_ms())
    else:
        await write_as_admin(request, administrator, work)
    if is_first_admin:
        setup_token.discard(state.settings.data)
    return json_response(RegistrationResponse("User registered successfully", user_id), 201)


def find_administrator(request: AnyRequest) -> Caller | None:
    """The administrator who registers an account for somebody else; None for a self-registration."""
    try:
        caller = authenticate(request)
    except Unauthenticated:  # a learner's registration needs no token, so an invalid one is ignored
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
async def me(request: AnyRequest) -> Response:
    """Get the caller's account."""
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
                "Accounts, in the order of their creation.",
                list[Account],
                [examples.ACCOUNT],
                pagination.LINK,
            )
        ],
    ),
)
async def page(request: AnyRequest) -> Response:
    """List accounts.

    With `q`, list those whose username or email address contains it (case-insensitive).
    """
    params = pagination.page_params(request)
    after = params.after(accounts.Cursor, accounts.FIRST_PAGE)
    result = await scan(request, accounts.page, query=params.query, after=after, limit=params.limit)
    return json_response(result.items, headers=params.link(result.next_cursor))


@get(
    "/users/{userId:str}",
    opt=operation(
        tag=TAG,
        requires="admin",
        responses=[ResponseSpec(200, "The account.", Account, examples.ACCOUNT)],
        errors=[AccountNotFound],
    ),
)
async def one(request: AnyRequest) -> Response:
    """Get an account."""
    user_id = path_uuid(request, "userId")
    return json_response(await app_state(request).database.read(accounts.get, user_id))


@patch(
    "/users/{userId:str}",
    opt=operation(
        tag=TAG,
        requires="admin",
        body=AccountChange,
        example=examples.ACCOUNT_CHANGE,
        responses=[ResponseSpec(200, "The changed account.", Account, examples.ACCOUNT)],
        errors=[AccountNotFound, LastAdministrator, OwnAccount],
    ),
)
async def change(request: AnyRequest) -> Response:
    """Change the role, the password or both of another account.

    All sign-ins of the account end. To change your own password, use `PUT /auth/password`. Only another administrator can change your role.
    """
    payload = await read_body(request, AccountChange)
    user_id = path_uuid(request, "userId")
    role = None if payload.role is UNSET else payload.role
    if role is None and payload.password is UNSET:
        raise InvalidInput.field("", "at least one of role and password is required")
    state = app_state(request)
    caller = current_caller(request)
    if payload.password is not UNSET:
        state.password_policy.check(payload.password)  # before the account is read: 400 takes precedence over 404
        account = await state.database.read(accounts.get, user_id)
        state.password_policy.check(payload.password, account.username, account.email)
    if user_id == caller.id:
        raise OwnAccount(
            "Change your own password with PUT /auth/password. Only another administrator can change your role."
        )
    password_hash = None
    if payload.password is not UNSET:
        password_hash = await state.password_hashers.hash(payload.password, client_address(request))

    def work(tx: Transaction, now: int) -> tuple[Account, list[str]]:
        account = accounts.change(tx, user_id, role=role, password_hash=password_hash)
        if role is not None:
            audit.record(tx, caller.id, "account.role-changed", user_id, now, role=role)
        if password_hash is not None:
            audit.record(tx, caller.id, "account.password-set", user_id, now)
        return account, sign_ins.end_all(tx, user_id, now)

    account, revoked_sign_ins = await write_as_admin(request, caller, work, target=user_id)
    state.token_verifier.revoke(revoked_sign_ins)
    return json_response(account)


ROUTES = [register, me, page, one, change]
