"""Accounts over HTTP."""

from functools import partial
from typing import Any

from litestar import Request, get, patch, post
from msgspec import Struct

from seneca import accounts
from seneca.accounts import Account, commands
from seneca.accounts.commands import AccountChange
from seneca.accounts.registration import Registration, register_account
from seneca.errors import (
    AccountNotFound,
    LastAdministrator,
    NameTaken,
    OwnAccount,
    RegistrationClosed,
    TooManyRequests,
)
from seneca.http import examples, pagination
from seneca.http.app_state import app_state
from seneca.http.auth import current_caller
from seneca.http.client_address import client_address
from seneca.http.endpoint import ResponseSpec, operation
from seneca.http.limits.long_reads import scan
from seneca.http.registration import authorise_registration, find_administrator
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
    registration = await read_body(request, Registration, authorise=partial(authorise_registration, request))
    user_id = await register_account(
        app_state(request), find_administrator(request), registration, client_address(request)
    )
    return json_response(RegistrationResponse("User registered successfully", user_id), 201)


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
    account = await commands.change_account(
        app_state(request),
        current_caller(request),
        path_uuid(request, "userId"),
        payload,
        client_address(request),
    )
    return json_response(account)


ROUTES = [register, me, page, one, change]
