"""Authentication of requests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, TypeVar

import structlog

from seneca.accounts import Learner
from seneca.auth.caller import Caller
from seneca.database import Transaction
from seneca.errors import InvalidCredentials, TooManyRequests, Unauthenticated
from seneca.http.app_state import Connection, Request, app_state
from seneca.http.client_address import client_address

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger()

CALLER = "caller"
"""Key of the request's scope: the ``Caller`` that the endpoint authenticated."""
AUTHENTICATED_ACCOUNT = "authenticated_account"
"""Key of the request's scope: for the log, the id of an account that was authenticated without an access token."""


def bearer_token(connection: Connection) -> str | None:
    """The bearer token of the request, or None.

    Raises:
        Unauthenticated: the Authorization header has another scheme, or there are several such headers.

    """
    headers = [value for name, value in connection.scope["headers"] if name == b"authorization"]
    if not headers:
        return None
    if len(headers) > 1:
        raise Unauthenticated("token-invalid", "Send one Authorization header, not several.")
    scheme, _, token = headers[0].decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("token-invalid", "The Authorization header must be: Bearer TOKEN.")
    return token.strip()


def authenticate(connection: Connection) -> Caller:
    """The caller that the request's bearer token names.

    Raises:
        Unauthenticated: there is no token, or it is not valid.

    """
    token = bearer_token(connection)
    if token is None:
        raise Unauthenticated("token-missing")
    return app_state(connection).token_verifier.verify(token)


def check_still_signed_in(connection: Connection) -> None:
    """Check again, after a wait, that the caller's sign-in has not ended or expired.

    This reads memory only, so it may miss a sign-in that another worker has just ended. Raises Unauthenticated.
    """
    if CALLER in connection.scope:
        authenticate(connection)


async def write_as_caller(
    request: Request,
    f: Callable[Concatenate[Transaction, Caller, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run the write ``f(tx, caller, …)``, which checks the caller's sign-in and role again.

    It holds a sign-in slot, so that administrators who wait for each other leave connections for other writes.
    """
    caller = current_caller(request)
    return await app_state(request).write_in_slot(caller.id, f, caller, *args, **kwargs)


@contextmanager
def log_failed_login(request: Request) -> Iterator[None]:
    """Log that the block rejects a password, with the account's id and a keyed hash of the address, never with the name."""
    try:
        yield
    except (InvalidCredentials, TooManyRequests) as error:
        log.warning(
            "login failed",
            request=request.scope.get("request_id"),
            account=error.account,
            address=app_state(request).token_verifier.keys.pseudonym(client_address(request)),
            reason=error.code,
        )
        raise


def current_caller(connection: Connection) -> Caller:
    """The caller that the endpoint authenticated."""
    caller: Caller = connection.scope[CALLER]  # type: ignore[literal-required]
    return caller


def current_learner(connection: Connection) -> Learner:
    """The caller, as the learner who owns the sessions."""
    caller = current_caller(connection)
    return Learner(caller.id, caller.bucket)
