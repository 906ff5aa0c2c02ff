"""The declaration of a route: who may call it, what it accepts and what it returns.

The declaration runs the handler, and the OpenAPI document is generated from it, so they cannot disagree.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, get_type_hints

from msgspec import Struct

from seneca.common import json_decoding
from seneca.errors import ApiError, Forbidden
from seneca.http.app_state import Request
from seneca.http.auth import CALLER, authenticate, check_still_signed_in
from seneca.http.limits.concurrency import ACCOUNT_LIMITER, PERMIT
from seneca.http.requests import check_media_type, check_query, header, read_bytes
from seneca.http.responses import AsgiResponse
from seneca.http.tables import TABLE, Table

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Requires = Literal["anyone", "signed-in", "user", "admin"]
Handler = Callable[..., Awaitable[AsgiResponse]]
KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
MAX_BODY_BYTES = 256 * KIBIBYTE


class ResponseSpec(Struct, frozen=True):
    """A successful response: status, description, type of the body (None: no body; str: plain text), example, headers."""

    status: int
    description: str
    body: Any = None
    example: object = None
    headers: Mapping[str, str] = {}


@dataclass(eq=False)
class Endpoint:
    """A route. As a decorator it declares its handler: ``handler(request)``, or ``handler(request, data)`` if it takes a body."""

    method: Method
    path: str
    """With the names of path parameters in braces."""
    _: KW_ONLY
    tag: str
    requires: Requires
    responses: Sequence[ResponseSpec]
    errors: Sequence[type[ApiError]] = ()
    example: object = None
    """An example of the body."""
    max_body_bytes: int = MAX_BODY_BYTES
    documented_body: Any = None
    """The type of the JSON body in the OpenAPI document, where ``data`` is bytes, which the handler decodes."""
    accepts_any_body: bool = False
    """Whether the route accepts a body of any media type and discards it."""
    authorise: Callable[[Request, Any], Awaitable[None]] | None = None
    """Called where authorisation depends on the body, after its types and before its other rules are checked."""
    query: Sequence[str] = ()
    """The query parameters that the route accepts: names in ``openapi.QUERY``, or in ``query_docs``."""
    query_docs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Descriptions and schemas of parameters that mean something else here than in ``openapi.QUERY``."""
    request_headers: Sequence[str] = ()
    table: Table[Any] | None = None
    """How the list that the route returns becomes a table, for which the client asks with Accept."""
    is_download: bool = False
    """Whether the response is a file to save. It may be large."""
    handler: Handler = field(init=False)
    body: Any = field(init=False)
    """The type of the handler's parameter ``data``, which is that of the JSON body; None if it has no such parameter."""

    def __call__(self, handler: Handler) -> "Endpoint":
        """Declare the handler."""
        self.handler = handler
        self.body = get_type_hints(handler, include_extras=True).get("data")
        return self

    @property
    def schema(self) -> Any:
        """The type of the body in the OpenAPI document; None: no body."""
        return self.body if self.documented_body is None else self.documented_body

    async def respond(self, request: Request) -> AsgiResponse:
        """Check the request, read its body, and call the handler.

        The checks run in this order: 401, 403, a permit for a large response (503 after a timeout), the body's size (413) and
        media type (415), query parameters, the body itself (400).
        """
        if self.table is not None:
            scope: Any = request.scope
            scope[TABLE] = self.table
        if self.requires != "anyone":
            await self._authorise_caller(request)
        if self.body is not None:
            return await self.handler(request, await self._read_body(request))
        if self.accepts_any_body:
            await self._read_bytes(request)
        check_query(request, self.query)
        return await self.handler(request)

    async def _authorise_caller(self, request: Request) -> None:
        scope: Any = request.scope
        caller = scope[CALLER] = authenticate(request)
        if self.requires not in ("signed-in", caller.role):
            raise Forbidden(f"Only the role {self.requires} may do that.")
        if self.is_download or self.table is not None or "limit" in self.query:  # the response may be large
            scope[PERMIT] = await scope[ACCOUNT_LIMITER].acquire(caller.id)
            check_still_signed_in(request)

    async def _read_bytes(self, request: Request) -> bytes:
        """The body's bytes. Raises Unauthenticated if the caller's sign-in ended while they arrived."""
        raw = await read_bytes(request, self.max_body_bytes)
        check_still_signed_in(request)
        return raw

    async def _read_body(self, request: Request) -> Any:
        """The JSON body, decoded and validated; or its bytes, if that is what the handler takes."""
        raw = await self._read_bytes(request)
        check_media_type(header(request, b"content-type") or "")
        check_query(request, self.query)
        if self.body is bytes:
            return raw
        data = json_decoding.decode_types(raw, self.body)
        if self.authorise is not None:
            await self.authorise(request, data)
        json_decoding.check(data, raw, self.body)
        return data


endpoint = Endpoint
"""The decorator of handlers."""
