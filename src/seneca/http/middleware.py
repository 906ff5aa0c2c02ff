"""The middleware around every request: request id, log line, limits, security headers, and HEAD for every GET."""

import os
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import structlog
from litestar.types import ASGIApp, Message, Receive, Send

from seneca.auth.caller import Caller
from seneca.errors import InvalidInput
from seneca.http import problem_details
from seneca.http.auth import AUTHENTICATED_ACCOUNT, CALLER
from seneca.http.limits.concurrency import ACCOUNT_LIMITER, PERMIT, AccountLimiter
from seneca.http.limits.memory_budget import MEMORY_BUDGET, MemoryBudget
from seneca.http.limits.request_body import RequestBodyReader
from seneca.http.tables import TABLE

log = structlog.get_logger()

SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (b"cache-control", b"no-store"),
]

BODILESS_METHODS = ("GET", "HEAD", "OPTIONS")
LOGGED_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"))
"""Methods that are logged by name. Any other is arbitrary text from a client, and logged as "other"."""


class RequestMiddleware:
    """ASGI middleware around the application.

    Args:
        app: the application.
        by_origin: whether responses depend on the Origin header (CORS is configured), or a cache would send one origin the response to
            another.

    """

    def __init__(self, app: ASGIApp, *, by_origin: bool = False) -> None:
        self.app = app
        self._by_origin = by_origin
        self._body_budget = MemoryBudget()
        self._response_budget = MemoryBudget()
        self._account_limiter = AccountLimiter()
        self._request_ids = random_ids()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handle a request and log it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = next(self._request_ids)
        scope["request_id"] = request_id
        scope[MEMORY_BUDGET] = self._response_budget
        scope[ACCOUNT_LIMITER] = self._account_limiter
        method = scope["method"]
        if is_head := method == "HEAD":
            scope["method"] = "GET"
        body_reader = None if method in BODILESS_METHODS else RequestBodyReader(receive, self._body_budget)
        status, is_body_sent = 0, False

        async def send_message(message: Message) -> None:
            nonlocal status, is_body_sent
            if message["type"] == "http.response.start":
                status = message["status"]
                if body_reader is not None and body_reader.is_unread:
                    # ordinary clients read the response only after they have sent the whole body
                    await body_reader.drain()
                headers = self._add_headers(message["headers"], by_accept=TABLE in scope)
                message["headers"] = [*headers, (b"x-request-id", request_id.encode())]
            elif is_head:
                if is_body_sent:
                    return
                is_body_sent, message = True, {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        try:
            await self._respond(scope, receive if body_reader is None else body_reader.receive, send_message)
        finally:
            if body_reader is not None:
                body_reader.release()
            if permit := scope.get(PERMIT):
                permit.release()
            code, error_account = scope.get(problem_details.ERROR, (None, None))
            log.info(
                "request",
                request=request_id,
                method=method if method in LOGGED_METHODS else "other",
                route=scope.get("path_template"),
                status=status,
                code=code,
                ms=round((time.perf_counter() - started) * 1000, 2),
                account=caller_id(scope) or error_account,
            )

    async def _respond(self, scope: Any, receive: Receive, send: Send) -> None:
        if (error := check_host(scope)) is None:
            await self.app(scope, receive, send)
        else:
            await problem_details.send_error(error, scope, send)

    def _add_headers(self, headers: Iterable[tuple[bytes, bytes]], *, by_accept: bool) -> list[tuple[bytes, bytes]]:
        """A response's headers with the middleware's appended. ``by_accept``: the response depends on the Accept header."""
        vary = [b"Origin"] * self._by_origin + [b"Accept"] * by_accept
        if self._by_origin:
            headers = [header for header in headers if header[0] != b"vary"]  # the framework sets it on some responses
        return [*headers, *SECURITY_HEADERS, *([(b"vary", b", ".join(vary))] if vary else [])]


def random_ids() -> Iterator[str]:
    """Random ids of 64 bits. One system call makes 512: one call for each request is slower."""
    while True:
        digits = os.urandom(512 * 8).hex()
        for start in range(0, len(digits), 16):
            yield digits[start : start + 16]


def check_host(scope: Any) -> InvalidInput | None:
    """The error in the Host header, or None. HTTP/1.1 requires exactly one, HTTP/1.0 at most one (RFC 9112, 3.2).

    Granian adds an empty Host header where there is none.
    """
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if (len(hosts) == 1 and hosts[0]) or (len(hosts) <= 1 and scope["http_version"] != "1.1"):
        return None
    return InvalidInput.field("Host", "must be sent once, as a header")


def caller_id(scope: Any) -> str | None:
    """The account that made the request, if it was authenticated by an access token, a refresh token or a password."""
    caller: Caller | None = scope.get(CALLER)
    account_id: str | None = scope.get(AUTHENTICATED_ACCOUNT)
    return caller.id if caller is not None else account_id
