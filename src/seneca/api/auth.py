"""Signing in, going on, signing out, and changing one's password, over HTTP."""

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
from seneca.http import examples, request_bodies
from seneca.http.app_state import AppState, app_state, now
from seneca.http.auth import PROVEN_ACCOUNT, current_caller
from seneca.http.client_address import client_address
from seneca.http.endpoint import ResponseSpec, operation
from seneca.http.responses import JsonResponse, empty_response, json_response

AnyRequest = Request[Any, Any, Any]
T = TypeVar("T")
TAG: Final = "Accounts and sign-in"
ATTEMPTS: Final = 2  # another sign-in may have renewed the hash between our look and our write

log = structlog.get_logger()


class Login(Struct, frozen=True, forbid_unknown_fields=True):
    """A request to sign in. `username` may hold the e-mail address."""

    username: Annotated[str, Meta(max_length=1024, pattern=text_types.NO_NUL)]
    password: passwords.SentPassword


class Refresh(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A request to go on."""

    refresh_token: Annotated[str, Meta(max_length=1024, pattern=text_types.NO_NUL)]


class PasswordChange(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A change of one's own password."""

    current_password: passwords.SentPassword
    new_password: passwords.NewPassword


class SignedIn(Struct, frozen=True, rename="camel"):
    """The answer to signing in."""

    token: str
    refresh_token: Annotated[str, Meta(description="Good once, at `/auth/refresh`; for 14 days, and 30 in all.")]
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Meta(description="Seconds.")]


async def authenticate(
    request: AnyRequest,
    name: str,
    password: str,
    work: Callable[[Credentials, LoginAttempt, HashingSlot], Awaitable[T | None]],
) -> T:
    """Do something for whoever knows the password that goes with a name.

    Args:
        request: where it was given.
        name: a username or an address.
        password: the password that was given.
        work: does it, takes the attempt back, and hashes, if it must, in the slot that is kept for it; None if the account's
            password is another one by now, and must be verified again.

    Raises:
        ServiceUnavailable: too many wait to be verified.
        TooManyRequests: too many have failed, or are in progress. Nothing was verified.
        InvalidCredentials: there is no such name, or that is not its password. Both take the same time.

    """
    began = time.monotonic()
    shared, address = app_state(request), client_address(request)
    try:
        attempt = await _reserve(shared, name, address)
        await asyncio.sleep(attempt.delay_ms / 1000)
        try:
            with shared.password_hashers.slot(address, text_types.key(name)) as slot:
                done = await _verified(shared, attempt, password, slot, work)
        except ApiError:  # the password was right, or could not be verified
            await _take_back(shared, attempt)
            raise
    except TooManyRequests as error:
        _log_failure(request, error.account, address, error.code)
        raise
    account_id = attempt.account.id if attempt.account else None
    if done is not None:
        request.scope[PROVEN_ACCOUNT] = account_id  # type: ignore[literal-required]
        return done
    await asyncio.sleep(-(time.monotonic() - began) % (attempt.failure_step_ms / 1000))
    _log_failure(request, account_id, address, InvalidCredentials.code)
    raise InvalidCredentials(account=account_id)


async def _reserve(shared: AppState, name: str, address: str) -> LoginAttempt:
    """Count an attempt before it is made: it waits for its turn at the database behind those of its own address only.

    Raises:
        TooManyRequests: not yet, or too many at this name are being counted.

    """
    with shared.password_hashers.permit(address, text_types.key(name)):
        async with shared.sign_in_slots.slot(address):
            return await shared.database.write(
                login_throttle.reserve, name, address, shared.settings.max_login_failures, now()
            )


async def _take_back(shared: AppState, attempt: LoginAttempt) -> None:
    with suppress(ServiceUnavailable):  # then it counts as a failure
        await shared.database.write(login_throttle.withdraw, attempt)


async def _verified(
    shared: AppState,
    attempt: LoginAttempt,
    password: str,
    slot: HashingSlot,
    work: Callable[[Credentials, LoginAttempt, HashingSlot], Awaitable[T | None]],
) -> T | None:
    """What the work returns, if the password is right."""
    credentials = attempt.account
    for _ in range(ATTEMPTS):
        if not await slot.verify(credentials.password_hash if credentials else None, password) or credentials is None:
            return None
        done = await work(credentials, attempt, slot)
        if done is not None:
            return done
        credentials = await shared.database.read(accounts.credentials, attempt.name)
    return None


