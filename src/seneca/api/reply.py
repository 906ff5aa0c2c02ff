"""Write an answer."""

from collections.abc import Mapping
from typing import Final

import msgspec
from litestar.response.base import ASGIResponse

_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def encode(value: object) -> bytes:
    """JSON. Exact decimals are written as numbers."""
    return _encoder.encode(value)


def reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> ASGIResponse:
    """An answer with a JSON body."""
    return ASGIResponse(
        body=_encoder.encode(value),
        status_code=status,
        headers=dict(headers or {}),
        media_type="application/json",
    )


def text(body: str) -> ASGIResponse:
    """An answer in plain text."""
    return ASGIResponse(body=body, media_type="text/plain")


def nothing(status: int = 204, headers: Mapping[str, str] | None = None) -> ASGIResponse:
    """An answer without a body."""
    return ASGIResponse(body=b"", status_code=status, headers=dict(headers or {}))
