"""Pages of lists: their entries, the cursor of the next page, and their maximum size on the wire."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T")
C = TypeVar("C")

MAX_PAGE_BYTES: Final = 8 * 1024 * 1024

_encoder: Final = msgspec.json.Encoder(decimal_format="number")


class Page(Struct, Generic[T, C], frozen=True):
    """One page of a list. ``next_cursor`` is None on the last page."""

    items: list[T]
    next_cursor: C | None


def iterate(read: Callable[[C], Page[T, C]], first: C) -> Iterator[T]:
    """Iterate over a whole list in the memory of one page.

    Args:
        read: reads the page after a position.
        first: the position before the first entry.

    """
    after: C | None = first
    while after is not None:
        page = read(after)
        yield from page.items
        after = page.next_cursor


def count_fitting(entries: Sequence[object]) -> int:
    """Count the leading entries whose JSON fits into a page. The first entry always counts."""
    size = 2  # the brackets
    for number, entry in enumerate(entries):
        size += len(_encoder.encode(entry)) + 1
        if size > MAX_PAGE_BYTES and number:
            return number
    return len(entries)
