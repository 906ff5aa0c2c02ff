"""Share the threads for long reads fairly: at most so many run at once, and of those that wait the least served account is next."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSlots:
    """Slots for work that takes long, given to waiting accounts in turn.

    A slot that becomes free goes to the account that holds the fewest, of several such to the one that was
    served longest ago: so one account waits for at most the piece of work that another one has begun, however much that one asks for.

    Args:
        slots: how many pieces of work run at once.

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
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came at the same moment
                self._release(account)
            raise

    def _release(self, account: str) -> None:
        self._held[account] -= 1
        if not self._held[account]:
            del self._held[account]
        if account in self._waiting:
            self._waiting[account] = self._waiting.pop(account)  # behind the others: it was served just now
        self._free += 1
        while self._waiting and self._free:
            next_account = min(self._waiting, key=lambda waiting: self._held[waiting])
            turns = self._waiting.pop(next_account)
            turn = turns.popleft()
            if turns:
                self._waiting[next_account] = turns  # behind all others
            if not turn.done():  # its client has not gone
                self._free -= 1
                self._held[next_account] += 1
                turn.set_result(None)
