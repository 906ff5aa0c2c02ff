"""Decode JSON into types that check themselves, and say what is wrong with it: the field and the rule."""

from codecs import BOM_UTF8
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Final, TypeVar, cast

import msgspec

from seneca.common import json_errors, lenient_json
from seneca.errors import FieldError, InvalidInput, MalformedJson

T = TypeVar("T")

MAX_CONTAINERS: Final = 20_000
"""Lists and objects in a bad text, of which more than the first problem is told. No good one has as many."""


def decode(raw: bytes, kind: type[T], what: str = "The body") -> T:
    """JSON text as this type, with every rule checked. Raises as ``decode_types`` and ``check`` do."""
    value = decode_types(raw, kind, what)
    check(value, raw, kind)
    return value


def decode_types(raw: bytes, kind: type[T], what: str = "The body") -> T:
    """JSON text as this type. What types cannot say is not checked yet, unless the text breaks other rules.

    Args:
        raw: the text, in UTF-8.
        kind: the type.
        what: what the text is, as an error calls it.

    Raises:
        MalformedJson: it is not JSON text.
        InvalidInput: it is not of this type; every problem that was found is named, in the order of the text.

    """
    try:
        value: T = decoder(cast("Any", kind)).decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidInput(_problems(raw, kind) or [json_errors.explain(error)]) from None
    except RecursionError:
        raise MalformedJson(f"{what} is nested too deeply.") from None
    except UnicodeDecodeError:
        raise MalformedJson(f"{what} is not valid JSON: not UTF-8.") from None
    except msgspec.DecodeError as error:
        if raw.startswith(BOM_UTF8):
            raise MalformedJson(f"{what} must not start with a byte order mark.") from None
        if errors := _problems(raw, kind):
            raise InvalidInput(errors) from None
        raise MalformedJson(f"{what} is not valid JSON: {error}.") from None
    return value


def check(value: object, raw: bytes, kind: Any) -> None:
    """Check what types cannot say of a value from ``decode_types``: a struct's own ``find_errors``, NUL, names given twice.

    Raises:
        InvalidInput: every problem that was found is named, in the order of the text.

    """
    errors = json_errors.own_errors(value)
    try:
        document = lenient_json.parse(raw)
    except (ValueError, RecursionError):
        if not errors:
            raise MalformedJson("The JSON is nested too deeply.") from None
    else:
        if document.has_repeated_names or b"\\u0000" in raw:
            errors = json_errors.list_errors(document.value, kind, errors)
        elif errors:
            errors = json_errors.in_order(document.value, errors)
    if errors:
        raise InvalidInput(errors)


def _problems(raw: bytes, kind: Any) -> list[FieldError]:
    """Everything that a second, lenient look at a text finds; nothing where it cannot be read even so, or has too many parts."""
    if raw.count(b"[") + raw.count(b"{") > MAX_CONTAINERS:
        return []
    try:
        return json_errors.list_errors(lenient_json.parse(raw).value, kind)
    except (ValueError, RecursionError):
        return []


def convert(value: object, kind: type[T]) -> T:
    """A value that did not come as JSON, as this type, as ``decode`` does. Raises InvalidInput."""
    try:
        result = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(json_errors.list_errors(value, kind) or [json_errors.explain(error)]) from None
    if errors := json_errors.own_errors(result):
        raise InvalidInput(errors)
    return result


@cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """The decoder of a type. Numbers with a fraction or an exponent stay exact where the type leaves them open."""
    return msgspec.json.Decoder(kind, float_hook=_exact)


def _exact(literal: str) -> Decimal:
    try:
        return Decimal(literal)
    except InvalidOperation:  # an exponent of twenty digits
        raise ValueError("Number out of range") from None
