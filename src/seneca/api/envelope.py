"""What surrounds every request: its id, its log line, security headers, and HEAD for every GET."""

import asyncio
import os
import time
from itertools import count
from typing import Any

import structlog
from litestar.types import ASGIApp, Message, Receive, Send

from seneca.api.caller import SIGNED_IN

log = structlog.get_logger()

HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (b"cache-control", b"no-store"),
]

BODILESS = ("GET", "HEAD", "OPTIONS")
MOST_DROPPED = 16 * 1024 * 1024
DROP_SECONDS = 10


class Envelope:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._prefix = os.urandom(4).hex()
        self._count = count(1)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer a request, and log it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = f"{self._prefix}-{next(self._count):x}"
        scope["request_id"] = request_id
        method = scope["method"]
        if is_head := method == "HEAD":
            scope["method"] = "GET"
        status = 0
        unread = method not in BODILESS

        async def receive_in() -> Any:
            nonlocal unread
            message: Any = await receive()
            unread = message.get("more_body", False)
            return message

        async def send_out(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if unread:  # refused before its end: an ordinary client sees the answer only once all is sent
                    await drop(receive)
                message["headers"] = [*message["headers"], *HEADERS, (b"x-request-id", request_id.encode())]
            elif is_head and message["type"] == "http.response.body":
                if message.get("more_body"):
                    return  # the last one ends the answer
                message["body"] = b""
            await send(message)

        try:
            await self.app(scope, receive_in if unread else receive, send_out)
        finally:
            caller = scope.get(SIGNED_IN)
            log.info(
                "request",
                request=request_id,
                method=method,
                route=scope.get("path_template"),
                status=status,
                ms=round((time.perf_counter() - began) * 1000, 2),
                account=caller and caller.id,
            )


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
