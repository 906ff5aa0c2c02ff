"""Write an answer: at once, or piece by piece while its reader keeps up."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from tempfile import SpooledTemporaryFile
from typing import Any, Final

import msgspec
import structlog
from litestar.types import Receive, Scope, Send

from seneca.http.limits.memory_budget import MEMORY_BUDGET, MemoryBudget, Reservation, wait_for_client

log = structlog.get_logger()

CHUNK_BYTES: Final = 64 * 1024
CHUNK_SECONDS: Final = 10  # for a reader to take a piece
RESPONSE_SECONDS: Final = 120  # to take all of it
MIN_BYTES_PER_SECOND: Final = 64 * 1024  # bytes a second, half a megabit: what is longer may take the longer
MAX_BYTES_IN_MEMORY: Final = 1024 * 1024  # bytes of a download; a longer one waits in a temporary file

_encoder: Final = msgspec.json.Encoder(decimal_format="number")
NO_HEADERS: Final[Mapping[str, str]] = {}


class AsgiResponse:
    """What a handler returns: an ASGI application that sends its answer."""

    __slots__ = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        raise NotImplementedError


class JsonResponse(AsgiResponse):
    """An answer whose body is bytes: an ASGI application, without what the framework's responses can do besides."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, status: int, media_type: bytes, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.body = body
        self.status = status
        self.headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        if media_type:
            self.headers += [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 ASGI's
        """Send it.

        Raises:
            ServiceUnavailable: it is large, and too many large answers are on their way.

        """
        if len(self.body) > CHUNK_BYTES:
            await stream_body(scope, send, self, self._pieces(), size=len(self.body), held=len(self.body))
            return
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})

    async def _pieces(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self.body), CHUNK_BYTES):
            yield self.body[at : at + CHUNK_BYTES]


class FileResponse(AsgiResponse):
    """An answer in JSON, as a file to be saved if it has a name: an ASGI application that sends a temporary file, once."""

    __slots__ = ("_file", "_size", "headers", "status")

    def __init__(self, file: "SpooledTemporaryFile[bytes]", name: str = "") -> None:
        self._file = file
        self._size = file.tell()
        self.status = 200
        self.headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(self._size).encode()),
        ]
        if name:
            self.headers.append((b"content-disposition", f'attachment; filename="{name}"'.encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 ASGI's
        """Send it, and close the file. Raises ServiceUnavailable, as a ``JsonResponse``."""
        with self._file:
            await stream_body(
                scope, send, self, self._pieces(), size=self._size, held=min(self._size, MAX_BYTES_IN_MEMORY)
            )

    async def _pieces(self) -> AsyncIterator[bytes]:
        self._file.seek(0)
        while piece := await asyncio.to_thread(self._file.read, CHUNK_BYTES):
            yield piece


async def stream_body(
    scope: Any, send: Send, answer: JsonResponse | FileResponse, pieces: AsyncIterator[bytes], *, size: int, held: int
) -> None:
    """Send an answer in pieces, each when the reader has taken those before; break off if that takes too long.

    Sent whole, it would be kept in memory until its reader has taken it, if that is for ever.

    Args:
        scope: ASGI's, with the room for large answers.
        send: ASGI's.
        answer: whose status and headers.
        pieces: its body.
        size: the body's, in bytes.
        held: so many of them are in memory meanwhile.

    Raises:
        ServiceUnavailable: too many large answers are on their way.

    """
    room: MemoryBudget = scope[MEMORY_BUDGET]
    share = Reservation()
    room.reserve(share, held)
    now = asyncio.get_running_loop().time
    ends = now() + max(RESPONSE_SECONDS, size / MIN_BYTES_PER_SECOND)
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        async for piece in pieces:
            until = min(now() + CHUNK_SECONDS, ends)
            await wait_for_client(share, until, send({"type": "http.response.body", "body": piece, "more_body": True}))
    except TimeoutError:
        log.info("answer broken off", request=scope["request_id"])
    finally:
        room.release(share)
    # After fewer bytes than were announced the server closes the connection, so that no reader takes it for all.
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def encode(value: object) -> bytes:
    """JSON. Exact decimals are written as numbers."""
    return _encoder.encode(value)


def json_response(value: object, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> JsonResponse:
    """An answer with a JSON body."""
    return JsonResponse(_encoder.encode(value), status, b"application/json", headers)


def text_response(body: str, media_type: str = "text/plain") -> JsonResponse:
    """An answer in text."""
    return JsonResponse(body.encode(), 200, f"{media_type}; charset=utf-8".encode())


def empty_response(status: int = 204, headers: Mapping[str, str] = NO_HEADERS) -> JsonResponse:
    """An answer without a body."""
    return JsonResponse(b"", status, b"", headers)
