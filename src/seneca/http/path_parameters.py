"""Parameters in the path."""

from typing import Any

from litestar import Request

from seneca.common.ids import parse_uuid
from seneca.errors import InvalidInput


def text(request: Request[Any, Any, Any], name: str) -> str:
    """A path parameter, as it is."""
    value: str = request.path_params[name]
    if "\0" in value:
        raise InvalidInput.field(name, "must not contain the character NUL")
    return value


def identifier(request: Request[Any, Any, Any], name: str) -> str:
    """A path parameter that must be a UUID, in its stored form.

    Raises:
        InvalidInput: it is not one.

    """
    found = parse_uuid(request.path_params[name])
    if found is None:
        raise InvalidInput.field(name, "must be a UUID")
    return found
