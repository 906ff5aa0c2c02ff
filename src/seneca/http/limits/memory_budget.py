"""Room for what is on its way in or out: bounded in memory and in time, however slow the clients are."""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from seneca.errors import ServiceUnavailable

T = TypeVar("T")

MEMORY_BUDGET = "room"
"""Where a request's scope has the room for large answers."""
MAX_RESERVED_BYTES: Final = 64 * 1024 * 1024
MIN_HOLD_SECONDS: Final = 1.0  # seconds that everybody is granted, however many wait


class Reservation:
    """What one body or answer holds of a room: bytes, since when, and how long its client is waited for just now."""

    __slots__ = ("limit", "since", "size")

    def __init__(self) -> None:
        self.size = 0
        self.since = 0.0
        self.limit: asyncio.Timeout | None = None


class MemoryBudget:
    """The memory that one worker grants to bodies that are arriving, or to answers that are being read.

    When it is full, a newcomer takes the place of whoever has kept it longest and is being waited for, so that clients
    that stop reading or sending cannot keep others out.
    """

    def __init__(self, most_bytes: int = MAX_RESERVED_BYTES) -> None:
        self._left = most_bytes
        self._shares: set[Reservation] = set()

    def reserve(self, share: Reservation, size: int, free: int = 0) -> None:
        """Let a share hold so many bytes more. Up to ``free`` bytes in all it always may.

        Raises:
            ServiceUnavailable: the room is full of others that have only just come.

        """
        now = asyncio.get_running_loop().time()
        while self._left < size and share.size + size > free:
            self._evict_slowest(now)
        self._left -= size
        share.size += size
        if share not in self._shares:
            share.since = now
            self._shares.add(share)

    def release(self, share: Reservation) -> None:
        """Take back all that a share holds. Once is enough, twice does no harm."""
        self._left += share.size
        share.size = 0
        self._shares.discard(share)

    def _evict_slowest(self, now: float) -> None:
        waited_for = (share for share in self._shares if share.limit and not share.limit.expired())
        slow = min(waited_for, key=lambda share: share.since, default=None)
        if slow is None or slow.limit is None or now - slow.since < MIN_HOLD_SECONDS:
            raise ServiceUnavailable("Too much is on its way to others. Try again.")
        slow.limit.reschedule(now)
        slow.limit = None
        self.release(slow)


async def wait_for_client(share: Reservation, until: float, client: Awaitable[T]) -> T:
    """Wait for a client to send or to read something.

    Args:
        share: what is held for it meanwhile.
        until: by the event loop's clock.
        client: what is waited for.

    Raises:
        TimeoutError: it took longer, or another needs the room more.

    """
    async with asyncio.timeout_at(until) as limit:
        share.limit = limit
        try:
            return await client
        finally:
            share.limit = None
