"""Signing in, going on, signing out, and changing one's password, over HTTP."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal, TypeVar

from litestar import Request, post, put
from msgspec import Meta, Struct

from seneca import accounts, passwords, text, throttle
from seneca.accounts import Credentials
from seneca.api import body, examples
from seneca.api.caller import PROVED, caller_of
from seneca.api.operation import Answer, operation
from seneca.api.origin import client_address
from seneca.api.reply import Reply, nothing, reply
from seneca.api.services import Services, now, services
from seneca.errors import NoSuchAccount, NotSignedIn, TooManyTries, WrongCredentials
from seneca.passwords import Place
from seneca.signins import recording
from seneca.signins.refresh_token import RefreshToken
from seneca.throttle import Admission
from seneca.tokens import LIFETIME

AnyRequest = Request[Any, Any, Any]
T = TypeVar("T")
TAG: Final = "Accounts and sign-in"
FAILURE_STEP: Final = 0.25  # seconds: failed sign-ins take a multiple of this, whatever they did
ATTEMPTS: Final = 2  # another sign-in may have renewed the hash between our look and our write


class Login(Struct, frozen=True, forbid_unknown_fields=True):
    """A request to sign in. `username` may hold the e-mail address."""

    username: Annotated[str, Meta(max_length=1024, pattern=text.NO_NUL)]
    password: passwords.GivenPassword


class Refresh(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A request to go on."""

    refresh_token: Annotated[str, Meta(max_length=1024, pattern=text.NO_NUL)]


class PasswordChange(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A change of one's own password."""

    current_password: passwords.GivenPassword
    new_password: passwords.NewPassword


class SignedIn(Struct, frozen=True, rename="camel"):
    """The answer to signing in."""

    token: str
    refresh_token: Annotated[str, Meta(description="Good once, at `/auth/refresh`; for 14 days, and 30 in all.")]
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Meta(description="Seconds.")]


async def prove(
    request: AnyRequest,
    name: str,
    password: str,
    work: Callable[[Credentials, Admission, Place], Awaitable[T | None]],
) -> T:
    """Do something for whoever knows the password that goes with a name.

    Args:
        request: where it was given.
        name: a username or an address.
        password: the password that was given.
        work: does it, and hashes, if it must, in the place that is kept for it; None if the account's password is another
            one by now, and must be verified again.

    Raises:
        Unavailable: too many wait to be verified.
        TooManyTries: too many have failed. Nothing was verified.
        WrongCredentials: there is no such name, or that is not its password. Both take the same time.

    """
    began = time.monotonic()
    shared = services(request)
    with shared.hashery.place() as place:
        admission = await _admitted(shared, name, client_address(request))
        found = admission.account
        for _ in range(ATTEMPTS):
            if not await place.verify(found.password_hash if found else None, password) or found is None:
                break
            done = await work(found, admission, place)
            if done is not None:
                request.scope[PROVED] = found.id  # type: ignore[literal-required]
                return done
            found = await shared.database.read(accounts.credentials, name)
    async with shared.sign_ins_at_once:
        await shared.database.write(throttle.fail, admission, now())
    elapsed = time.monotonic() - began
    await asyncio.sleep(-elapsed % FAILURE_STEP)
    raise WrongCredentials


async def _admitted(shared: Services, name: str, address: str) -> Admission:
    """Somebody who may try a password. Raises TooManyTries."""
    async with shared.sign_ins_at_once:
        admission = await shared.database.read(throttle.look, name, address, shared.settings.most_failures, now())
        if admission.must_be_counted:
            return await shared.database.write(throttle.count, admission, now())
        return admission


@post(
    "/auth/login",
    status_code=200,
    opt=operation(
        tag=TAG,
        who="anyone",
        body=Login,
        example=examples.LOGIN,
        answers=[Answer(200, "A token.", SignedIn, examples.SIGNED_IN)],
        refusals=[WrongCredentials, TooManyTries],
    ),
)
async def login(request: AnyRequest) -> Reply:
    """Sign in with a username or an e-mail address, and a password."""
    given = await body.read(request, Login)
    shared = services(request)

    async def start(found: Credentials, admission: Admission, place: Place) -> Reply | None:
        renewed = None
        if not passwords.is_current(found.password_hash or ""):
            renewed = await place.hash(given.password)
        async with shared.sign_ins_at_once:
            started = await shared.database.write(recording.start, found, renewed, admission, now())
        return None if started is None else signed_in(shared, started.account.role, started.refresh_token)

    return await prove(request, given.username.strip(), given.password, start)


@post(
    "/auth/refresh",
    status_code=200,
    opt=operation(
        tag=TAG,
        who="anyone",
        body=Refresh,
        example=examples.REFRESH,
        answers=[Answer(200, "The next tokens.", SignedIn, examples.SIGNED_IN)],
        refusals=[NotSignedIn],
    ),
)
async def refresh(request: AnyRequest) -> Reply:
    """Exchange a refresh token for the next tokens.

    It is good once. Used again within ten seconds, while the next one is unused, it is answered with the same next one: the
    answer may have been lost. Used again at any other time it ends the whole sign-in, since then somebody has stolen it.
    """
    given = RefreshToken.read((await body.read(request, Refresh)).refresh_token)
    shared = services(request)
    done = [] if given is None else await shared.database.write(recording.refresh, given, now())
    if isinstance(done, list):
        shared.sign_ins.forget(done)
        raise NotSignedIn("The refresh token is not valid. Sign in again.")
    request.scope[PROVED] = done.token.account_id  # type: ignore[literal-required]
    return signed_in(shared, done.role, done.token)


def signed_in(shared: Services, role: accounts.Role, token: RefreshToken) -> Reply:
    """The tokens of a sign-in."""
    issued = shared.sign_ins.keys.issue(account_id=token.account_id, role=role, sign_in=token.sign_in, now=now())
    return reply(SignedIn(issued, token.text, "Bearer", LIFETIME))


@post(
    "/auth/logout",
    status_code=200,  # the framework's word only; the answer is a 204
    opt=operation(tag=TAG, who="signed-in", answers=[Answer(204, "Signed out.")]),
)
async def logout(request: AnyRequest) -> Reply:
    """Sign out: this sign-in's tokens stop working."""
    caller, shared = caller_of(request), services(request)
    await shared.database.write(recording.end, caller.id, caller.sign_in, now())
    shared.sign_ins.forget([caller.sign_in])
    return nothing()


@put(
    "/auth/password",
    status_code=200,  # the framework's word only; the answer is a 204
    opt=operation(
        tag=TAG,
        who="signed-in",
        body=PasswordChange,
        example=examples.PASSWORD_CHANGE,
        answers=[Answer(204, "The password is changed.")],
        refusals=[WrongCredentials, TooManyTries, NoSuchAccount],
    ),
)
async def change_password(request: AnyRequest) -> Reply:
    """Change one's own password. Every other sign-in of the account ends."""
    given = await body.read(request, PasswordChange)
    caller, shared = caller_of(request), services(request)
    account = await shared.database.read(accounts.get, caller.id)
    passwords.check(given.new_password, account.username, account.email, "newPassword")

    async def change(found: Credentials, _: Admission, place: Place) -> list[str] | None:
        new_hash = await place.hash(given.new_password)
        return await shared.database.write(recording.change_password, caller, found, new_hash, now())

    shared.sign_ins.forget(await prove(request, account.username, given.current_password, change))
    return nothing()


ROUTES = [login, refresh, logout, change_password]
