"""Names that no other test has."""

import itertools
import os

PREFIX = f"p{os.getpid()}n"
"""What every name of this process contains, and no identifier does: ``p`` and ``n`` are not hexadecimal digits."""

_numbers = itertools.count(1)


def unique(stem: str) -> str:
    """Make a name that no other test has, and that no other name begins with."""
    return f"{stem}-{PREFIX}{next(_numbers):06}"
