"""What a process remembers of a database, where it can tell from a row just read that it is still so."""

import sys
from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Final

MAX_BYTES: Final = 32 * 1024 * 1024
ENTRY_BYTES: Final = 300  # about what an entry takes beside its texts


class Cache:
    """Lists of texts, each under a key, good for one version of what it was read from.

    Where they would take more than ``max_bytes``, those that were not used for the longest time are dropped.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, tuple[Hashable, list[str], int]] = OrderedDict()
        self._lock = Lock()
        self.bytes = 0
        """About what all of it takes."""

    def find(self, key: Hashable, version: Hashable) -> list[str] | None:
        """The list under this key at this version, or None: it is not remembered."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry[0] != version:
                return None
            self._entries.move_to_end(key)
            return entry[1]

    def keep(self, key: Hashable, version: Hashable, texts: list[str]) -> None:
        """Remember a list in place of an older version of it. One that is larger than all may be is not remembered."""
        size = ENTRY_BYTES + sys.getsizeof(texts) + sum(map(sys.getsizeof, texts))
        with self._lock:
            self._drop(key)
            if size > self._max_bytes:
                return
            while self.bytes + size > self._max_bytes:
                self._drop(next(iter(self._entries)))
            self._entries[key] = version, texts, size
            self.bytes += size

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry[2]