def _log_failure(request: AnyRequest, account_id: str | None, address: str, reason: str) -> None:
    """Log a sign-in that failed: whose password was tried, and a keyed hash of the address, never the name or the address."""
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
        body=Login,
        example=examples.LOGIN,
        responses=[ResponseSpec(200, "A token.", SignedIn, examples.SIGNED_IN)],
        errors=[InvalidCredentials, TooManyRequests],
    ),
)
async def login(request: AnyRequest) -> JsonResponse:
    """Sign in with a username or an e-mail address, and a password."""
    given = await request_bodies.read(request, Login)
    shared = app_state(request)

    async def start(verified: Credentials, attempt: LoginAttempt, slot: HashingSlot) -> JsonResponse | None:
        renewed = None
        if not passwords.is_current(verified.password_hash or ""):
            renewed = await slot.hash(given.password)
        async with shared.sign_in_slots.slot(verified.id):
            started = await shared.database.write(sign_ins.start, verified, renewed, attempt, now())
        if started is None:
            return None
        shared.token_verifier.revoke(started.ended)
        return token_response(shared, started.account.role, started.refresh_token, started.generation)

    try:
        return await authenticate(request, given.username.strip(), given.password, start)
    except (TooManyRequests, ServiceUnavailable) as refusal:
        await find_account(shared, given.username.strip(), refusal)
        raise


async def find_account(shared: AppState, name: str, refusal: ApiError) -> None:
    """Note in a refusal whom it keeps out, for the log.

    It is asked for each time, also where it is known already: or names that are nobody's would be told by the time.
    """
    with suppress(ServiceUnavailable):
        account = await shared.database.read(accounts.credentials, name)
        refusal.account = account.id if account else None


@post(
    "/auth/refresh",
    status_code=200,
    opt=operation(
        tag=TAG,
        requires="anyone",
        body=Refresh,
        example=examples.REFRESH,
        responses=[ResponseSpec(200, "The next tokens.", SignedIn, examples.SIGNED_IN)],
        errors=[Unauthenticated],
    ),
)
async def refresh(request: AnyRequest) -> JsonResponse:
    """Exchange a refresh token for the next tokens.

    It is good once. Used again within ten seconds, while the next one is unused, it is answered with the same next one: the
    answer may have been lost. Used again at any other time it ends the whole sign-in, since then somebody has stolen it.
    """
    given = RefreshToken.parse((await request_bodies.read(request, Refresh)).refresh_token)
    shared = app_state(request)
    done = [] if given is None else await shared.database.write(sign_ins.refresh, given, now())
    if isinstance(done, list):
        shared.token_verifier.revoke(done)
        if given is None:
            raise Unauthenticated("token-invalid", "The refresh token is not valid. Sign in again.")
        raise Unauthenticated("signed-out", account=given.account_id if done else None)
    request.scope[PROVEN_ACCOUNT] = done.token.account_id  # type: ignore[literal-required]
    return token_response(shared, done.role, done.token, done.generation)


def token_response(shared: AppState, role: accounts.Role, token: RefreshToken, generation: str) -> JsonResponse:
    """The tokens of a sign-in."""
    shared.token_verifier.accept_generation(generation)
    issued = access_tokens.issue(
        shared.token_verifier.keys,
        account_id=token.account_id,
        role=role,
        sign_in=token.sign_in,
        now=now(),
        generation=generation,
    )
    return json_response(SignedIn(issued, token.text, "Bearer", ACCESS_TOKEN_TTL_SECONDS))


@post(
    "/auth/logout",
    status_code=200,  # the framework's word only; the answer is a 204
    opt=operation(tag=TAG, requires="signed-in", responses=[ResponseSpec(204, "Signed out.")]),
)
async def logout(request: AnyRequest) -> JsonResponse:
    """Sign out: this sign-in's tokens stop working."""
    caller, shared = current_caller(request), app_state(request)
    await shared.database.write(sign_ins.sign_out, caller, now())
    shared.token_verifier.revoke([caller.sign_in])
    return empty_response()


@put(
    "/auth/password",
    status_code=200,  # the framework's word only; the answer is a 204
    opt=operation(
        tag=TAG,
        requires="signed-in",
        body=PasswordChange,
        example=examples.PASSWORD_CHANGE,
        responses=[ResponseSpec(204, "The password is changed.")],
        errors=[InvalidCredentials, TooManyRequests, AccountNotFound],
    ),
)
async def change_password(request: AnyRequest) -> JsonResponse:
    """Change one's own password. Every other sign-in of the account ends."""
    given = await request_bodies.read(request, PasswordChange)
    caller, shared = current_caller(request), app_state(request)
    account = await shared.database.read(accounts.get, caller.id)
    shared.password_policy.check(given.new_password, account.username, account.email, field="newPassword")

    async def change(verified: Credentials, attempt: LoginAttempt, slot: HashingSlot) -> list[str] | None:
        new_hash = await slot.hash(given.new_password)
        return await shared.database.write(
            sign_ins.change_password, caller, verified, attempt, new_hash=new_hash, now=now()
        )

    shared.token_verifier.revoke(await authenticate(request, account.username, given.current_password, change))
    return empty_response()


ROUTES = [login, refresh, logout, change_password]
