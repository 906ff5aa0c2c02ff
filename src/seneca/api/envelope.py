"""What surrounds every request: its id, its log line, security headers, and HEAD for every GET."""

import os
import time
from collections.abc import Iterable
from itertools import count
from typing import Any

import structlog
from litestar.types import ASGIApp, Message, Receive, Send

from seneca.api.arrival import Arrival
from seneca.api.caller import PROVED, SIGNED_IN
from seneca.api.room import ROOM, Room
from seneca.api.turns import TURN, TURNS, Turns

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


class Envelope:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, *, by_origin: bool = False) -> None:
        self.app = app
        self._by_origin = by_origin
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
        arrival = None if method in BODILESS else Arrival(receive, self._bodies)
        status, sent = 0, False

        async def send_out(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                if arrival is not None and arrival.is_unread:
                    await arrival.drop()  # refused before its end: an ordinary client sees the answer once all is sent
                message["headers"] = [*self._with_ours(message["headers"]), (b"x-request-id", request_id.encode())]
            elif is_head:
                if sent:
                    return
                sent, message = True, {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        try:
            await self.app(scope, receive if arrival is None else arrival.receive, send_out)
        finally:
            if arrival is not None:
                arrival.leave()
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

    def _with_ours(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """An answer's headers, and those of every answer."""
        if self._by_origin:
            headers = [header for header in headers if header[0] != b"vary"]  # the framework's, on some answers
        return [*headers, *self._headers]
