"""Who is asking, and whether they may: the guard of every route."""

from collections.abc import Callable
from typing import Any, TypeVar

from litestar import Request

from seneca.accounts import Learner
from seneca.auth.access_tokens import Caller
from seneca.auth.authorisation import authorise
from seneca.database import Transaction
from seneca.errors import Forbidden, InvalidInput, Unauthenticated
from seneca.http.app_state import Connection, app_state, now
from seneca.http.endpoint import Operation
from seneca.http.headers import header
from seneca.http.limits.concurrency import ACCOUNT_LIMITER, PERMIT

T = TypeVar("T")

CALLER = "caller"
PROVEN_ACCOUNT = "proved"
"""Where a request's scope has the id of an account that was proved otherwise than by a token: for the log."""


def bearer_token(connection: Connection) -> str | None:
    """The bearer token that came with the request, or None.

    Raises:
        Unauthenticated: the Authorization header is of another kind, or there are several.

    """
    authorization = header(connection, b"authorization")
    if authorization is None:
        return None
    if sum(name == b"authorization" for name, _ in connection.scope["headers"]) > 1:
        raise Unauthenticated("token-invalid", "Send one Authorization header, not several.")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("token-invalid", "The Authorization header must be: Bearer TOKEN.")
    return token.strip()


def authenticate(connection: Connection) -> Caller:
    """The caller of a request that needs a token.

    Raises:
        Unauthenticated: there is none, or it is not valid.

    """
    token = bearer_token(connection)
    if token is None:
        raise Unauthenticated("token-missing")
    return app_state(connection).token_verifier.verify(token)


async def guard(request: Request[Any, Any, Any]) -> None:
    """Let a request through to its handler, or refuse it: 401, then 403, then an unknown query parameter.

    What may be long waits here for its turn; 503 where that does not come.
    """
    declared: Operation | None = request.scope["route_handler"].opt.get("operation")
    if declared is None:  # OPTIONS, which the framework answers
        return
    if declared.requires != "anyone":
        caller = authenticate(request)
        request.scope[CALLER] = caller  # type: ignore[literal-required]
        if declared.requires not in ("signed-in", caller.role):
            raise Forbidden(f"Only the role {declared.requires} may do that.")
        if declared.limits_concurrency:
            scope: Any = request.scope
            scope[PERMIT] = await scope[ACCOUNT_LIMITER].acquire(caller.id)
            check_still_signed_in(request)
    if declared.body is None and not declared.accepts_any_body:  # with a body, its size and kind are judged first
        check_query(request)


def check_still_signed_in(connection: Connection) -> None:
    """Check again, once what a request waited for is there, that its sign-in has not ended or expired.

    In memory: what another worker has ended a moment ago is not known here yet. Raises Unauthenticated.
    """
    if CALLER in connection.scope:
        authenticate(connection)


async def write_as_admin(
    request: Request[Any, Any, Any],
    caller: Caller,
    work: Callable[[Transaction, int], T],
    *,
    subject: str | None = None,
) -> T:
    """Run an administrator's write; their sign-in and role are checked again in its transaction.

    Administrators who wait for each other leave connections to everybody else, as sign-ins do.

    Args:
        request: the request.
        caller: the administrator.
        work: the write; it is given the time.
        subject: the account that it changes, if any.

    Raises:
        Unauthenticated: their sign-in has ended.
        Forbidden: they are no administrator any more.

    """
    shared = app_state(request)

    def checked(tx: Transaction, moment: int) -> T:
        authorise(tx, caller, "admin", target=subject)
        return work(tx, moment)

    async with shared.sign_in_slots.slot(caller.id):
        return await shared.database.write(checked, now())


def check_query(request: Request[Any, Any, Any]) -> None:
    """Refuse query parameters that the route does not know. Raises InvalidInput."""
    if request.scope["query_string"]:
        declared: Operation = request.scope["route_handler"].opt["operation"]
        for name in request.query_params:
            if name not in declared.query:
                raise InvalidInput.field(name, "is not a query parameter of this path")


def current_caller(connection: Connection) -> Caller:
    """The caller that the guard let through."""
    caller: Caller = connection.scope[CALLER]  # type: ignore[literal-required]
    return caller


def current_learner(connection: Connection) -> Learner:
    """The caller as the learner whose sessions are meant."""
    caller = current_caller(connection)
    return Learner(caller.id, caller.bucket)
