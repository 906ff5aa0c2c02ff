"""Read a request: headers, path parameters, query parameters, and the bytes of its body."""

from collections.abc import Sequence
from typing import Any

from seneca.common.ids import parse_uuid
from seneca.errors import InvalidInput, MalformedJson, PayloadTooLarge, UnsupportedMediaType
from seneca.http.app_state import Connection, Request


def header(connection: Connection, name: bytes) -> str | None:
    """The first header of this lower-case name, or None.

    ``connection.headers`` would decode every header of the request.
    """
    for key, value in connection.scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


def path_text(request: Request, name: str) -> str:
    """A path parameter, unchanged. Raises InvalidInput if it contains NUL."""
    value: str = request.path_params[name]
    if "\0" in value:
        raise InvalidInput.field(name, "must not contain the character NUL")
    return value


def path_uuid(request: Request, name: str) -> str:
    """A path parameter that must be a UUID, in the form in which ids are stored. Raises InvalidInput."""
    value = parse_uuid(request.path_params[name])
    if value is None:
        raise InvalidInput.field(name, "must be a UUID")
    return value


def check_query(request: Request, names: Sequence[str]) -> None:
    """Raise InvalidInput for a query parameter that is none of these, or that is repeated."""
    if request.scope["query_string"]:
        for name in request.query_params:
            if name not in names:
                raise InvalidInput.field(name, "is not a query parameter of this path")
            if len(request.query_params.getall(name)) > 1:
                raise InvalidInput.field(name, "must be given once")


async def read_bytes(request: Request, max_bytes: int) -> bytes:
    """The body's bytes.

    Raises:
        PayloadTooLarge: there are more than ``max_bytes``.
        MalformedJson: the body is incomplete or its framing is invalid. The bytes so far could be valid JSON all the same.
        RequestTimeout: it does not arrive in time.

    """
    content_length = header(request, b"content-length") or ""
    if not (content_length.isdecimal() and len(content_length) < 20 and int(content_length) > max_bytes):
        body = bytearray()
        while len(body) <= max_bytes:
            message: Any = await request.receive()
            if message["type"] == "http.disconnect":
                raise MalformedJson("The request body is incomplete.")
            body += message.get("body", b"")
            if not message.get("more_body", False) and len(body) <= max_bytes:
                return bytes(body)
    raise PayloadTooLarge(f"The body may have at most {max_bytes // 1024:,} KiB.")


def query_uuid(request: Request, name: str) -> str | None:
    """A query parameter that must be a UUID, in the form in which ids are stored; None if it is missing. Raises InvalidInput."""
    text = request.query_params.get(name)
    if text is None:
        return None
    value = parse_uuid(text)
    if value is None:
        raise InvalidInput.field(name, "must be a UUID")
    return value


def check_media_type(content_type: str) -> None:
    """Raise UnsupportedMediaType unless the Content-Type is JSON in UTF-8."""
    if content_type == "application/json":
        return
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [p.partition("=")[2].strip('"') for p in parameters if p.startswith("charset=")]
    is_json = media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    if not is_json or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise UnsupportedMediaType("The body must be JSON in UTF-8, with Content-Type: application/json.")
