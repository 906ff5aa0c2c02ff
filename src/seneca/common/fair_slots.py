"""Share a limited number of slots fairly between accounts."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSlots:
    """A semaphore that grants slots round-robin by account.

    A free slot goes to the waiting account that holds the fewest; among equals, to the one that was served longest ago. So an
    account waits for at most one job of another account, however much that one requests.

    Args:
        slots: how many jobs may run at once.

    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def slot(self, account: str) -> AsyncIterator[None]:
        """Hold a slot while the block runs."""
        await self._acquire(account)
        try:
            yield
        finally:
            self._release(account)

    async def _acquire(self, account: str) -> None:
        if self._free:
            self._free -= 1
            self._held[account] += 1
            return
        grant: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, deque()).append(grant)
        try:
            await grant
        except asyncio.CancelledError:
            if grant.done() and not grant.cancelled():  # granted and cancelled at the same time
                self._release(account)
            raise

    def _release(self, account: str) -> None:
        self._held[account] -= 1
        if not self._held[account]:
            del self._held[account]
        if account in self._waiting:
            self._waiting[account] = self._waiting.pop(account)  # to the end: this account was served last
        self._free += 1
        while self._waiting and self._free:
            next_account = min(self._waiting, key=lambda waiting: self._held[waiting])
            grants = self._waiting.pop(next_account)
            grant = grants.popleft()
            if grants:
                self._waiting[next_account] = grants  # to the end
            if not grant.done():  # not cancelled
                self._free -= 1
                self._held[next_account] += 1
                grant.set_result(None)
