"""Accounts over HTTP."""

from msgspec import Struct

from seneca import accounts
from seneca.accounts import Account, commands
from seneca.accounts.commands import AccountChange
from seneca.accounts.registration import Registration, register_account
from seneca.common.pages import Page
from seneca.database import Transaction
from seneca.errors import (
    AccountNotFound,
    LastAdministrator,
    NameTaken,
    OwnAccount,
    RegistrationClosed,
    TooManyRequests,
)
from seneca.http import examples, pagination
from seneca.http.app_state import Request, app_state
from seneca.http.auth import current_caller
from seneca.http.client_address import client_address
from seneca.http.endpoint import ResponseSpec, endpoint
from seneca.http.registration import authorise_registration, find_administrator
from seneca.http.requests import path_uuid
from seneca.http.responses import AsgiResponse, Response, json_response
from seneca.http.tables import list_response, struct_table

TAG = "Accounts and sign-in"


class RegistrationResponse(Struct, frozen=True, rename="camel"):
    """The response to a registration."""

    message: str
    user_id: str


@endpoint(
    "POST",
    "/auth/register",
    tag=TAG,
    requires="anyone",
    example=examples.REGISTRATION,
    authorise=authorise_registration,
    request_headers=["X-Setup-Token"],
    responses=[ResponseSpec(201, "Created.", RegistrationResponse, examples.REGISTRATION_RESPONSE)],
    errors=[RegistrationClosed, NameTaken, TooManyRequests],
)
async def register(request: Request, data: Registration) -> Response:
    """Register an account.

    Anyone may register a learner; with `SENECA_REGISTRATION=admin` only an administrator may. Registering an administrator takes
    an administrator's token. The first administrator needs the setup token in `X-Setup-Token`, or a request from the server's machine.
    """
    user_id = await register_account(app_state(request), find_administrator(request), data, client_address(request))
    return json_response(RegistrationResponse("User registered successfully", user_id), 201)


@endpoint(
    "GET",
    "/auth/me",
    tag=TAG,
    requires="signed-in",
    responses=[ResponseSpec(200, "The account.", Account, examples.ACCOUNT)],
    errors=[AccountNotFound],
)
async def me(request: Request) -> Response:
    """Get the caller's account."""
    return json_response(await app_state(request).database.read(accounts.get, current_caller(request).id))


@endpoint(
    "GET",
    "/users",
    tag=TAG,
    requires="admin",
    query=["limit", "cursor", "q"],
    table=struct_table("users", Account),
    responses=[
        ResponseSpec(
            200,
            "Accounts, in the order of their creation.",
            list[Account],
            [examples.ACCOUNT],
            pagination.LINK,
        )
    ],
)
async def page(request: Request) -> AsgiResponse:
    """List accounts.

    With `q`, list those whose username or email address contains it (case-insensitive).
    """
    query = pagination.page_params(request).query

    def read(tx: Transaction, after: accounts.Cursor, limit: int) -> Page[Account, accounts.Cursor]:
        return accounts.page(tx, query=query, after=after, limit=limit)

    return await list_response(request, read, accounts.Cursor, accounts.FIRST_PAGE)


@endpoint(
    "GET",
    "/users/{userId}",
    tag=TAG,
    requires="admin",
    responses=[ResponseSpec(200, "The account.", Account, examples.ACCOUNT)],
    errors=[AccountNotFound],
)
async def one(request: Request) -> Response:
    """Get an account."""
    user_id = path_uuid(request, "userId")
    return json_response(await app_state(request).database.read(accounts.get, user_id))


@endpoint(
    "PATCH",
    "/users/{userId}",
    tag=TAG,
    requires="admin",
    example=examples.ACCOUNT_CHANGE,
    responses=[ResponseSpec(200, "The changed account.", Account, examples.ACCOUNT)],
    errors=[AccountNotFound, LastAdministrator, OwnAccount],
)
async def change(request: Request, data: AccountChange) -> Response:
    """Change the role, the password or both of another account.

    All sign-ins of the account end. To change your own password, use `PUT /auth/password`. Only another administrator can change your role.
    """
    account = await commands.change_account(
        app_state(request),
        current_caller(request),
        path_uuid(request, "userId"),
        data,
        client_address(request),
    )
    return json_response(account)


ROUTES = [register, me, page, one, change]
