"""Refusals as problem details (RFC 9457). The only place where an exception becomes an answer."""

from typing import Any, Final

import structlog
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
)
from litestar.types import Send

from seneca.errors import ApiError, InvalidInput, MethodNotAllowed, RouteNotFound
from seneca.http.options import allowed
from seneca.http.responses import encode

log = structlog.get_logger()

ERROR: Final = "refused"
"""Where a request's scope has the code and the account of the refusal that was its answer, for the log.

Not the refusal: its traceback refers to the scope, and the connection would stay open until Python looks for such circles.
"""
MEDIA_TYPE: Final = "application/problem+json"


class InternalError(ApiError):
    """Something that should not have happened. The log says what, under the request's id."""

    status, code, title = 500, "internal-error", "Something went wrong on the server"


def to_problem(refusal: ApiError) -> dict[str, object]:
    """The problem object of a refusal."""
    return {
        "type": f"/docs#{refusal.code}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.detail,
        "code": refusal.code,
        "message": refusal.detail,
        **refusal.members,
    }


def error_response(request: Request[Any, Any, Any], refusal: ApiError) -> Response[bytes]:
    """Answer with a refusal."""
    scope: Any = request.scope
    scope[ERROR] = (refusal.code, refusal.account)
    return Response(
        encode(to_problem(refusal)),
        status_code=refusal.status,
        headers=refusal.headers,
        media_type=MEDIA_TYPE,
    )


async def send_error(refusal: ApiError, scope: Any, send: Send) -> None:
    """Answer a request with a refusal before any route is looked for."""
    scope[ERROR] = (refusal.code, refusal.account)
    body = encode(to_problem(refusal))
    headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body))} | refusal.headers
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def framework_error_response(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer with what the framework refuses before a handler is found."""
    match error:
        case MethodNotAllowedException():
            methods = [m.strip() for m in (error.headers or {}).get("allow", "").split(",")]
            refusal: ApiError = MethodNotAllowed(headers=allowed(methods))
        case NotFoundException():
            refusal = RouteNotFound()
        case _ if error.status_code < 500:
            refusal = InvalidInput.field("", error.detail)
        case _:
            return internal_error_response(request, error)
    return error_response(request, refusal)


def internal_error_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Log a bug; tell the client nothing but the request's id."""
    request_id = request.scope.get("request_id")
    log.error("bug", request=request_id, exc_info=error)
    return error_response(
        request,
        InternalError(f"Something went wrong on the server. Its log says what, under {request_id}."),
    )


HANDLERS: dict[Any, Any] = {
    ApiError: error_response,
    HTTPException: framework_error_response,
    Exception: internal_error_response,
}
