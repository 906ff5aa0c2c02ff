"""The audit log over HTTP."""

from seneca import audit
from seneca.http import examples, pagination
from seneca.http.app_state import Request
from seneca.http.endpoint import ResponseSpec, endpoint
from seneca.http.limits.long_reads import scan
from seneca.http.responses import Response, json_response


@endpoint(
    "GET",
    "/audit",
    tag="Privacy",
    requires="admin",
    query=["limit", "cursor"],
    responses=[
        ResponseSpec(
            200, "Audit entries, newest first.", list[audit.AuditEntry], [examples.AUDIT_ENTRY], pagination.LINK
        )
    ],
)
async def page(request: Request) -> Response:
    """List the audit log, newest first.

    It has every administrative action, with actor and subject as ids only.
    """
    params = pagination.page_params(request)
    after = params.after(audit.Cursor, audit.FIRST_PAGE)
    result = await scan(request, audit.page, after, params.limit)
    return json_response(result.items, headers=params.link(result.next_cursor))


ROUTES = [page]
