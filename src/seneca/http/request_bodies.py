"""Read a JSON body: bounded, strict, and with errors that name the field and the rule."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from litestar import Request

from seneca.common.json_decoding import check, decode_types
from seneca.errors import MalformedJson, PayloadTooLarge, UnsupportedMediaType
from seneca.http.auth import check_query, check_still_signed_in
from seneca.http.endpoint import MAX_BODY_BYTES
from seneca.http.headers import header

T = TypeVar("T")


async def read(
    request: Request[Any, Any, Any],
    kind: type[T],
    most_bytes: int = MAX_BODY_BYTES,
    authorise: Callable[[T], Awaitable[None]] | None = None,
) -> T:
    """The body, as this type.

    Args:
        request: its request.
        kind: the type.
        most_bytes: how many it may have.
        authorise: whether the caller may do this depends on the body: called once its types are right, before other rules.

    Raises:
        PayloadTooLarge: it has more bytes.
        UnsupportedMediaType: it is announced as something else.
        MalformedJson: it is not JSON text, or broke off.
        RequestTimeout: it does not arrive in time.
        InvalidInput: it is not of this type; the field and the rule are named.

    """
    raw = await receive(request, most_bytes)
    check_media_type(header(request, b"content-type") or "")
    check_query(request)
    value = decode_types(raw, kind)
    if authorise is not None:
        await authorise(value)
    check(value, raw, kind)
    return value


async def receive(request: Request[Any, Any, Any], most_bytes: int) -> bytes:
    """The body's bytes.

    Raises:
        PayloadTooLarge: there are more.
        MalformedJson: it broke off, or was not framed as HTTP says: what came may be JSON, but not what was meant.
        Unauthenticated: the caller's sign-in ended while it was on its way.

    """
    announced = header(request, b"content-length") or ""
    if not (announced.isdecimal() and len(announced) < 20 and int(announced) > most_bytes):
        body = bytearray()
        while len(body) <= most_bytes:
            message: Any = await request.receive()
            if message["type"] == "http.disconnect":
                raise MalformedJson("The body broke off.")
            body += message.get("body", b"")
            if not message.get("more_body", False) and len(body) <= most_bytes:
                check_still_signed_in(request)
                return bytes(body)
    raise PayloadTooLarge(f"The body may have at most {most_bytes // 1024:,} KiB.")


def check_media_type(announced: str) -> None:
    """Check that the body is announced as JSON in UTF-8. Raises UnsupportedMediaType."""
    if announced == "application/json":
        return
    media_type, *parameters = (part.strip().lower() for part in announced.split(";"))
    charsets = [p.partition("=")[2].strip('"') for p in parameters if p.startswith("charset=")]
    is_json = media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    if not is_json or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise UnsupportedMediaType("The body must be JSON in UTF-8, with Content-Type: application/json.")
