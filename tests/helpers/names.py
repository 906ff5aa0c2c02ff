"""Names that no other test has."""

import itertools
import os

_numbers = itertools.count(1)


def unique(stem: str) -> str:
    """Make a name that no other test has."""
    return f"{stem}-{os.getpid()}-{next(_numbers)}"
