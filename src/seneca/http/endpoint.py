"""What a route declares beside its handler: who may, what it takes, what it answers.

The guard and the OpenAPI document are both made from this, so that they cannot disagree.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from seneca.errors import ApiError

Requires = Literal["anyone", "signed-in", "user", "admin"]
KIBIBYTE = 1024
MAX_BODY_BYTES = 256 * KIBIBYTE


class ResponseSpec(Struct, frozen=True):
    """A success: its status, what it means, the type of its body (None: none; str: plain text), an example."""

    status: int
    description: str
    body: Any = None
    example: object = None
    headers: Mapping[str, str] = {}


class Operation(Struct, frozen=True, kw_only=True):
    """A route's declaration."""

    tag: str
    requires: Requires
    responses: Sequence[ResponseSpec]
    errors: Sequence[type[ApiError]] = ()
    body: Any = None
    """The type of the JSON body; None: it takes none."""
    example: object = None
    """An example of the body."""
    accepts_any_body: bool = False
    """A body of any kind is accepted and dropped."""
    max_body_bytes: int = MAX_BODY_BYTES
    query: Sequence[str] = ()
    """The query parameters it knows: names in ``openapi.QUERY``."""
    request_headers: Sequence[str] = ()
    is_download: bool = False
    """Its answer is to be saved as a file, and may be long."""

    @property
    def limits_concurrency(self) -> bool:
        """Its answer may be long: of one account's only a few are made and read at a time."""
        return self.is_download or "limit" in self.query


def operation(**declared: Any) -> dict[str, Operation]:
    """The ``opt`` of a route handler."""
    return {"operation": Operation(**declared)}
