"""The health check, and the token probes: routes that only test a token."""

from typing import Any

from litestar import Request, get, post

from seneca.http.endpoint import MAX_BODY_BYTES, Requires, ResponseSpec, check_query, operation
from seneca.http.requests import read_bytes
from seneca.http.responses import Response, text_response


def _text_operation(tag: str, requires: Requires, description: str, text: str) -> dict[str, Any]:
    return operation(tag=tag, requires=requires, responses=[ResponseSpec(200, description, str, text)])


@get("/health", opt=_text_operation("Service", "anyone", "The service is running.", "OK"))
async def health() -> Response:
    """Check that the service is running."""
    return text_response("OK")


@get(
    "/test",
    opt=_text_operation("Token probes", "signed-in", "The token is valid.", "Hello world"),
)
async def any_token() -> Response:
    """Test a token."""
    return text_response("Hello world")


@post(
    "/test/data",
    status_code=200,
    opt=operation(
        tag="Token probes",
        requires="signed-in",
        accepts_any_body=True,
        responses=[ResponseSpec(200, "The token is valid.", str, "OK")],
    ),
)
async def any_data(request: Request[Any, Any, Any]) -> Response:
    """Test a token with a request that has a body.

    The body is discarded.
    """
    await read_bytes(request, MAX_BODY_BYTES)
    check_query(request)
    return text_response("OK")


@get(
    "/test/user",
    opt=_text_operation("Token probes", "user", "The token is a learner's.", "User Functionality"),
)
async def user_token() -> Response:
    """Test a learner's token."""
    return text_response("User Functionality")


@get(
    "/test/admin",
    opt=_text_operation(
        "Token probes",
        "admin",
        "The token is an administrator's.",
        "Admin Functionality",
    ),
)
async def admin_token() -> Response:
    """Test an administrator's token."""
    return text_response("Admin Functionality")


ROUTES = [health, any_token, any_data, user_token, admin_token]
