"""List the errors of a JSON text that does not fit its type: each field and the rule it breaks, in the order of the text.

All input here is invalid and may be hostile, so the cost must be bounded for every text. A lenient parser parses the text
again, and the result is compared with the type from the outside in. Compiled code skips the values that fit; only members that
the type declares, and as many entries as a list may have, are visited one by one. No path gets deeper than the type, and
the search ends at ``MAX_ERRORS``.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from operator import itemgetter
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, ValidationError

from seneca.common.lenient_json import NonFinite, RepeatedMembers
from seneca.common.text_types import NO_NUL, RULES, FieldRuleError
from seneca.errors import MAX_ERRORS, FieldError

Position = tuple[int, ...]
"""The position of a value: its index among the members or entries, on each level. Sorts in the order of the text."""


# -- the search --------------------------------------------------------------------------------


class _LimitReached(Exception):
    """``MAX_ERRORS`` errors have been found: stop the search."""


def own_errors(value: object) -> list[FieldError]:
    """Call a struct's own ``find_errors``, if it has one. Members with a wrong type are UNSET there."""
    find_errors: Callable[[], Iterator[FieldError]] | None = getattr(value, "find_errors", None)
    return list(find_errors()) if find_errors else []


def sort_errors(document: object, errors: Sequence[FieldError]) -> list[FieldError]:
    """Sort errors by their position in the document."""
    return [error for _, error in sorted(_located(document, errors), key=itemgetter(0))]


def list_errors(document: object, kind: Any, own: Sequence[FieldError] | None = None) -> list[FieldError]:
    """List the errors of a parsed document that does not fit a type; none if only the text itself was malformed.

    Args:
        document: from ``lenient_json.parse``.
        kind: the type.
        own: the struct's ``own_errors``, if already known.

    """
    search = _Search()
    try:
        value = search.value(document, kind, "", ())
    except _LimitReached:
        return [error for _, error in search.errors]
    fields = {error.field for _, error in search.errors}
    own = [error for error in (own_errors(value) if own is None else own) if error.field not in fields]
    return [error for _, error in sorted(search.errors + _located(document, own), key=itemgetter(0))]


class _Search:
    """The comparison of a document with a type, and the errors found so far."""

    def __init__(self) -> None:
        self.errors: list[tuple[Position, FieldError]] = []

    def add(self, position: Position, field: str, rule: str) -> None:
        self.errors.append((position, FieldError(field, rule)))
        if len(self.errors) == MAX_ERRORS:
            raise _LimitReached

    def value(self, value: object, kind: Any, path: str, position: Position) -> object:
        """Convert a value to its type. Each wrong part is recorded as an error, and is UNSET in the result."""
        if kind is msgspec.Raw:  # the receiver decodes and checks it
            return value
        try:
            result = msgspec.convert(value, kind)
            encoded = msgspec.json.encode(result)  # NaN and lone surrogates fail, which a type lets through
            if b"\\u0000" not in encoded or not _NUL.search(encoded):
                return result
            conversion_error = None
        except (ValidationError, TypeError, UnicodeEncodeError) as error:
            conversion_error = None if str(error).startswith(_EXPECTED_RAW) else error
        count_before = len(self.errors)
        if isinstance(value, RepeatedMembers):
            positions = {name: index for index, name in enumerate(value.members)}
            for name in value.names():
                self.add((*position, positions[name]), _joined(path, name), "must not be repeated")
            value = value.members
        narrowed, meta = _narrowed(kind, value)
        result = UNSET
        if isinstance(value, dict) and isinstance(narrowed, type) and issubclass(narrowed, Struct):
            result = self.members(value, narrowed, path, position)
        elif isinstance(value, list) and get_origin(narrowed) is list:
            result = self.entries(value, narrowed, meta, path, position)
        elif rule := _text_rule(value):
            self.add(position, path, rule)
        if len(self.errors) == count_before and isinstance(conversion_error, ValidationError):
            error_of_type = parse_validation_error(conversion_error)
            field = _joined(path, error_of_type.field) if error_of_type.field else path
            self.add(position, field, _literals(narrowed) or error_of_type.message)
        return result

    def members(self, value: dict[str, object], kind: type[Struct], path: str, position: Position) -> object:
        """Convert an object to a struct, in which wrong and missing members are UNSET."""
        fields = _fields(kind)
        config = kind.__struct_config__
        members: dict[str, object] = {}
        for index, (name, member) in enumerate(value.items()):
            if field := fields.get(name):
                members[field.name] = self.value(member, field.type, _joined(path, name), (*position, index))
            elif config.forbid_unknown_fields and name != config.tag_field:
                self.add((*position, index), _joined(path, name), "is not a known member")
        for field in fields.values():
            if field.required and field.encode_name not in value:
                self.add((*position, len(value)), _joined(path, field.encode_name), "is required")
                members[field.name] = UNSET
        try:
            return kind(**members)
        except FieldRuleError as error:
            self.add(position, _joined(path, error.field), error.rule)
            return UNSET

    def entries(self, value: list[object], kind: Any, meta: Meta, path: str, position: Position) -> object:
        """Convert at most as many entries of a list as it may have. Wrong entries are UNSET."""
        (entry_kind,) = get_args(kind)
        if meta.min_length is not None and len(value) < meta.min_length:
            self.add(position, path, _length_rule("array", ">=", meta.min_length))
        if meta.max_length is not None and len(value) > meta.max_length:
            self.add(position, path, _length_rule("array", "<=", meta.max_length))
        return [
            self.value(entry, entry_kind, f"{path}[{index}]", (*position, index))
            for index, entry in enumerate(islice(value, meta.max_length))
        ]


