"""Decode JSON into types that validate themselves; errors name the field and the rule."""

from codecs import BOM_UTF8
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Final, TypeVar, cast

import msgspec

from seneca.common import json_errors, lenient_json
from seneca.errors import FieldError, InvalidInput, MalformedJson

T = TypeVar("T")

MAX_CONTAINERS: Final = 20_000
"""In an invalid text with more lists and objects, only the first error is reported. No valid text has as many."""


def decode(raw: bytes, kind: type[T], what: str = "The body") -> T:
    """Decode JSON as a type, and check every rule. Raises as ``decode_types`` and ``check`` do."""
    value = decode_types(raw, kind, what)
    check(value, raw, kind)
    return value


def decode_types(raw: bytes, kind: type[T], what: str = "The body") -> T:
    """Decode JSON as a type. If that succeeds, the rules that types cannot express remain for ``check``.

    Args:
        raw: the text, in UTF-8.
        kind: the type.
        what: the name of the text in errors.

    Raises:
        MalformedJson: the text is not JSON.
        InvalidInput: the text does not fit the type. All errors that were found are listed, in the order of the text.

    """
    try:
        value: T = decoder(cast("Any", kind)).decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidInput(_find_errors(raw, kind) or [json_errors.parse_validation_error(error)]) from None
    except RecursionError:
        raise MalformedJson(f"{what} is nested too deeply.") from None
    except UnicodeDecodeError:
        raise MalformedJson(f"{what} is not valid JSON: not UTF-8.") from None
    except msgspec.DecodeError as error:
        if raw.startswith(BOM_UTF8):
            raise MalformedJson(f"{what} must not start with a byte order mark.") from None
        if errors := _find_errors(raw, kind):
            raise InvalidInput(errors) from None
        raise MalformedJson(f"{what} is not valid JSON: {error}.") from None
    return value


def check(value: object, raw: bytes, kind: Any) -> None:
    """Check the rules that types cannot express: a struct's own ``find_errors``, NUL characters, repeated member names.

    Args:
        value: the result of ``decode_types``.
        raw: the text it was decoded from.
        kind: the type.

    Raises:
        InvalidInput: all errors that were found are listed, in the order of the text.

    """
    _check(json_errors.own_errors(value), raw, kind)


def check_text(raw: bytes, kind: Any) -> None:
    """As ``check``, of a value whose own rules are known to hold."""
    _check([], raw, kind)


def _check(errors: list[FieldError], raw: bytes, kind: Any) -> None:
    has_nul = b"\\" in raw and b"\\u0000" in raw  # to look for one byte is faster
    if not errors and not has_nul and not lenient_json.may_repeat_names(raw):
        return
    try:
        document = lenient_json.parse(raw)
    except (ValueError, RecursionError):
        if not errors:
            raise MalformedJson("The JSON is nested too deeply.") from None
    else:
        if document.has_repeated_names or has_nul:
            errors = json_errors.list_errors(document.value, kind, errors)
        elif errors:
            errors = json_errors.sort_errors(document.value, errors)
    if errors:
        raise InvalidInput(errors)


def _find_errors(raw: bytes, kind: Any) -> list[FieldError]:
    """Parse the text again, leniently, and list all errors; none if even that fails, or if the text has too many containers."""
    if raw.count(b"[") + raw.count(b"{") > MAX_CONTAINERS:
        return []
    try:
        return json_errors.list_errors(lenient_json.parse(raw).value, kind)
    except (ValueError, RecursionError):
        return []


def convert(value: object, kind: type[T]) -> T:
    """Convert a value that was not JSON to a type, with the checks of ``decode``. Raises InvalidInput."""
    try:
        result = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            json_errors.list_errors(value, kind) or [json_errors.parse_validation_error(error)]
        ) from None
    if errors := json_errors.own_errors(result):
        raise InvalidInput(errors)
    return result


@cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return the cached decoder of a type. Where the type is open, numbers with a fraction or an exponent become ``Decimal``."""
    return msgspec.json.Decoder(kind, float_hook=_exact)


def _exact(literal: str) -> Decimal:
    try:
        return Decimal(literal)
    except InvalidOperation:  # an exponent of twenty digits
        raise ValueError("Number out of range") from None
