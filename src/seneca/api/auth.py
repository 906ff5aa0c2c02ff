"""Login, token refresh, logout and password change over HTTP."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from seneca.auth import login as auth_login
from seneca.auth import passwords
from seneca.auth.caller import ACCESS_TOKEN_TTL_SECONDS
from seneca.auth.login import Tokens
from seneca.common import text_types
from seneca.errors import AccountNotFound, InvalidCredentials, TooManyRequests, Unauthenticated
from seneca.http import examples
from seneca.http.app_state import Request, app_state
from seneca.http.auth import AUTHENTICATED_ACCOUNT, current_caller, log_failed_login
from seneca.http.client_address import client_address
from seneca.http.endpoint import ResponseSpec, endpoint
from seneca.http.responses import Response, empty_response, json_response

TAG: Final = "Accounts and sign-in"


class LoginRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Credentials. `username` may be the email address."""

    username: Annotated[str, Meta(max_length=1024, pattern=text_types.NO_NUL)]
    password: passwords.SentPassword


class RefreshRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A refresh token to exchange for new tokens."""

    refresh_token: Annotated[str, Meta(max_length=1024, pattern=text_types.NO_NUL)]


class PasswordChange(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A change of the caller's own password."""

    current_password: passwords.SentPassword
    new_password: passwords.NewPassword


class TokenResponse(Struct, frozen=True, rename="camel"):
    """An access token and a refresh token."""

    token: str
    refresh_token: Annotated[
        str,
        Meta(description="Valid once, at `/auth/refresh`, for 14 days; the sign-in as a whole lasts at most 30 days."),
    ]
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Meta(description="Lifetime of `token` in seconds.")]


@endpoint(
    "POST",
    "/auth/login",
    tag=TAG,
    requires="anyone",
    example=examples.LOGIN,
    responses=[ResponseSpec(200, "The tokens.", TokenResponse, examples.TOKEN_RESPONSE)],
    errors=[InvalidCredentials, TooManyRequests],
)
async def login(request: Request, data: LoginRequest) -> Response:
    """Sign in with a username or an email address, and a password."""
    with log_failed_login(request):
        tokens = await auth_login.sign_in(app_state(request), data.username, data.password, client_address(request))
    return token_response(request, tokens)


@endpoint(
    "POST",
    "/auth/refresh",
    tag=TAG,
    requires="anyone",
    example=examples.REFRESH,
    responses=[ResponseSpec(200, "The new tokens.", TokenResponse, examples.TOKEN_RESPONSE)],
    errors=[Unauthenticated],
)
async def refresh(request: Request, data: RefreshRequest) -> Response:
    """Exchange a refresh token for new tokens.

    A refresh token is valid once. Within ten seconds of its first use, while the new one is unused, sending it again returns the same
    new one, in case the first response was lost. Any other reuse ends the sign-in, since the token may have been stolen.
    """
    return token_response(request, await auth_login.refresh(app_state(request), data.refresh_token))


def token_response(request: Request, tokens: Tokens) -> Response:
    """Respond with tokens, and note their account for the log."""
    request.scope[AUTHENTICATED_ACCOUNT] = tokens.account_id  # type: ignore[literal-required]
    return json_response(TokenResponse(tokens.access_token, tokens.refresh_token, "Bearer", ACCESS_TOKEN_TTL_SECONDS))


@endpoint("POST", "/auth/logout", tag=TAG, requires="signed-in", responses=[ResponseSpec(204, "Signed out.")])
async def logout(request: Request) -> Response:
    """Sign out.

    The tokens of this sign-in become invalid.
    """
    await auth_login.sign_out(app_state(request), current_caller(request))
    return empty_response()


@endpoint(
    "PUT",
    "/auth/password",
    tag=TAG,
    requires="signed-in",
    example=examples.PASSWORD_CHANGE,
    responses=[ResponseSpec(204, "Changed.")],
    errors=[InvalidCredentials, TooManyRequests, AccountNotFound],
)
async def change_password(request: Request, data: PasswordChange) -> Response:
    """Change your own password.

    All other sign-ins of the account end.
    """
    with log_failed_login(request):
        await auth_login.change_password(
            app_state(request),
            current_caller(request),
            data.current_password,
            data.new_password,
            client_address(request),
        )
    return empty_response()


ROUTES = [login, refresh, logout, change_password]