_EXPECTED_RAW: Final = "Expected `raw`"  # decoded values are never raw
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def _text_rule(value: object) -> str | None:
    """Return the rule that a value breaks whatever its type, if any."""
    if isinstance(value, NonFinite):
        return f"must be a finite number, not {value.literal}"
    if isinstance(value, str):
        if "\0" in value:
            return RULES[NO_NUL]
        try:
            value.encode()
        except UnicodeEncodeError:
            return "must not contain lone surrogates"
    return None


@cache
def _fields(kind: type[Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _narrowed(kind: Any, value: object) -> tuple[Any, Meta]:
    """Narrow a declared type to the alternative that the JSON value was meant to be; return it with its declared bounds."""
    meta = Meta()
    while get_origin(kind) is Annotated:
        kind, *declared = get_args(kind)
        meta = next((each for each in declared if isinstance(each, Meta)), meta)
    if get_origin(kind) not in (Union, UnionType):
        return kind, meta
    choices = [choice for choice in get_args(kind) if choice not in (UnsetType, type(None))]
    if len(choices) > 1 and isinstance(value, dict):
        choices = [choice for choice in choices if _may_be(choice, value)]
    return _narrowed(choices[0], value) if len(choices) == 1 else (kind, meta)


def _may_be(kind: Any, value: dict[str, object]) -> bool:
    """Whether an object can be meant as this struct: its tag matches, or the struct has none."""
    if not (isinstance(kind, type) and issubclass(kind, Struct)):
        return False
    config = kind.__struct_config__
    return config.tag_field is None or value.get(config.tag_field) == config.tag


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


_STEP: Final = re.compile(r"[^.\[\]]+")


def _located(document: object, errors: Sequence[FieldError]) -> list[tuple[Position, FieldError]]:
    """Pair errors with the positions of their fields."""
    orders: dict[int, dict[str, int]] = {}

    def position(field: str) -> Iterator[int]:
        value = document
        for step in _STEP.findall(field):
            value = value.members if isinstance(value, RepeatedMembers) else value
            if isinstance(value, dict):
                if id(value) not in orders:
                    orders[id(value)] = {name: index for index, name in enumerate(value)}
                yield orders[id(value)].get(step, len(value))
                value = value.get(step)
            elif isinstance(value, list) and step.isdecimal():
                yield int(step)
                value = value[int(step)] if int(step) < len(value) else None

    return [(tuple(position(error.field)), error) for error in errors]


# -- msgspec's messages as rules ---------------------------------------------------------------

_PATH = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_FIELD = re.compile(r"(Object missing required field|Object contains unknown field) `(.*)`", re.DOTALL)
_TYPES = {
    "str": "a string",
    "date": "a date",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "RepeatedMembers": "an object",
    "NonFinite": "a number that is not finite",
}


def parse_validation_error(error: ValidationError) -> FieldError:
    """Parse msgspec's message into a field and a rule."""
    message = str(error)
    path_match = _PATH.search(message)
    path = path_match[1] if path_match else ""
    if isinstance(cause := error.__cause__, FieldRuleError):
        return FieldError(_joined(path, cause.field), cause.rule)
    problem = message[: path_match.start()] if path_match else message
    if match := _FIELD.fullmatch(problem):
        return FieldError(_joined(path, match[2]), "is required" if "missing" in match[1] else "is not a known member")
    return FieldError(path, _rule(problem))


def _rule(problem: str) -> str:
    if match := re.fullmatch(r"Expected `(str|array)` of length (<=|>=) (\d+)", problem):
        return _length_rule(match[1], match[2], int(match[3]))
    if match := re.fullmatch(r"Expected `[^`]*` (<=|>=) ([\d.]+)", problem):
        return f"must be at {'most' if match[1] == '<=' else 'least'} {float(match[2]):,.12g}"
    if problem == "Invalid RFC3339 encoded date":
        return "must be a date such as 2026-11-23"
    if match := re.fullmatch(r"Expected `str` matching regex '(.*)'", problem, re.DOTALL):
        pattern = match[1] if match[1] in RULES else match[1].encode().decode("unicode_escape")
        return RULES.get(pattern, problem)
    if match := re.fullmatch(r"Expected `([^`]*)`, got `([^`]*)`", problem):
        expected = " or ".join(_TYPES.get(name.strip(), name.strip()) for name in match[1].split("|"))
        return f"must be {expected}, not {_TYPES.get(match[2], match[2])}"
    return problem[:1].lower() + problem[1:]


def _length_rule(kind: str, comparison: str, length: int) -> str:
    unit = {"str": "character", "array": "entr"}[kind]
    ending = {"str": ("", "s"), "array": ("y", "ies")}[kind][length != 1]
    return f"must have {'at most' if comparison == '<=' else 'at least'} {length:,} {unit}{ending}"


def _literals(kind: Any) -> str | None:
    """Describe the values of a Literal type as a rule."""
    if get_origin(kind) is not Literal:
        return None
    return f"must be one of {', '.join(map(str, get_args(kind)))}"
