"""Lists in pages: ``cutoff``, an opaque ``cursor``, and the link to the next page (RFC 8288)."""

import base64
import binascii
import hashlib
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from litestar import Request
from msgspec import Struct

from seneca.errors import InvalidInput
from seneca.http.auth import current_caller

T = TypeVar("T")
DEFAULT, MOST = 500, 1000
MAX_QUERY_CHARACTERS = 200
LINK = {"Link": 'The next page, if there is one: `<…>; rel="next"`.'}


class PageParams(Struct, frozen=True):
    """The page that a request asks for: how long, and the last page's cursor."""

    path: str
    limit: int
    cursor: str | None
    filters: dict[str, str]
    """The other query parameters."""
    caller: str
    """The id of the account whose list it is."""

    @property
    def query(self) -> str:
        """What entries must contain; empty: anything."""
        return self.filters.get("q", "")

    @property
    def scope(self) -> str:
        """Which list a cursor belongs to: a digest of the path, the filters and the caller."""
        of = msgspec.json.encode((self.path.rstrip("/"), sorted(self.filters.items()), self.caller))
        return hashlib.sha256(of).hexdigest()[:18]

    def after(self, kind: Any, beginning: T) -> T:
        """The place after which the page begins.

        Raises:
            InvalidInput: the cursor is not one of this list.

        """
        if self.cursor is None:
            return beginning
        try:
            scope, place = msgspec.json.decode(
                base64.b64decode(self.cursor, b"-_", validate=True),
                type=tuple[str, kind],
            )
        except (ValueError, binascii.Error, msgspec.DecodeError):
            scope, place = "", beginning
        if scope != self.scope:
            raise InvalidInput.field("cursor", "must be the cursor of this list's Link header")
        found: T = place
        return found

    def link(self, place: object) -> dict[str, str]:
        """The headers that lead to the page after this place (None: there is none)."""
        if place is None:
            return {}
        cursor = base64.b64encode(msgspec.json.encode((self.scope, place)), b"-_").decode()
        query = {"limit": str(self.limit), "cursor": cursor} | self.filters
        return {"Link": f'<{quote(self.path)}?{urlencode(query)}>; rel="next"'}


def page_params(request: Request[Any, Any, Any]) -> PageParams:
    """The page that a request asks for.

    Raises:
        InvalidInput: the limit is out of range, or a parameter is given twice.

    """
    given = request.query_params
    for name in given:
        if len(given.getall(name)) > 1:
            raise InvalidInput.field(name, "must be given once")
    limit = given.get("limit", str(DEFAULT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MOST):
        raise InvalidInput.field("limit", f"must be a whole number from 1 to {MOST:,}")
    query = given.get("q", "")
    if len(query) > MAX_QUERY_CHARACTERS or "\0" in query:
        raise InvalidInput.field("q", f"must have at most {MAX_QUERY_CHARACTERS} characters, and none of them NUL")
    filters = {name: value for name, value in given.items() if name not in ("limit", "cursor") and value}
    return PageParams(request.scope["path"], int(limit), given.get("cursor"), filters, current_caller(request).id)
