"""The audit log over HTTP."""

from typing import Any

from litestar import Request, get

from seneca import audit
from seneca.api import examples, paging
from seneca.api.long_reads import scan
from seneca.api.operation import Answer, operation
from seneca.api.reply import Reply, reply


@get(
    "/audit",
    opt=operation(
        tag="Privacy",
        who="admin",
        query=["limit", "cursor"],
        answers=[Answer(200, "Acts, the newest first.", list[audit.Entry], [examples.ENTRY], paging.LINK)],
    ),
)
async def page(request: Request[Any, Any, Any]) -> Reply:
    """List who did what to whom, the newest first: every administrative act, in identifiers only."""
    asked = paging.asked(request)
    after = asked.after(audit.Place, audit.NEWEST)
    found = await scan(request, audit.page, after, asked.limit)
    return reply(found.entries, headers=asked.link(found.more_after))


ROUTES = [page]
