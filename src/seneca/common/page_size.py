"""A page of a list has at most 8 MiB, as it is sent."""

from collections.abc import Sequence
from typing import Final

import msgspec

MAX_PAGE_BYTES: Final = 8 * 1024 * 1024

_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def fitting(entries: Sequence[object]) -> int:
    """How many of these entries fit into a page, encoded as JSON; the first one always does."""
    size = 2  # the brackets
    for number, entry in enumerate(entries):
        size += len(_encoder.encode(entry)) + 1
        if size > MAX_PAGE_BYTES and number:
            return number
    return len(entries)
