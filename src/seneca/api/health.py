"""The health check, and the token probes: routes that only test a token."""

from seneca.http.app_state import Request
from seneca.http.endpoint import ResponseSpec, endpoint
from seneca.http.responses import Response, text_response

PROBES = "Token probes"
VALID = "The token is valid."


@endpoint(
    "GET",
    "/health",
    tag="Service",
    requires="anyone",
    responses=[ResponseSpec(200, "The service is running.", str, "OK")],
)
async def health(_: Request) -> Response:
    """Check that the service is running."""
    return text_response("OK")


@endpoint("GET", "/test", tag=PROBES, requires="signed-in", responses=[ResponseSpec(200, VALID, str, "Hello world")])
async def any_token(_: Request) -> Response:
    """Test a token."""
    return text_response("Hello world")


@endpoint(
    "POST",
    "/test/data",
    tag=PROBES,
    requires="signed-in",
    accepts_any_body=True,
    responses=[ResponseSpec(200, VALID, str, "OK")],
)
async def any_data(_: Request) -> Response:
    """Test a token with a request that has a body.

    The body is discarded.
    """
    return text_response("OK")


@endpoint(
    "GET",
    "/test/user",
    tag=PROBES,
    requires="user",
    responses=[ResponseSpec(200, "The token is a learner's.", str, "User Functionality")],
)
async def user_token(_: Request) -> Response:
    """Test a learner's token."""
    return text_response("User Functionality")


@endpoint(
    "GET",
    "/test/admin",
    tag=PROBES,
    requires="admin",
    responses=[ResponseSpec(200, "The token is an administrator's.", str, "Admin Functionality")],
)
async def admin_token(_: Request) -> Response:
    """Test an administrator's token."""
    return text_response("Admin Functionality")


ROUTES = [health, any_token, any_data, user_token, admin_token]
