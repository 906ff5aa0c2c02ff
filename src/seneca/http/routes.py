"""The framework's routes: one for each path, which calls the endpoint of the request's method or answers OPTIONS."""

from collections.abc import Mapping, Sequence

from litestar import route
from litestar.handlers import HTTPRouteHandler
from litestar.types import Method

from seneca.http.app_state import Request
from seneca.http.endpoint import Endpoint
from seneca.http.responses import AsgiResponse, allow_header, empty_response


class UndeclaredRoute(RuntimeError):
    """A handler does not say who may call it: a bug."""


def make_routes(endpoints: Sequence[Endpoint]) -> list[HTTPRouteHandler]:
    """Make the routes of these endpoints.

    Raises:
        UndeclaredRoute: one of them is a handler without a declaration, which would be open to anyone.
        ValueError: two of them have the same method and path.

    """
    by_path: dict[str, dict[Method, Endpoint]] = {}
    for endpoint in endpoints:
        if not isinstance(endpoint, Endpoint):
            raise UndeclaredRoute(f"{endpoint} has no declaration: add @endpoint(…).")
        by_method = by_path.setdefault(endpoint.path, {})
        if endpoint.method in by_method:
            raise ValueError(f"{endpoint.method} {endpoint.path} is declared twice.")
        by_method[endpoint.method] = endpoint
    return [_make_route(path, by_method) for path, by_method in by_path.items()]


def _make_route(path: str, by_method: Mapping[Method, Endpoint]) -> HTTPRouteHandler:
    # The framework's status code is for values that it encodes itself. Its default for DELETE does not allow a response here.
    @route(path.replace("}", ":str}"), http_method=[*by_method, "OPTIONS"], status_code=200)
    async def respond(request: Request) -> AsgiResponse:
        endpoint = by_method.get(request.method)
        if endpoint is None:
            return empty_response(204, allow_header(by_method))
        return await endpoint.respond(request)

    return respond
