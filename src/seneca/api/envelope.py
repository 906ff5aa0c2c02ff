"""What surrounds every request: its id, its log line, security headers, and HEAD for every GET."""

import asyncio
import os
import time
from itertools import count
from typing import Any

import structlog
from litestar.types import ASGIApp, Message, Receive, Send

from seneca.api.caller import PROVED, SIGNED_IN
from seneca.api.room import ROOM, Room, Share, wait
from seneca.api.turns import TURN, TURNS, Turns
from seneca.errors import TooSlow, Unavailable

log = structlog.get_logger()

HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (b"cache-control", b"no-store"),
]

VARY = (b"vary", b"Origin")  # to every origin, or a cache would give one the answer to another

BODILESS = ("GET", "HEAD", "OPTIONS")
MOST_DROPPED = 16 * 1024 * 1024
DROP_SECONDS = 10
BODY_SECONDS = 30  # for a body to arrive, whole
SMALL = 16 * 1024  # bytes of a body that are let in even while others fill the room


class Envelope:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, *, by_origin: bool = False) -> None:
        self.app = app
        self._headers = [*HEADERS, VARY] if by_origin else HEADERS
        self._prefix = os.urandom(4).hex()
        self._count = count(1)
        self._bodies = Room()
        self._answers = Room()
        self._turns = Turns()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer a request, and log it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = f"{self._prefix}-{next(self._count):x}"
        scope["request_id"] = request_id
        scope[ROOM] = self._answers
        scope[TURNS] = self._turns
        method = scope["method"]
        if is_head := method == "HEAD":
            scope["method"] = "GET"
        status, sent = 0, False
        unread = method not in BODILESS
        share = Share()
        ends = asyncio.get_running_loop().time() + BODY_SECONDS

        async def receive_in() -> Any:
            nonlocal unread
            unread, message = False, await arrival(receive, share, ends, self._bodies)
            unread = message.get("more_body", False)
            return message

        async def send_out(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                if unread:  # refused before its end: an ordinary client sees the answer only once all is sent
                    await drop(receive)
                own = [header for header in message["headers"] if header[0] != b"vary"]  # the framework's, for some
                message["headers"] = [*own, *self._headers, (b"x-request-id", request_id.encode())]
            elif is_head:
                if sent:
                    return
                sent, message = True, {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        try:
            await self.app(scope, receive_in if unread else receive, send_out)
        finally:
            self._bodies.give_back(share)
            if turn := scope.get(TURN):
                turn.release()
            caller = scope.get(SIGNED_IN)
            log.info(
                "request",
                request=request_id,
                method=method,
                route=scope.get("path_template"),
                status=status,
                ms=round((time.perf_counter() - began) * 1000, 2),
                account=caller.id if caller else scope.get(PROVED),
            )


async def arrival(receive: Receive, share: Share, ends: float, room: Room) -> Any:
    """The next piece of a body; all of it so far is held in this room. ``ends`` is by the event loop's clock.

    Raises:
        TooSlow: it does not arrive in time.
        Unavailable: too much is arriving from others.

    """
    try:
        message: Any = await wait(share, ends, receive())
        room.take(share, len(message.get("body", b"")), free=SMALL)
    except TimeoutError:
        raise TooSlow(headers={"Connection": "close"}) from None
    except Unavailable as refusal:
        refusal.headers["Connection"] = "close"  # nobody reads the rest
        raise
    return message


async def drop(receive: Receive) -> None:
    """Read what is left of a body and forget it, up to a limit of bytes and of time."""
    size = 0
    try:
        async with asyncio.timeout(DROP_SECONDS):
            while size < MOST_DROPPED:
                message: Any = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        pass
