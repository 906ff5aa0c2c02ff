"""Read a request: headers, path parameters, and a JSON body with a size limit and errors that name field and rule."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from litestar import Request

from seneca.common.ids import parse_uuid
from seneca.common.json_decoding import check, decode_types
from seneca.errors import InvalidInput, MalformedJson, PayloadTooLarge, UnsupportedMediaType
from seneca.http.app_state import Connection
from seneca.http.auth import check_still_signed_in
from seneca.http.endpoint import MAX_BODY_BYTES, check_query

T = TypeVar("T")


def header(connection: Connection, name: bytes) -> str | None:
    """The first header of this lower-case name, or None.

    ``connection.headers`` would decode every header of the request.
    """
    for key, value in connection.scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


def path_text(request: Request[Any, Any, Any], name: str) -> str:
    """A path parameter, unchanged. Raises InvalidInput if it contains NUL."""
    value: str = request.path_params[name]
    if "\0" in value:
        raise InvalidInput.field(name, "must not contain the character NUL")
    return value


def path_uuid(request: Request[Any, Any, Any], name: str) -> str:
    """A path parameter that must be a UUID, in the form in which ids are stored. Raises InvalidInput."""
    value = parse_uuid(request.path_params[name])
    if value is None:
        raise InvalidInput.field(name, "must be a UUID")
    return value


async def read_body(
    request: Request[Any, Any, Any],
    body_type: type[T],
    max_bytes: int = MAX_BODY_BYTES,
    authorise: Callable[[T], Awaitable[None]] | None = None,
) -> T:
    """The JSON body, decoded and validated.

    Args:
        request: the request.
        body_type: the type to decode.
        max_bytes: the largest body to accept.
        authorise: called where authorisation depends on the body, after its types and before its other rules are checked.

    Raises:
        PayloadTooLarge: the body is larger than ``max_bytes``.
        UnsupportedMediaType: its media type is not JSON.
        MalformedJson: it is not JSON, or it is incomplete.
        RequestTimeout: it does not arrive in time.
        InvalidInput: it does not match the type; the error names each field and rule.

    """
    raw = await read_bytes(request, max_bytes)
    check_media_type(header(request, b"content-type") or "")
    check_query(request)
    value = decode_types(raw, body_type)
    if authorise is not None:
        await authorise(value)
    check(value, raw, body_type)
    return value


async def read_bytes(request: Request[Any, Any, Any], max_bytes: int) -> bytes:
    """The body's bytes.

    Raises:
        PayloadTooLarge: there are more than ``max_bytes``.
        MalformedJson: the body is incomplete or its framing is invalid. The bytes so far could be valid JSON all the same.
        Unauthenticated: the caller's sign-in ended while the body was arriving.

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
                check_still_signed_in(request)
                return bytes(body)
    raise PayloadTooLarge(f"The body may have at most {max_bytes // 1024:,} KiB.")


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
