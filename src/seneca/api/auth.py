"""Login, token refresh, logout and password change over HTTP."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any, Final, Literal, TypeVar

import structlog
from litestar import Request, post, put
from msgspec import Meta, Struct

from seneca import accounts
from seneca.accounts import Credentials
from seneca.auth import access_tokens, login_throttle, passwords, sign_ins
from seneca.auth.access_tokens import ACCESS_TOKEN_TTL_SECONDS
from seneca.auth.login_throttle import LoginAttempt
from seneca.auth.password_hasher_pool import HashingSlot
from seneca.auth.refresh_tokens import RefreshToken
from seneca.common import text_types
from seneca.errors import (
    AccountNotFound,
    ApiError,
    InvalidCredentials,
    ServiceUnavailable,
    TooManyRequests,
    Unauthenticated,
)
from seneca.http import examples
from seneca.http.app_state import AppState, app_state, now_ms
from seneca.http.auth import AUTHENTICATED_ACCOUNT, current_caller
from seneca.http.client_address import client_address
from seneca.http.endpoint import ResponseSpec, operation
from seneca.http.requests import read_body
from seneca.http.responses import Response, empty_response, json_response

AnyRequest = Request[Any, Any, Any]
T = TypeVar("T")
Work = Callable[[Credentials, LoginAttempt, HashingSlot], Awaitable[T | None]]
TAG: Final = "Accounts and sign-in"
ATTEMPTS: Final = 2  # another sign-in may have rehashed the password between the read and the write

log = structlog.get_logger()


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


async def authenticate_by_password(request: AnyRequest, name: str, password: str, work: Work[T]) -> T:
    """Verify a password and run ``work`` for its account, within the limits on failed logins.

    Args:
        request: the request.
        name: a username or an email address.
        password: the password to verify.
        work: takes the account's credentials, the login attempt, which it must withdraw, and a slot to hash in. It returns None
            if the password has changed since it was verified; it is then verified again.

    Raises:
        ServiceUnavailable: the hashing queue is full.
        TooManyRequests: too many attempts have failed or are in progress. The password was not verified.
        InvalidCredentials: the name is unknown or the password is wrong. Both take the same time.

    """
    started = time.monotonic()
    state, address = app_state(request), client_address(request)
    try:
        attempt = await _reserve_attempt(state, name, address)
        await asyncio.sleep(attempt.delay_ms / 1000)
        try:
            with state.password_hashers.slot(address, text_types.key(name)) as slot:
                result = await _verify_and_run(state, attempt, password, slot, work)
        except ApiError:  # the password was right, or could not be verified
            await _withdraw_attempt(state, attempt)
            raise
    except TooManyRequests as error:
        _log_failure(request, error.account, address, error.code)
        raise
    account_id = attempt.account.id if attempt.account else None
    if result is not None:
        request.scope[AUTHENTICATED_ACCOUNT] = account_id  # type: ignore[literal-required]
        return result
    await asyncio.sleep(-(time.monotonic() - started) % (attempt.failure_step_ms / 1000))
    _log_failure(request, account_id, address, InvalidCredentials.code)
    raise InvalidCredentials(account=account_id)


async def _reserve_attempt(state: AppState, name: str, address: str) -> LoginAttempt:
    """Count an attempt before it is made. For a database slot it waits only behind attempts from the same address.

    Raises:
        TooManyRequests: the name must wait, or too many attempts at it are being counted.

    """
    with state.password_hashers.permit(address, text_types.key(name)):
        async with state.sign_in_slots.slot(address):
            return await state.database.write(
                login_throttle.reserve, name, address, state.settings.max_login_failures, now_ms()
            )


async def _withdraw_attempt(state: AppState, attempt: LoginAttempt) -> None:
    with suppress(ServiceUnavailable):  # the attempt then stays counted as a failure
        await state.database.write(login_throttle.withdraw, attempt)


async def _verify_and_run(
    state: AppState, attempt: LoginAttempt, password: str, slot: HashingSlot, work: Work[T]
) -> T | None:
    """Return what the work returns, or None if the password is wrong."""
    credentials = attempt.account
    for _ in range(ATTEMPTS):
        if not await slot.verify(credentials.password_hash if credentials else None, password) or credentials is None:
            return None
        result = await work(credentials, attempt, slot)
        if result is not None:
            return result
        credentials = await state.database.read(accounts.credentials, attempt.name)
    return None


def _log_failure(request: AnyRequest, account_id: str | None, address: str, reason: str) -> None:
    """Log a failed login with the account's id and a keyed hash of the address, never with the name or the address itself."""
    log.warning(
        "login failed",
        request=request.scope.get("request_id"),
        account=account_id,
        address=app_state(request).token_verifier.keys.pseudonym(address),
        reason=reason,
    )


