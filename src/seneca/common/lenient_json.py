"""A lenient JSON parser. It marks NaN and repeated member names, which are invalid, so that errors can name them."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from seneca.errors import MAX_ERRORS


class NonFinite:
    """NaN, Infinity or -Infinity, which Python's parser accepts and JSON forbids."""

    def __init__(self, literal: str) -> None:
        self.literal = literal


class RepeatedMembers:
    """An object with repeated member names."""

    def __init__(self, members: dict[str, object], pairs: Sequence[tuple[str, object]]) -> None:
        self.members = members
        self._pairs = pairs

    def names(self) -> list[str]:
        """List the repeated names, in the order of their first occurrence."""
        counts = Counter(name for name, _ in self._pairs)
        return [name for name in self.members if counts[name] > 1]


_decoder: Final = msgspec.json.Decoder()
_encoder: Final = msgspec.json.Encoder()
_ESCAPED_QUOTE: Final = b"\\u0022"
_CONSTANTS: Final = {literal: NonFinite(literal) for literal in ("NaN", "Infinity", "-Infinity")}


class Document(Struct, frozen=True):
    """A parsed JSON text."""

    value: object
    has_repeated_names: bool


def may_repeat_names(raw: bytes) -> bool:
    """Whether a valid JSON text may have an object with repeated names. False is certain, and found faster than by ``parse``.

    Decoding keeps one member of each name, so encoding the value again gives fewer quotes than the text has if names repeat. A quote
    that was written as an escaped number could make up for them.
    """
    if b"\\" in raw and _ESCAPED_QUOTE in raw:
        return True
    try:
        return raw.count(b'"') != _encoder.encode(_decoder.decode(raw)).count(b'"')
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return True


def parse(raw: bytes) -> Document:
    """Parse a text as Python's parser does, marking invalid values.

    Raises:
        ValueError: the text is not UTF-8, or not JSON even to Python's parser.
        RecursionError: the text is nested too deeply.

    """
    repeated: list[RepeatedMembers] = []

    def members(pairs: list[tuple[str, object]]) -> object:
        members = dict(pairs)
        if len(members) == len(pairs) or len(repeated) == MAX_ERRORS:
            return members
        repeated.append(RepeatedMembers(members, pairs))
        return repeated[-1]

    text = raw.decode()
    constant = _CONSTANTS.__getitem__
    try:
        value = json.loads(text, parse_constant=constant, object_pairs_hook=members)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer with more digits than Python converts
        value = json.loads(text, parse_constant=constant, object_pairs_hook=members, parse_int=float)
    return Document(value, bool(repeated))
