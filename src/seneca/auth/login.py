"""Sign in, refresh, sign out, and change one's password."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec
from msgspec import Struct

from seneca import accounts
from seneca.accounts import Credentials, Role
from seneca.auth import access_tokens, login_throttle, password_hashes, passwords, sign_ins
from seneca.auth.caller import Caller
from seneca.auth.login_throttle import LoginAttempt
from seneca.auth.password_hasher_pool import HashingSlot
from seneca.auth.refresh_tokens import RefreshToken
from seneca.auth.services import Services
from seneca.common import text_types
from seneca.errors import ApiError, InvalidCredentials, ServiceUnavailable, TooManyRequests, Unauthenticated

MAX_VERIFICATIONS: Final = 2  # another login may replace an outdated hash between the verification and the write


class Login(Struct, frozen=True):
    """A login attempt whose password was right."""

    account: Credentials
    """The account, with the hash against which the password was verified."""
    attempt: LoginAttempt
    """Counted as a failure until ``login_throttle`` withdraws it."""
    slot: HashingSlot
    """A slot to hash a new password in."""


class Tokens(Struct, frozen=True):
    """The tokens of a sign-in."""

    account_id: str
    access_token: str
    refresh_token: str


@asynccontextmanager
async def authenticate(services: Services, name: str, password: str, address: str) -> AsyncIterator[Login]:
    """Verify a password within the limits on failed logins. The block then acts for the account.

    The block's transaction must check that the password has not changed since (else raise InvalidCredentials), and withdraw
    the attempt. If the block fails with any other ``ApiError``, the attempt is withdrawn here.

    Args:
        services: the services of this process.
        name: a username or an email address.
        password: the password to verify.
        address: the client's network address.

    Raises:
        ServiceUnavailable: the hashing queue is full.
        TooManyRequests: too many attempts have failed or are in progress. The password was not verified.
        InvalidCredentials: the name is unknown or the password is wrong. Both take the same time.

    """
    clock = asyncio.get_running_loop().time
    started = clock()
    attempt = await _reserve_attempt(services, name, address)
    await asyncio.sleep(attempt.delay_ms / 1000)
    try:
        with services.password_hashers.slot(address, text_types.key(name)) as slot:
            account = await _verify(services, attempt, password, slot)
            yield Login(account, attempt, slot)
    except InvalidCredentials:
        await asyncio.sleep(-(clock() - started) % (attempt.failure_step_ms / 1000))
        raise
    except ApiError:  # the password was right, or could not be verified
        with suppress(ServiceUnavailable):  # the attempt then stays counted as a failure
            await services.database.write(login_throttle.withdraw, attempt)
        raise


async def _reserve_attempt(services: Services, name: str, address: str) -> LoginAttempt:
    """Count an attempt before it is made. For a database slot it waits only behind attempts from the same address.

    Raises:
        TooManyRequests: the name must wait, or too many attempts at it are being counted.

    """
    with services.password_hashers.permit(address, text_types.key(name)):
        return await services.write_in_slot(
            address, login_throttle.reserve, name, address, services.settings.max_login_failures, services.clock()
        )


async def _verify(services: Services, attempt: LoginAttempt, password: str, slot: HashingSlot) -> Credentials:
    """Verify the password of an attempt, and replace an outdated hash. Raises InvalidCredentials."""
    account = attempt.account
    for _ in range(MAX_VERIFICATIONS):
        stored = account.password_hash if account else None
        if not await slot.verify(stored, password) or account is None or stored is None:
            break
        if passwords.is_current(stored):
            return account
        new_hash = await slot.hash(password)
        if await services.write_in_slot(account.id, password_hashes.renew, account.id, stored, new_hash):
            return msgspec.structs.replace(account, password_hash=new_hash)
        account = await services.database.read(accounts.credentials, attempt.name)
    raise InvalidCredentials(account=attempt.account.id if attempt.account else None)


async def sign_in(services: Services, name: str, password: str, address: str) -> Tokens:
    """Sign in with a username or an email address, and a password. Raises as ``authenticate`` does."""
    name = name.strip()
    try:
        async with authenticate(services, name, password, address) as login:
            started = await services.write_in_slot(
                login.account.id, sign_ins.start, login.account, login.attempt, services.clock()
            )
    except (TooManyRequests, ServiceUnavailable) as error:
        await set_error_account(services, name, error)
        raise
    services.token_verifier.revoke(started.ended)
    return _issue_tokens(services, started.account.role, started.refresh_token, started.generation)


async def set_error_account(services: Services, name: str, error: ApiError) -> None:
    """Set the account of an error, for the log.

    The account is read even if the error has one already: otherwise the response time would reveal whether the name exists.
    """
    with suppress(ServiceUnavailable):
        account = await services.database.read(accounts.credentials, name)
        error.account = account.id if account else None


async def refresh(services: Services, refresh_token: str) -> Tokens:
    """Exchange a refresh token for new tokens, by the rules of ``sign_ins.refresh``.

    Raises:
        Unauthenticated: the token is malformed, or its sign-in has ended.

    """
    token = RefreshToken.parse(refresh_token)
    if token is None:
        raise Unauthenticated("token-invalid", "The refresh token is not valid. Sign in again.")
    result = await services.database.write(sign_ins.refresh, token, services.clock())
    if isinstance(result, list):
        services.token_verifier.revoke(result)
        raise Unauthenticated("signed-out", account=token.account_id if result else None)
    return _issue_tokens(services, result.role, result.token, result.generation)


def _issue_tokens(services: Services, role: Role, refresh_token: RefreshToken, generation: str) -> Tokens:
    services.token_verifier.accept_generation(generation)
    access_token = access_tokens.issue(
        services.token_verifier.keys,
        account_id=refresh_token.account_id,
        role=role,
        sign_in=refresh_token.sign_in,
        now=services.clock(),
        generation=generation,
    )
    return Tokens(refresh_token.account_id, access_token, refresh_token.text)


async def sign_out(services: Services, caller: Caller) -> None:
    """End the caller's sign-in. Raises Unauthenticated if it has already ended."""
    await services.database.write(sign_ins.sign_out, caller, services.clock())
    services.token_verifier.revoke([caller.sign_in])


async def change_password(services: Services, caller: Caller, current: str, new: str, address: str) -> None:
    """Change the caller's password, and end the caller's other sign-ins.

    Args:
        services: the services of this process.
        caller: the caller.
        current: the current password, to be verified.
        new: the new password.
        address: the client's network address.

    Raises:
        AccountNotFound: the account no longer exists.
        InvalidInput: the new password breaks the policy.
        Unauthenticated: the caller's sign-in has ended.
        ServiceUnavailable, TooManyRequests, InvalidCredentials: as ``authenticate`` does, about the current password.

    """
    account = await services.database.read(accounts.get, caller.id)
    services.password_policy.check(new, account.username, account.email, field="newPassword")
    async with authenticate(services, account.username, current, address) as login:
        new_hash = await login.slot.hash(new)
        ended = await services.database.write(
            sign_ins.change_password,
            caller,
            login.account,
            login.attempt,
            new_hash=new_hash,
            now=services.clock(),
        )
    services.token_verifier.revoke(ended)
