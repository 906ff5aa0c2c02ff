"""The methods of a path: the Allow header, and a route for OPTIONS on every path."""

from collections.abc import Iterable, Sequence

from litestar import route
from litestar.handlers import HTTPRouteHandler

from seneca.http.responses import Response, empty_response


def allow_header(methods: Iterable[str]) -> dict[str, str]:
    """The Allow header of a path with these methods. A path with GET also takes HEAD."""
    names = {"OPTIONS", *methods}
    return {"Allow": ", ".join(sorted(names | ({"HEAD"} if "GET" in names else set())))}


def options_routes(routes: Sequence[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """An OPTIONS route for each path of these routes.

    Register them before the routes themselves: otherwise the framework adds its own, which lists only the methods registered so far.
    """
    methods: dict[str, set[str]] = {}
    for handler in routes:
        for path in handler.paths:
            methods.setdefault(path, set()).update(handler.http_methods)
    return [_options_route(path, allow_header(names)) for path, names in methods.items()]


def _options_route(path: str, headers: dict[str, str]) -> HTTPRouteHandler:
    @route(path, http_method="OPTIONS", status_code=200)  # for the framework only; the response is a 204
    async def options() -> Response:
        return empty_response(204, headers)

    return options
