"""Error responses as problem details (RFC 9457). Only this module turns exceptions into responses."""

from typing import Any, Final

import structlog
from litestar import Response as LitestarResponse
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
)
from litestar.types import Send

from seneca.errors import ApiError, InvalidInput, MethodNotAllowed, RouteNotFound
from seneca.http.app_state import Request
from seneca.http.responses import allow_header, encode

log = structlog.get_logger()

ERROR: Final = "error"
"""Key of the request's scope: for the log, the code and the account of the error that was sent.

The error itself is not kept there: its traceback refers to the scope, and this reference cycle would keep the connection open
until the garbage collector runs.
"""
MEDIA_TYPE: Final = "application/problem+json"


class InternalError(ApiError):
    """An unexpected exception. The log has its traceback, under the request's id."""

    status, code, title = 500, "internal-error", "Something went wrong on the server"


def to_problem(error: ApiError) -> dict[str, object]:
    """The problem details object of an error."""
    return {
        "type": f"/docs#{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "message": error.detail,
        **error.members,
    }


def error_response(request: Request, error: ApiError) -> LitestarResponse[bytes]:
    """Make the response for an error, and note the error for the log."""
    scope: Any = request.scope
    scope[ERROR] = (error.code, error.account)
    return LitestarResponse(
        encode(to_problem(error)),
        status_code=error.status,
        headers=error.headers,
        media_type=MEDIA_TYPE,
    )


async def send_error(error: ApiError, scope: Any, send: Send) -> None:
    """Send the response for an error that occurs before the framework sees the request."""
    scope[ERROR] = (error.code, error.account)
    body = encode(to_problem(error))
    headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body))} | error.headers
    raw_headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw_headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def framework_error_response(request: Request, exception: HTTPException) -> LitestarResponse[bytes]:
    """Make the response for an exception that the framework raised before it called a handler."""
    match exception:
        case MethodNotAllowedException():
            methods = [m.strip() for m in (exception.headers or {}).get("allow", "").split(",")]
            error: ApiError = MethodNotAllowed(headers=allow_header(methods))
        case NotFoundException():
            error = RouteNotFound()
        case _ if exception.status_code < 500:
            error = InvalidInput.field("", exception.detail)
        case _:
            return internal_error_response(request, exception)
    return error_response(request, error)


def internal_error_response(request: Request, exception: Exception) -> LitestarResponse[bytes]:
    """Log an unexpected exception. The client learns only the request's id."""
    request_id = request.scope.get("request_id")
    log.error("unhandled exception", request=request_id, exc_info=exception)
    return error_response(
        request,
        InternalError(f"Something went wrong on the server. Its log says what, under {request_id}."),
    )


HANDLERS: dict[Any, Any] = {
    ApiError: error_response,
    HTTPException: framework_error_response,
    Exception: internal_error_response,
}
