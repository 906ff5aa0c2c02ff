"""The audit log over HTTP."""

from seneca import audit
from seneca.audit import AuditEntry
from seneca.http import examples, pagination
from seneca.http.app_state import Request
from seneca.http.endpoint import ResponseSpec, endpoint
from seneca.http.responses import AsgiResponse
from seneca.http.tables import list_response, struct_table


@endpoint(
    "GET",
    "/audit",
    tag="Privacy",
    requires="admin",
    query=["limit", "cursor"],
    table=struct_table("audit", AuditEntry),
    responses=[
        ResponseSpec(200, "Audit entries, newest first.", list[AuditEntry], [examples.AUDIT_ENTRY], pagination.LINK)
    ],
)
async def page(request: Request) -> AsgiResponse:
    """List the audit log, newest first.

    It has every administrative action, with actor and subject as ids only.
    """
    return await list_response(request, audit.page, audit.Cursor, audit.FIRST_PAGE)


ROUTES = [page]
