"""Taking turns: of one account's long answers a few are made and read at a time, the others wait."""

import asyncio
from typing import Final
from weakref import WeakValueDictionary

from seneca.errors import ServiceUnavailable

ACCOUNT_LIMITER = "turns"
"""Where a request's scope has the turns of this worker."""
PERMIT = "turn"
"""Where it has the one that was taken: to be released when the answer has left."""
MAX_PER_ACCOUNT: Final = 4
WAIT_SECONDS: Final = 10  # for which one waits


class AccountLimiter:
    """The turns of every account that one worker makes lists and downloads for.

    A list may have 8 MiB, which is much to make, and to keep until a reader has taken it; a download more. An account that
    asks for many, and reads none, thereby holds up itself alone.
    """

    def __init__(self) -> None:
        self._of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def acquire(self, account: str) -> asyncio.Semaphore:
        """Wait for a turn; it is to be released.

        Raises:
            ServiceUnavailable: it did not come.

        """
        turn = self._of.get(account)
        if turn is None:
            turn = self._of[account] = asyncio.Semaphore(MAX_PER_ACCOUNT)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn.acquire()
        except TimeoutError:
            raise ServiceUnavailable("Read what is on its way to you first.") from None
        return turn
