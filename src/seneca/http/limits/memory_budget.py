"""Memory budgets for request bodies and large responses, however slow the clients are."""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from seneca.errors import ServiceUnavailable

T = TypeVar("T")

MEMORY_BUDGET = "memory_budget"
"""Key of the request's scope: the memory budget for large responses."""
MAX_RESERVED_BYTES: Final = 64 * 1024 * 1024
MIN_HOLD_SECONDS: Final = 1.0  # before a reservation can be evicted


class Reservation:
    """The bytes that one body or response holds, since when, and the timeout of the current wait for its client."""

    __slots__ = ("since", "size", "timeout")

    def __init__(self) -> None:
        self.size = 0
        self.since = 0.0
        self.timeout: asyncio.Timeout | None = None


class MemoryBudget:
    """The memory that one worker grants to arriving bodies, or to responses in transit.

    When it is used up, a new reservation evicts the oldest one that waits for its client, so that clients that stop reading or
    sending cannot block others.
    """

    def __init__(self, max_bytes: int = MAX_RESERVED_BYTES) -> None:
        self._available = max_bytes
        self._reservations: set[Reservation] = set()

    def reserve(self, reservation: Reservation, size: int, guaranteed: int = 0) -> None:
        """Add bytes to a reservation.

        Args:
            reservation: the reservation.
            size: the bytes to add.
            guaranteed: a reservation of up to this size in all is always granted.

        Raises:
            ServiceUnavailable: the budget is used up, and no reservation can be evicted.

        """
        now = asyncio.get_running_loop().time()
        while self._available < size and reservation.size + size > guaranteed:
            self._evict_slowest(now)
        self._available -= size
        reservation.size += size
        if reservation not in self._reservations:
            reservation.since = now
            self._reservations.add(reservation)

    def release(self, reservation: Reservation) -> None:
        """Return all bytes of a reservation to the budget. Idempotent."""
        self._available += reservation.size
        reservation.size = 0
        self._reservations.discard(reservation)

    def _evict_slowest(self, now: float) -> None:
        candidates = (r for r in self._reservations if r.timeout and not r.timeout.expired())
        slowest = min(candidates, key=lambda reservation: reservation.since, default=None)
        if slowest is None or slowest.timeout is None or now - slowest.since < MIN_HOLD_SECONDS:
            raise ServiceUnavailable("Too many large transfers are in progress. Try again.")
        slowest.timeout.reschedule(now)
        slowest.timeout = None
        self.release(slowest)


async def wait_for_client(reservation: Reservation, deadline: float, client: Awaitable[T]) -> T:
    """Wait for a client to send or to read something.

    Args:
        reservation: what the client holds during the wait; it can be evicted.
        deadline: by the event loop's clock, in seconds.
        client: the send or receive to await.

    Raises:
        TimeoutError: the deadline passed, or the reservation was evicted.

    """
    async with asyncio.timeout_at(deadline) as timeout:
        reservation.timeout = timeout
        try:
            return await client
        finally:
            reservation.timeout = None
