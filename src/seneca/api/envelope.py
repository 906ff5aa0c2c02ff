"""What surrounds every request: its id, its log line, security headers, and HEAD for every GET."""

import os
import time
from itertools import count
from typing import Any

import structlog
from litestar.types import ASGIApp, Message, Receive, Scope, Send

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


class Envelope:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._prefix = os.urandom(4).hex()
        self._count = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and log it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = f"{self._prefix}-{next(self._count):x}"
        scope["request_id"] = request_id  # type: ignore[typeddict-unknown-key]
        method = scope["method"]
        if is_head := method == "HEAD":
            scope["method"] = "GET"
        status = 0

        async def send_out(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    *HEADERS,
                    (b"x-request-id", request_id.encode()),
                ]
            elif is_head and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        try:
            await self.app(scope, receive, send_out)
        finally:
            shared: Any = scope
            caller = shared.get(SIGNED_IN)
            log.info(
                "request",
                request=request_id,
                method=method,
                route=shared.get("path_template"),
                status=status,
                ms=round((time.perf_counter() - began) * 1000, 2),
                account=caller and caller.id,
            )
