"""The audit log over HTTP."""

from typing import Any

from litestar import Request, get

from seneca import audit
from seneca.http import examples, pagination
from seneca.http.endpoint import ResponseSpec, operation
from seneca.http.limits.long_reads import scan
from seneca.http.responses import JsonResponse, json_response


@get(
    "/audit",
    opt=operation(
        tag="Privacy",
        requires="admin",
        query=["limit", "cursor"],
        responses=[ResponseSpec(200, "Acts, the newest first.", list[audit.Entry], [examples.ENTRY], pagination.LINK)],
    ),
)
async def page(request: Request[Any, Any, Any]) -> JsonResponse:
    """List who did what to whom, the newest first: every administrative act, in identifiers only."""
    asked = pagination.page_params(request)
    after = asked.after(audit.Cursor, audit.FIRST_PAGE)
    found = await scan(request, audit.page, after, asked.limit)
    return json_response(found.items, headers=asked.link(found.next_cursor))


ROUTES = [page]
