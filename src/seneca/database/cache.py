"""An LRU cache of lists of texts. Each entry has a version; a row that was just read tells which version is current."""

import sys
from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Final

MAX_BYTES: Final = 32 * 1024 * 1024
ENTRY_OVERHEAD_BYTES: Final = 300  # approximate size of an entry without its texts


class Cache:
    """Lists of texts by key, each valid for one version of its source.

    The least recently used entries are evicted once all of them would take more than ``max_bytes``.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, tuple[Hashable, list[str], int]] = OrderedDict()
        self._lock = Lock()
        self.bytes = 0
        """The approximate size of all entries."""

    def get(self, key: Hashable, version: Hashable) -> list[str] | None:
        """The list of this key and version, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry[0] != version:
                return None
            self._entries.move_to_end(key)
            return entry[1]

    def put(self, key: Hashable, version: Hashable, texts: list[str]) -> None:
        """Store a list, which replaces an older version. A list that is larger than the whole cache is not stored."""
        size = ENTRY_OVERHEAD_BYTES + sys.getsizeof(texts) + sum(map(sys.getsizeof, texts))
        with self._lock:
            self._remove(key)
            if size > self._max_bytes:
                return
            while self.bytes + size > self._max_bytes:
                self._remove(next(iter(self._entries)))
            self._entries[key] = version, texts, size
            self.bytes += size

    def _remove(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry[2]
