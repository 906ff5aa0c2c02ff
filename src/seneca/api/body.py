"""Read a JSON body: bounded, strict, and with errors that name the field and the rule."""

import asyncio
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, TypeVar

import msgspec
from litestar import Request

from seneca.api.operation import MOST_BYTES
from seneca.errors import FieldError, Invalid, Malformed, NotJson, TooLarge
from seneca.text import RULES

T = TypeVar("T")
MOST_DROPPED = 16 * 1024 * 1024
DROP_SECONDS = 10


async def read(request: Request[Any, Any, Any], kind: type[T], most_bytes: int = MOST_BYTES) -> T:
    """The body, as this type.

    Raises:
        TooLarge: it has more bytes.
        NotJson: it is announced as something else.
        Malformed: it is not JSON text.
        Invalid: it is not of this type; the field and the rule are named.

    """
    raw = await receive(request, most_bytes)
    check_media_type(request.headers)
    return decode(raw, kind)


async def receive(request: Request[Any, Any, Any], most_bytes: int) -> bytes:
    """The body's bytes. One that is too large is read and dropped first, so that the client sees the answer."""
    announced = request.headers.get("content-length", "")
    chunks: list[bytes] = []
    size = int(announced) if announced.isdecimal() and len(announced) < 20 else 0
    if size <= most_bytes:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > most_bytes:
                break
            chunks.append(chunk)
        else:
            return b"".join(chunks)
    await drop(request)
    raise TooLarge(f"The body may have at most {most_bytes // 1024:,} KiB.")


async def drop(request: Request[Any, Any, Any]) -> None:
    """Read what is left of the body and forget it, up to a limit of bytes and of time."""
    size = 0
    try:
        async with asyncio.timeout(DROP_SECONDS):
            while size < MOST_DROPPED:
                message: Any = await request.receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        pass


def check_media_type(headers: Mapping[str, str]) -> None:
    """Check that the body is announced as JSON in UTF-8. Raises NotJson."""
    media_type, *parameters = (part.strip().lower() for part in headers.get("content-type", "").split(";"))
    charsets = [p.partition("=")[2].strip('"') for p in parameters if p.startswith("charset=")]
    is_json = media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    if not is_json or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise NotJson("The body must be JSON in UTF-8, with Content-Type: application/json.")


def decode(raw: bytes, kind: type[T]) -> T:
    """JSON text as this type.

    Raises:
        Malformed: it is not JSON text.
        Invalid: it is not of this type.

    """
    try:
        return decoder(kind).decode(raw)
    except msgspec.ValidationError as error:
        raise Invalid([explain(str(error))]) from None
    except RecursionError:
        raise Malformed("The body is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, msgspec.DecodeError) else "not UTF-8"
        raise Malformed(f"The body is not valid JSON: {reason}.") from None


@cache
def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """The decoder of a type. Numbers with a fraction or an exponent stay exact where the type leaves them open."""
    return msgspec.json.Decoder(kind, float_hook=_exact)


def _exact(literal: str) -> Decimal:
    try:
        return Decimal(literal)
    except InvalidOperation:  # an exponent of twenty digits
        raise ValueError("Number out of range") from None


_WHERE = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_FIELD = re.compile(r"(Object missing required field|Object contains unknown field) `(.*)`", re.DOTALL)
_TYPES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "uuid": "a UUID",
}
_SAID = {
    "Invalid UUID": "must be a UUID",
    "Invalid RFC3339 encoded datetime": "must be an ISO 8601 time in UTC",
}


def explain(message: str) -> FieldError:
    """A field and a rule, of what msgspec says."""
    where = _WHERE.search(message)
    path = where[1] if where else ""
    said = message[: where.start()] if where else message
    if match := _FIELD.fullmatch(said):
        field = f"{path}.{match[2]}" if path else match[2]
        return FieldError(field, "is required" if "missing" in match[1] else "is not a known member")
    return FieldError(path, _rule(said))


def _rule(said: str) -> str:
    if said in _SAID:
        return _SAID[said]
    if match := re.fullmatch(r"Expected `(str|array)` of length (<=|>=) (\d+)", said):
        unit = "characters" if match[1] == "str" else "entries"
        return f"must have {'at most' if match[2] == '<=' else 'at least'} {int(match[3]):,} {unit}"
    if match := re.fullmatch(r"Expected `str` matching regex '(.*)'", said, re.DOTALL):
        return RULES.get(
            match[1].encode().decode("unicode_escape") if match[1] not in RULES else match[1],
            said,
        )
    if match := re.fullmatch(r"Expected `([^`]*)`, got `([^`]*)`", said):
        wanted = " or ".join(_TYPES.get(name.strip(), name.strip()) for name in match[1].split("|"))
        return f"must be {wanted}, not {_TYPES.get(match[2], match[2])}"
    return said[:1].lower() + said[1:]
