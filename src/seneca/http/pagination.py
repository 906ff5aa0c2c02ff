"""Pagination: ``limit``, an opaque ``cursor``, and a Link header to the next page (RFC 8288)."""

import base64
import binascii
import hashlib
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from seneca.errors import InvalidInput
from seneca.http.app_state import Request
from seneca.http.auth import current_caller

T = TypeVar("T")
DEFAULT_LIMIT, MAX_LIMIT = 500, 1000
MAX_QUERY_CHARACTERS = 200
LINK = {"Link": 'The next page, if there is one: `<…>; rel="next"`.'}


class PageParams(Struct, frozen=True):
    """The pagination and filter parameters of a request."""

    path: str
    limit: int
    cursor: str | None
    filters: dict[str, str]
    """The other query parameters."""
    caller: str
    """The caller's account id."""

    @property
    def query(self) -> str:
        """The text that entries must contain; empty for no filter."""
        return self.filters.get("q", "")

    @property
    def scope(self) -> str:
        """A digest of path, filters and caller. A cursor is valid only for the list with the same digest."""
        key = msgspec.json.encode((self.path.rstrip("/"), sorted(self.filters.items()), self.caller))
        return hashlib.sha256(key).hexdigest()[:18]

    def after(self, position_type: Any, first: T) -> T:
        """Decode the cursor: the position after which the page starts.

        Args:
            position_type: the type of a position.
            first: the position to return if the request has no cursor.

        Raises:
            InvalidInput: the cursor is malformed or belongs to another list.

        """
        if self.cursor is None:
            return first
        try:
            scope, value = msgspec.json.decode(
                base64.b64decode(self.cursor, b"-_", validate=True),
                type=tuple[str, position_type],
            )
        except (ValueError, binascii.Error, msgspec.DecodeError):
            scope, value = "", first
        if scope != self.scope:
            raise InvalidInput.field("cursor", "must be the cursor of this list's Link header")
        position: T = value
        return position

    def link(self, position: object) -> dict[str, str]:
        """The Link header to the page after this position; no header if it is None."""
        if position is None:
            return {}
        cursor = base64.b64encode(msgspec.json.encode((self.scope, position)), b"-_").decode()
        query = {"limit": str(self.limit), "cursor": cursor} | self.filters
        return {"Link": f'<{quote(self.path)}?{urlencode(query)}>; rel="next"'}


def page_params(request: Request) -> PageParams:
    """Read the pagination and filter parameters of a request.

    Raises:
        InvalidInput: the limit is out of range, or ``q`` is too long or contains NUL.

    """
    params = request.query_params
    limit = params.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MAX_LIMIT):
        raise InvalidInput.field("limit", f"must be a whole number from 1 to {MAX_LIMIT:,}")
    query = params.get("q", "")
    if len(query) > MAX_QUERY_CHARACTERS or "\0" in query:
        raise InvalidInput.field("q", f"must have at most {MAX_QUERY_CHARACTERS} characters, and none of them NUL")
    filters = {
        name: value for name, value in params.items() if name not in ("limit", "cursor") and (value or name != "q")
    }
    return PageParams(request.scope["path"], int(limit), params.get("cursor"), filters, current_caller(request).id)
