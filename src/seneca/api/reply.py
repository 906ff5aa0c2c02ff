"""Write an answer."""

from collections.abc import Mapping
from typing import Final

import msgspec
from litestar.types import Receive, Scope, Send

_encoder: Final = msgspec.json.Encoder(decimal_format="number")
NO_HEADERS: Final[Mapping[str, str]] = {}


class Reply:
    """An answer whose body is bytes: an ASGI application, without what the framework's responses can do besides."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, status: int, media_type: bytes, headers: Mapping[str, str] = NO_HEADERS) -> None:
        self.body = body
        self.status = status
        self.headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        if media_type:
            self.headers += [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 ASGI's
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def encode(value: object) -> bytes:
    """JSON. Exact decimals are written as numbers."""
    return _encoder.encode(value)


def reply(value: object, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
    """An answer with a JSON body."""
    return Reply(_encoder.encode(value), status, b"application/json", headers)


def text(body: str, media_type: str = "text/plain") -> Reply:
    """An answer in text."""
    return Reply(body.encode(), 200, f"{media_type}; charset=utf-8".encode())


def nothing(status: int = 204, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
    """An answer without a body."""
    return Reply(b"", status, b"", headers)
