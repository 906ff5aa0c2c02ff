"""Which methods a path takes: OPTIONS answers it everywhere, and every 405 says it."""

from collections.abc import Iterable, Sequence

from litestar import route
from litestar.handlers import HTTPRouteHandler

from seneca.http.responses import JsonResponse, empty_response


def allowed(methods: Iterable[str]) -> dict[str, str]:
    """The Allow header of a path with these methods; every GET answers HEAD."""
    named = {"OPTIONS", *methods}
    return {"Allow": ", ".join(sorted(named | ({"HEAD"} if "GET" in named else set())))}


def options_routes(routes: Sequence[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """OPTIONS for the paths of these routes. To be registered before them, or the framework's own takes its place.

    The framework's own names only the methods that were registered with it.
    """
    methods: dict[str, set[str]] = {}
    for handler in routes:
        for path in handler.paths:
            methods.setdefault(path, set()).update(handler.http_methods)
    return [_options(path, allowed(names)) for path, names in methods.items()]


def _options(path: str, headers: dict[str, str]) -> HTTPRouteHandler:
    @route(path, http_method="OPTIONS", status_code=200)  # the framework's word only; the answer below is a 204
    async def options() -> JsonResponse:
        return empty_response(204, headers)

    return options
