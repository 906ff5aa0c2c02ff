"""What surrounds every request: its id, its log line, security headers, and HEAD for every GET."""

import os
import time
from collections.abc import Iterable
from typing import Any, Final

import structlog
from litestar.types import ASGIApp, Message, Receive, Send

from seneca.auth.access_tokens import Caller
from seneca.errors import InvalidInput
from seneca.http import problem_details
from seneca.http.auth import CALLER, PROVEN_ACCOUNT
from seneca.http.limits.concurrency import ACCOUNT_LIMITER, PERMIT, AccountLimiter
from seneca.http.limits.memory_budget import MEMORY_BUDGET, MemoryBudget
from seneca.http.limits.request_body import RequestBodyReader

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
METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"))
"""Those that are logged by name: any other is text that a client wrote."""


class RequestMiddleware:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, *, by_origin: bool = False) -> None:
        self.app = app
        self._by_origin = by_origin
        self._headers = [*HEADERS, VARY] if by_origin else HEADERS
        self._bodies = MemoryBudget()
        self._answers = MemoryBudget()
        self._turns = AccountLimiter()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer a request, and log it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = os.urandom(8).hex()
        scope["request_id"] = request_id
        scope[MEMORY_BUDGET] = self._answers
        scope[ACCOUNT_LIMITER] = self._turns
        method = scope["method"]
        if is_head := method == "HEAD":
            scope["method"] = "GET"
        arrival = None if method in BODILESS else RequestBodyReader(receive, self._bodies)
        status, sent = 0, False

        async def send_out(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                if arrival is not None and arrival.is_unread:
                    await arrival.drain()  # refused before its end: an ordinary client sees the answer once all is sent
                message["headers"] = [*self._with_ours(message["headers"]), (b"x-request-id", request_id.encode())]
            elif is_head:
                if sent:
                    return
                sent, message = True, {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        try:
            await self._answer(scope, receive if arrival is None else arrival.receive, send_out)
        finally:
            if arrival is not None:
                arrival.release()
            if turn := scope.get(PERMIT):
                turn.release()
            code, refused_account = scope.get(problem_details.ERROR, (None, None))
            log.info(
                "request",
                request=request_id,
                method=method if method in METHODS else "other",
                route=scope.get("path_template"),
                status=status,
                code=code,
                ms=round((time.perf_counter() - began) * 1000, 2),
                account=caller_id(scope) or refused_account,
            )

    async def _answer(self, scope: Any, receive: Receive, send: Send) -> None:
        if (refusal := check_host(scope)) is None:
            await self.app(scope, receive, send)
        else:
            await problem_details.send_error(refusal, scope, send)

    def _with_ours(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """An answer's headers, and those of every answer."""
        if self._by_origin:
            headers = [header for header in headers if header[0] != b"vary"]  # the framework's, on some answers
        return [*headers, *self._headers]


def check_host(scope: Any) -> InvalidInput | None:
    """What is wrong with the Host header, or None: HTTP/1.1 has exactly one, HTTP/1.0 at most one (RFC 9112, 3.2).

    Granian puts an empty one where there is none.
    """
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if (len(hosts) == 1 and hosts[0]) or (len(hosts) <= 1 and scope["http_version"] != "1.1"):
        return None
    return InvalidInput.field("Host", "must be sent once, as a header")


def caller_id(scope: Any) -> str | None:
    """The account that made a request, as far as it has shown who it is."""
    caller: Caller | None = scope.get(CALLER)
    proved: str | None = scope.get(PROVEN_ACCOUNT)
    return caller.id if caller is not None else proved
