"""Routes that prove something: the service runs, a token is good."""

from typing import Any

from litestar import Request, get, post

from seneca.api import body, reply
from seneca.api.caller import check_query
from seneca.api.operation import MOST_BYTES, Answer, operation


def _plain(tag: str, who: str, description: str, example: str) -> dict[str, Any]:
    return operation(tag=tag, who=who, answers=[Answer(200, description, str, example)])


@get("/health", opt=_plain("Service", "anyone", "The service answers requests.", "OK"))
async def health() -> reply.Reply:
    """Say that the service answers requests."""
    return reply.text("OK")


@get(
    "/test",
    opt=_plain("Token probes", "signed-in", "The token is good.", "Hello world"),
)
async def any_token() -> reply.Reply:
    """Try a token."""
    return reply.text("Hello world")


@post(
    "/test/data",
    status_code=200,
    opt=operation(
        tag="Token probes",
        who="signed-in",
        any_body=True,
        answers=[Answer(200, "The token is good.", str, "OK")],
    ),
)
async def any_data(request: Request[Any, Any, Any]) -> reply.Reply:
    """Try a token with a body, which is dropped."""
    await body.receive(request, MOST_BYTES)
    check_query(request)
    return reply.text("OK")


@get(
    "/test/user",
    opt=_plain("Token probes", "user", "The token is a learner's.", "User Functionality"),
)
async def user_token() -> reply.Reply:
    """Try a learner's token."""
    return reply.text("User Functionality")


@get(
    "/test/admin",
    opt=_plain(
        "Token probes",
        "admin",
        "The token is an administrator's.",
        "Admin Functionality",
    ),
)
async def admin_token() -> reply.Reply:
    """Try an administrator's token."""
    return reply.text("Admin Functionality")


ROUTES = [health, any_token, any_data, user_token, admin_token]
