"""Limit how many large responses one account may have in progress."""

import asyncio
from typing import Final
from weakref import WeakValueDictionary

from seneca.errors import ServiceUnavailable

ACCOUNT_LIMITER = "account_limiter"
"""Key of the request's scope: the worker's ``AccountLimiter``."""
PERMIT = "permit"
"""Key of the request's scope: the permit that the request holds. The middleware releases it once the response is sent."""
MAX_PER_ACCOUNT: Final = 4
WAIT_SECONDS: Final = 10  # for a permit


class AccountLimiter:
    """A semaphore for each account, for the lists and downloads that one worker produces.

    A list may have 8 MiB, which takes time to produce and memory until the client has read it; a download may be larger. An
    account that requests many of them without reading any blocks only itself.
    """

    def __init__(self) -> None:
        self._semaphores: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def acquire(self, account: str) -> asyncio.Semaphore:
        """Wait for one of the account's permits; the caller must release it.

        Raises:
            ServiceUnavailable: no permit became free within ``WAIT_SECONDS``.

        """
        semaphore = self._semaphores.get(account)
        if semaphore is None:
            semaphore = self._semaphores[account] = asyncio.Semaphore(MAX_PER_ACCOUNT)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await semaphore.acquire()
        except TimeoutError:
            raise ServiceUnavailable(
                "Too many of your downloads are in progress. Finish reading them, then retry."
            ) from None
        return semaphore
