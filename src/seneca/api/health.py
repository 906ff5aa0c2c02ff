"""Routes that prove something: the service runs, a token is good."""

from typing import Any

from litestar import Request, get, post

from seneca.http import request_bodies, responses
from seneca.http.auth import check_query
from seneca.http.endpoint import MAX_BODY_BYTES, ResponseSpec, operation


def _plain(tag: str, who: str, description: str, example: str) -> dict[str, Any]:
    return operation(tag=tag, requires=who, responses=[ResponseSpec(200, description, str, example)])


@get("/health", opt=_plain("Service", "anyone", "The service answers requests.", "OK"))
async def health() -> responses.JsonResponse:
    """Say that the service answers requests."""
    return responses.text_response("OK")


@get(
    "/test",
    opt=_plain("Token probes", "signed-in", "The token is good.", "Hello world"),
)
async def any_token() -> responses.JsonResponse:
    """Try a token."""
    return responses.text_response("Hello world")


@post(
    "/test/data",
    status_code=200,
    opt=operation(
        tag="Token probes",
        requires="signed-in",
        accepts_any_body=True,
        responses=[ResponseSpec(200, "The token is good.", str, "OK")],
    ),
)
async def any_data(request: Request[Any, Any, Any]) -> responses.JsonResponse:
    """Try a token with a body, which is dropped."""
    await request_bodies.receive(request, MAX_BODY_BYTES)
    check_query(request)
    return responses.text_response("OK")


@get(
    "/test/user",
    opt=_plain("Token probes", "user", "The token is a learner's.", "User Functionality"),
)
async def user_token() -> responses.JsonResponse:
    """Try a learner's token."""
    return responses.text_response("User Functionality")


@get(
    "/test/admin",
    opt=_plain(
        "Token probes",
        "admin",
        "The token is an administrator's.",
        "Admin Functionality",
    ),
)
async def admin_token() -> responses.JsonResponse:
    """Try an administrator's token."""
    return responses.text_response("Admin Functionality")


ROUTES = [health, any_token, any_data, user_token, admin_token]
