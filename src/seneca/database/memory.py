"""What a process remembers of a database, where it can tell from a row just read that it is still so."""

from collections.abc import Callable, Hashable
from typing import Final

MOST_TEXTS: Final = 250_000  # over all lists, some 25 MB


class Memory:
    """Lists of texts, each under a key, good for one version of what it was read from."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[int, list[str]]] = {}
        self._texts = 0

    def recall(self, key: Hashable, version: int, read: Callable[[], list[str]]) -> list[str]:
        """The list under this key at this version, read if another version, or none, is known.

        Args:
            key: what the list is of.
            version: which state of it is asked for: read in the same transaction in which ``read`` would be called.
            read: reads the list.

        """
        known = self._known.get(key)
        if known is not None and known[0] == version:
            return known[1]
        texts = read()
        self._texts += len(texts) + 1
        if self._texts > MOST_TEXTS:
            self._known.clear()
            self._texts = len(texts) + 1
        self._known[key] = version, texts
        return texts