@post(
    "/auth/login",
    status_code=200,
    opt=operation(
        tag=TAG,
        requires="anyone",
        body=LoginRequest,
        example=examples.LOGIN,
        responses=[ResponseSpec(200, "The tokens.", TokenResponse, examples.TOKEN_RESPONSE)],
        errors=[InvalidCredentials, TooManyRequests],
    ),
)
async def login(request: AnyRequest) -> Response:
    """Sign in with a username or an email address, and a password."""
    payload = await read_body(request, LoginRequest)
    state = app_state(request)

    async def start(credentials: Credentials, attempt: LoginAttempt, slot: HashingSlot) -> Response | None:
        new_hash = None
        if not passwords.is_current(credentials.password_hash or ""):
            new_hash = await slot.hash(payload.password)
        async with state.sign_in_slots.slot(credentials.id):
            sign_in = await state.database.write(sign_ins.start, credentials, new_hash, attempt, now_ms())
        if sign_in is None:
            return None
        state.token_verifier.revoke(sign_in.ended)
        return token_response(state, sign_in.account.role, sign_in.refresh_token, sign_in.generation)

    try:
        return await authenticate_by_password(request, payload.username.strip(), payload.password, start)
    except (TooManyRequests, ServiceUnavailable) as error:
        await set_error_account(state, payload.username.strip(), error)
        raise


async def set_error_account(state: AppState, name: str, error: ApiError) -> None:
    """Set the account of an error, for the log.

    The account is read even if the error has one already: otherwise the response time would reveal whether the name exists.
    """
    with suppress(ServiceUnavailable):
        account = await state.database.read(accounts.credentials, name)
        error.account = account.id if account else None


@post(
    "/auth/refresh",
    status_code=200,
    opt=operation(
        tag=TAG,
        requires="anyone",
        body=RefreshRequest,
        example=examples.REFRESH,
        responses=[ResponseSpec(200, "The new tokens.", TokenResponse, examples.TOKEN_RESPONSE)],
        errors=[Unauthenticated],
    ),
)
async def refresh(request: AnyRequest) -> Response:
    """Exchange a refresh token for new tokens.

    A refresh token is valid once. Within ten seconds of its first use, while the new one is unused, sending it again returns the same
    new one, in case the first response was lost. Any other reuse ends the sign-in, since the token may have been stolen.
    """
    token = RefreshToken.parse((await read_body(request, RefreshRequest)).refresh_token)
    state = app_state(request)
    result = [] if token is None else await state.database.write(sign_ins.refresh, token, now_ms())
    if isinstance(result, list):
        state.token_verifier.revoke(result)
        if token is None:
            raise Unauthenticated("token-invalid", "The refresh token is not valid. Sign in again.")
        raise Unauthenticated("signed-out", account=token.account_id if result else None)
    request.scope[AUTHENTICATED_ACCOUNT] = result.token.account_id  # type: ignore[literal-required]
    return token_response(state, result.role, result.token, result.generation)


def token_response(state: AppState, role: accounts.Role, refresh_token: RefreshToken, generation: str) -> Response:
    """Issue an access token, and respond with it and the refresh token."""
    state.token_verifier.accept_generation(generation)
    access_token = access_tokens.issue(
        state.token_verifier.keys,
        account_id=refresh_token.account_id,
        role=role,
        sign_in=refresh_token.sign_in,
        now=now_ms(),
        generation=generation,
    )
    return json_response(TokenResponse(access_token, refresh_token.text, "Bearer", ACCESS_TOKEN_TTL_SECONDS))


@post(
    "/auth/logout",
    status_code=200,  # for the framework only; the response is a 204
    opt=operation(tag=TAG, requires="signed-in", responses=[ResponseSpec(204, "Signed out.")]),
)
async def logout(request: AnyRequest) -> Response:
    """Sign out.

    The tokens of this sign-in become invalid.
    """
    caller, state = current_caller(request), app_state(request)
    await state.database.write(sign_ins.sign_out, caller, now_ms())
    state.token_verifier.revoke([caller.sign_in])
    return empty_response()


@put(
    "/auth/password",
    status_code=200,  # for the framework only; the response is a 204
    opt=operation(
        tag=TAG,
        requires="signed-in",
        body=PasswordChange,
        example=examples.PASSWORD_CHANGE,
        responses=[ResponseSpec(204, "Changed.")],
        errors=[InvalidCredentials, TooManyRequests, AccountNotFound],
    ),
)
async def change_password(request: AnyRequest) -> Response:
    """Change your own password.

    All other sign-ins of the account end.
    """
    payload = await read_body(request, PasswordChange)
    caller, state = current_caller(request), app_state(request)
    account = await state.database.read(accounts.get, caller.id)
    state.password_policy.check(payload.new_password, account.username, account.email, field="newPassword")

    async def change(credentials: Credentials, attempt: LoginAttempt, slot: HashingSlot) -> list[str] | None:
        new_hash = await slot.hash(payload.new_password)
        return await state.database.write(
            sign_ins.change_password, caller, credentials, attempt, new_hash=new_hash, now=now_ms()
        )

    revoked_sign_ins = await authenticate_by_password(request, account.username, payload.current_password, change)
    state.token_verifier.revoke(revoked_sign_ins)
    return empty_response()


ROUTES = [login, refresh, logout, change_password]
