"""Routes that prove something: the service runs, a token is good."""

from typing import Any

from litestar import Request, get, post

from seneca.http import request_bodies, responses
from seneca.http.auth import check_query
from seneca.http.endpoint import MOST_BYTES, Answer, operation


def _plain(tag: str, who: str, description: str, example: str) -> dict[str, Any]:
    return operation(tag=tag, who=who, answers=[Answer(200, description, str, example)])


@get("/health", opt=_plain("Service", "anyone", "The service answers requests.", "OK"))
async def health() -> responses.Reply:
    """Say that the service answers requests."""
    return responses.text("OK")


@get(
    "/test",
    opt=_plain("Token probes", "signed-in", "The token is good.", "Hello world"),
)
async def any_token() -> responses.Reply:
    """Try a token."""
    return responses.text("Hello world")


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
async def any_data(request: Request[Any, Any, Any]) -> responses.Reply:
    """Try a token with a body, which is dropped."""
    await request_bodies.receive(request, MOST_BYTES)
    check_query(request)
    return responses.text("OK")


@get(
    "/test/user",
    opt=_plain("Token probes", "user", "The token is a learner's.", "User Functionality"),
)
async def user_token() -> responses.Reply:
    """Try a learner's token."""
    return responses.text("User Functionality")


@get(
    "/test/admin",
    opt=_plain(
        "Token probes",
        "admin",
        "The token is an administrator's.",
        "Admin Functionality",
    ),
)
async def admin_token() -> responses.Reply:
    """Try an administrator's token."""
    return responses.text("Admin Functionality")


ROUTES = [health, any_token, any_data, user_token, admin_token]
