"""Responses: ASGI applications that send a body at once, or in chunks as fast as the client reads."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from tempfile import SpooledTemporaryFile
from typing import Any, Final

import msgspec
import structlog
from litestar.types import Receive, Scope, Send

from seneca.http.limits.memory_budget import MEMORY_BUDGET, MemoryBudget, Reservation, wait_for_client

log = structlog.get_logger()

CHUNK_BYTES: Final = 64 * 1024
CHUNK_SECONDS: Final = 10  # for the client to read one chunk
RESPONSE_SECONDS: Final = 120  # for the client to read the whole response
MIN_BYTES_PER_SECOND: Final = 64 * 1024  # half a megabit a second: a larger response gets more time
MAX_BYTES_IN_MEMORY: Final = 1024 * 1024  # of a download; a larger one goes to a temporary file

_encoder: Final = msgspec.json.Encoder(decimal_format="number")
NO_HEADERS: Final[Mapping[str, str]] = {}


def _encode_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


class AsgiResponse:
    """The base class of what handlers return: an ASGI application that sends the response."""

    __slots__ = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        raise NotImplementedError


class Response(AsgiResponse):
    """A response whose body is in memory: JSON, text or nothing.

    It replaces the framework's ``Response``, whose features nothing here needs.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, status: int, media_type: bytes, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.body = body
        self.status = status
        self.headers = _encode_headers(headers)
        if media_type:
            self.headers += [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 ASGI's
        """Send the response.

        Raises:
            ServiceUnavailable: it is large, and the memory budget for large responses is used up.

        """
        if len(self.body) > CHUNK_BYTES:
            await stream_body(scope, send, self, self._chunks(), size=len(self.body), reserve=len(self.body))
            return
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})

    async def _chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.body), CHUNK_BYTES):
            yield self.body[start : start + CHUNK_BYTES]


class FileResponse(AsgiResponse):
    """A response from a temporary file, which is a download if ``name`` is set. It can be sent once."""

    __slots__ = ("_file", "_size", "headers", "status")

    def __init__(
        self,
        file: "SpooledTemporaryFile[bytes]",
        media_type: str = "application/json",
        name: str = "",
    ) -> None:
        self._file = file
        self._size = file.tell()
        self.status = 200
        headers = {"Content-Type": media_type, "Content-Length": str(self._size)}
        if name:
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        self.headers = _encode_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 ASGI's
        """Send the response and close the file. Raises ServiceUnavailable as ``Response`` does."""
        with self._file:
            await stream_body(
                scope, send, self, self._chunks(), size=self._size, reserve=min(self._size, MAX_BYTES_IN_MEMORY)
            )

    async def _chunks(self) -> AsyncIterator[bytes]:
        self._file.seek(0)
        while chunk := await asyncio.to_thread(self._file.read, CHUNK_BYTES):
            yield chunk


async def stream_body(
    scope: Any, send: Send, response: Response | FileResponse, chunks: AsyncIterator[bytes], *, size: int, reserve: int
) -> None:
    """Send a response in chunks, each after the client has read the previous ones; abort it if that takes too long.

    If it were sent in one piece, the server would keep the body in memory until the client has read all of it, which may be never.

    Args:
        scope: the ASGI scope, which holds the memory budget for large responses.
        send: the ASGI ``send``.
        response: its status and headers are sent.
        chunks: the body.
        size: the body's size in bytes.
        reserve: the bytes to reserve from the memory budget until the response is sent.

    Raises:
        ServiceUnavailable: the memory budget for large responses is used up.

    """
    budget: MemoryBudget = scope[MEMORY_BUDGET]
    reservation = Reservation()
    budget.reserve(reservation, reserve)
    now = asyncio.get_running_loop().time
    deadline = now() + max(RESPONSE_SECONDS, size / MIN_BYTES_PER_SECOND)
    try:
        await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
        async for chunk in chunks:
            chunk_deadline = min(now() + CHUNK_SECONDS, deadline)
            sending = send({"type": "http.response.body", "body": chunk, "more_body": True})
            await wait_for_client(reservation, chunk_deadline, sending)
    except TimeoutError:
        log.info("response aborted", request=scope["request_id"])
    finally:
        budget.release(reservation)
    # If fewer bytes than Content-Length were sent, the server closes the connection, so the client notices the truncation.
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def encode(value: object) -> bytes:
    """Encode a value as JSON; a Decimal becomes a number."""
    return _encoder.encode(value)


def json_response(value: object, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> Response:
    """A response with a JSON body."""
    return Response(_encoder.encode(value), status, b"application/json", headers)


def text_response(body: str, media_type: str = "text/plain") -> Response:
    """A response with a text body in UTF-8."""
    return Response(body.encode(), 200, f"{media_type}; charset=utf-8".encode())


def empty_response(status: int = 204, headers: Mapping[str, str] = NO_HEADERS) -> Response:
    """A response without a body."""
    return Response(b"", status, b"", headers)


def allow_header(methods: Iterable[str]) -> dict[str, str]:
    """The Allow header of a path with these methods. Every path takes OPTIONS, and a path with GET also takes HEAD."""
    names = {"OPTIONS", *methods}
    return {"Allow": ", ".join(sorted(names | ({"HEAD"} if "GET" in names else set())))}
