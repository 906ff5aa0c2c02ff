"""Decode JSON into types that check themselves, and say what is wrong with it: the field and the rule."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from seneca.errors import FieldError, Invalid, Malformed
from seneca.text import RULES

T = TypeVar("T")


def decode(raw: bytes, kind: type[T], what: str = "The body") -> T:
    """JSON text as this type.

    Args:
        raw: the text, in UTF-8.
        kind: the type.
        what: what the text is, as a refusal calls it.

    Raises:
        Malformed: it is not JSON text.
        Invalid: it is not of this type.

    """
    try:
        value: T = decoder(cast("Any", kind)).decode(raw)
    except msgspec.ValidationError as error:
        raise Invalid([explain(str(error))]) from None
    except RecursionError:
        raise Malformed(f"{what} is nested too deeply.") from None
    except UnicodeDecodeError:
        raise Malformed(f"{what} is not valid JSON: not UTF-8.") from None
    except msgspec.DecodeError as error:
        if loose := not_strict(raw):
            raise Invalid([loose]) from None
        raise Malformed(f"{what} is not valid JSON: {error}.") from None
    return value


def not_strict(raw: bytes) -> FieldError | None:
    """Where a text that is no JSON would be if a lenient parser read it: NaN, Infinity, lone surrogates."""
    try:
        value = json.loads(raw, parse_constant=_Constant)
        return next(_loose(value, ""), None)
    except (ValueError, RecursionError):
        return None


class _Constant(str):
    """NaN, Infinity or -Infinity."""

    __slots__ = ()


def _loose(value: object, path: str) -> Iterator[FieldError]:
    if isinstance(value, _Constant):
        yield FieldError(path, f"must be a finite number, not {value}")
    elif isinstance(value, str) and not _is_text(value):
        yield FieldError(path, "must not contain lone surrogates")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _loose(entry, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, member in value.items():
            if _is_text(name):
                yield from _loose(member, f"{path}.{name}" if path else name)
            else:
                yield FieldError(path, "must not have lone surrogates in a member's name")


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def convert(value: object, kind: type[T]) -> T:
    """A value that did not come as JSON, as this type. Raises Invalid."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Invalid([explain(str(error))]) from None


@cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
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
