"""Receive a request's body within a memory budget and a time limit."""

import asyncio
from typing import Any, Final

from litestar.types import Receive

from seneca.errors import RequestTimeout, ServiceUnavailable
from seneca.http.limits.memory_budget import MemoryBudget, Reservation, wait_for_client

BODY_SECONDS: Final = 30  # for the whole body to arrive
GUARANTEED_BYTES: Final = 16 * 1024  # a body up to this size is accepted even if the budget is used up
MAX_DRAINED_BYTES: Final = 16 * 1024 * 1024
DRAIN_SECONDS: Final = 10


class RequestBodyReader:
    """The body of one request."""

    __slots__ = ("_budget", "_deadline", "_receive", "_reservation", "is_unread")

    def __init__(self, receive: Receive, budget: MemoryBudget) -> None:
        self._receive = receive
        self._budget = budget
        self._reservation = Reservation()
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        self.is_unread = True
        """Whether more of the body may follow. False after an error that closes the connection."""

    async def receive(self) -> Any:
        """The next message, as ASGI's ``receive``. The budget holds all chunks received so far.

        Raises:
            RequestTimeout: the body does not arrive in time.
            ServiceUnavailable: the memory budget is used up.

        """
        self.is_unread = False
        try:
            message: Any = await wait_for_client(self._reservation, self._deadline, self._receive())
            self._budget.reserve(self._reservation, len(message.get("body", b"")), guaranteed=GUARANTEED_BYTES)
        except TimeoutError:
            raise RequestTimeout(headers={"Connection": "close"}) from None
        except ServiceUnavailable as error:
            error.headers["Connection"] = "close"  # the rest of the body stays unread
            raise
        self.is_unread = message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read the rest of the body and discard it, up to ``MAX_DRAINED_BYTES`` and ``DRAIN_SECONDS``."""
        size = 0
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while size < MAX_DRAINED_BYTES:
                    message: Any = await self._receive()
                    size += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            pass

    def release(self) -> None:
        """Return the body's memory to the budget."""
        self._budget.release(self._reservation)
