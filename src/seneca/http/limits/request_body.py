"""How a request's body arrives: bounded in the memory that it takes together with others, and in time."""

import asyncio
from typing import Any, Final

from litestar.types import Receive

from seneca.errors import RequestTimeout, ServiceUnavailable
from seneca.http.limits.memory_budget import MemoryBudget, Reservation, wait_for_client

BODY_SECONDS: Final = 30  # to arrive, whole
ALWAYS_ADMITTED_BYTES: Final = 16 * 1024  # bytes of a body that are let in even while others fill the room
MAX_DRAINED_BYTES: Final = 16 * 1024 * 1024
DRAIN_SECONDS: Final = 10


class RequestBodyReader:
    """The body of one request."""

    __slots__ = ("_ends", "_receive", "_room", "_share", "is_unread")

    def __init__(self, receive: Receive, room: MemoryBudget) -> None:
        self._receive = receive
        self._room = room
        self._share = Reservation()
        self._ends = asyncio.get_running_loop().time() + BODY_SECONDS
        self.is_unread = True
        """There may be more of it; not after a refusal to let it in, which ends the connection."""

    async def receive(self) -> Any:
        """The next piece, as ASGI's ``receive``; all pieces so far are held in the room.

        Raises:
            RequestTimeout: it does not arrive in time.
            ServiceUnavailable: too much is arriving from others.

        """
        self.is_unread = False
        try:
            message: Any = await wait_for_client(self._share, self._ends, self._receive())
            self._room.reserve(self._share, len(message.get("body", b"")), free=ALWAYS_ADMITTED_BYTES)
        except TimeoutError:
            raise RequestTimeout(headers={"Connection": "close"}) from None
        except ServiceUnavailable as refusal:
            refusal.headers["Connection"] = "close"  # nobody reads the rest
            raise
        self.is_unread = message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Read what is left and forget it, up to a limit of bytes and of time."""
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
        """Give back the room that it held."""
        self._room.release(self._share)
