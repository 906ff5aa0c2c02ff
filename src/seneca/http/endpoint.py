"""The declaration of a route: who may call it, what it accepts and what it returns.

The guard and the OpenAPI document both read the declaration, so they cannot disagree.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from seneca.errors import ApiError, InvalidInput

Requires = Literal["anyone", "signed-in", "user", "admin"]
KIBIBYTE = 1024
MAX_BODY_BYTES = 256 * KIBIBYTE


class ResponseSpec(Struct, frozen=True):
    """A successful response: status, description, type of the body (None: no body; str: plain text), example, headers."""

    status: int
    description: str
    body: Any = None
    example: object = None
    headers: Mapping[str, str] = {}


class Operation(Struct, frozen=True, kw_only=True):
    """A route's declaration."""

    tag: str
    requires: Requires
    responses: Sequence[ResponseSpec]
    errors: Sequence[type[ApiError]] = ()
    body: Any = None
    """The type of the JSON body; None if the route takes no body."""
    example: object = None
    """An example of the body."""
    accepts_any_body: bool = False
    """Whether the route accepts a body of any media type and discards it."""
    max_body_bytes: int = MAX_BODY_BYTES
    query: Sequence[str] = ()
    """The query parameters that the route accepts: names in ``openapi.QUERY``."""
    request_headers: Sequence[str] = ()
    is_download: bool = False
    """Whether the response is a file to save. It may be large."""

    @property
    def limits_concurrency(self) -> bool:
        """Whether the response may be large, so that one account may have only a few in progress."""
        return self.is_download or "limit" in self.query


def operation(**declaration: Any) -> dict[str, Operation]:
    """The ``opt`` of a route handler."""
    return {"operation": Operation(**declaration)}


def check_declared(routes: Sequence[HTTPRouteHandler]) -> None:
    """Check that every route has a declaration, so that none is open because somebody forgot it. Raises UndeclaredRoute."""
    for route in routes:
        if not isinstance(route.opt.get("operation"), Operation):
            methods, paths = (", ".join(sorted(names)) for names in (route.http_methods, route.paths))
            raise UndeclaredRoute(f"{methods} {paths} has no declaration: add opt=operation(…).")


class UndeclaredRoute(RuntimeError):
    """A route does not say who may call it: a bug."""


def check_query(request: Request[Any, Any, Any]) -> None:
    """Raise InvalidInput for a query parameter that the route does not declare."""
    if request.scope["query_string"]:
        operation_: Operation = request.scope["route_handler"].opt["operation"]
        for name in request.query_params:
            if name not in operation_.query:
                raise InvalidInput.field(name, "is not a query parameter of this path")
