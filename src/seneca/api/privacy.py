"""Export and erasure of one person's data over HTTP: by themselves, or by an administrator."""

from tempfile import SpooledTemporaryFile
from typing import Final

from msgspec import Struct

from seneca import accounts
from seneca.auth import login, passwords
from seneca.database import Transaction
from seneca.errors import AccountNotFound, InvalidCredentials, LastAdministrator, OwnAccount, TooManyRequests
from seneca.http import examples
from seneca.http.app_state import Request, app_state, now_ms
from seneca.http.auth import current_caller, log_failed_login, write_as_caller
from seneca.http.client_address import client_address
from seneca.http.endpoint import ResponseSpec, endpoint
from seneca.http.limits.long_reads import export
from seneca.http.requests import path_uuid
from seneca.http.responses import MAX_BYTES_IN_MEMORY, FileResponse, Response, empty_response
from seneca.privacy import data_export, erasure
from seneca.privacy.data_export import DataExport

TAG: Final = "Privacy"
CONTENT_DISPOSITION: Final = {"Content-Disposition": "The name of the file to save."}
EXPORT = ResponseSpec(200, "All data held about the person.", DataExport, examples.DATA_EXPORT, CONTENT_DISPOSITION)


class AccountErasure(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to erase the caller's own account."""

    password: passwords.SentPassword


async def export_account(request: Request, account_id: str) -> FileResponse:
    """All data held about an account, read from one snapshot. Raises AccountNotFound."""

    def work(tx: Transaction, now: int) -> FileResponse:
        file = SpooledTemporaryFile(MAX_BYTES_IN_MEMORY, prefix="seneca-")  # noqa: SIM115 - sending it closes it
        try:
            data_export.write(tx, account_id, now, file.write)
        except BaseException:
            file.close()
            raise
        return FileResponse(file, name=f"seneca-{account_id}.json")

    return await export(request, work, now_ms())


@endpoint(
    "GET",
    "/auth/me/export",
    tag=TAG,
    requires="signed-in",
    is_download=True,
    responses=[EXPORT],
    errors=[AccountNotFound],
)
async def export_own(request: Request) -> FileResponse:
    """Export all data held about the caller."""
    return await export_account(request, current_caller(request).id)


@endpoint(
    "GET",
    "/users/{userId}/export",
    tag=TAG,
    requires="admin",
    is_download=True,
    responses=[EXPORT],
    errors=[AccountNotFound],
)
async def export_anothers(request: Request) -> FileResponse:
    """Export all data held about an account.

    The export is recorded in the audit log.
    """
    user_id = path_uuid(request, "userId")
    await write_as_caller(
        request, data_export.record, user_id, now_ms()
    )  # before the export, so that none goes unrecorded
    return await export_account(request, user_id)


@endpoint(
    "DELETE",
    "/auth/me",
    tag=TAG,
    requires="signed-in",
    example=examples.ACCOUNT_ERASURE,
    responses=[ResponseSpec(204, "Deleted.")],
    errors=[InvalidCredentials, TooManyRequests, AccountNotFound, LastAdministrator],
)
async def erase_own(request: Request, data: AccountErasure) -> Response:
    """Erase the caller's account and all data held about them.

    Every statistic is corrected accordingly.
    """
    caller, state = current_caller(request), app_state(request)
    account = await state.database.read(accounts.get, caller.id)
    now = now_ms()
    with log_failed_login(request):
        async with login.authenticate(state, account.username, data.password, client_address(request)) as verified:
            result = await state.database.write(erasure.erase_self, caller, verified.account, verified.attempt, now)
    state.token_verifier.revoke([*result.sign_ins, caller.sign_in])
    await state.erasure_worker.finish_erasure(caller.id, now, is_complete=result.is_complete)
    return empty_response()


@endpoint(
    "DELETE",
    "/users/{userId}",
    tag=TAG,
    requires="admin",
    responses=[ResponseSpec(204, "Deleted.")],
    errors=[AccountNotFound, LastAdministrator, OwnAccount],
)
async def erase_another(request: Request) -> Response:
    """Erase another account and all data held about it.

    Every statistic is corrected accordingly, and the account's sign-ins end. To erase your own account, use `DELETE /auth/me`.
    """
    user_id, state, now = path_uuid(request, "userId"), app_state(request), now_ms()
    result = await write_as_caller(request, erasure.erase_another, user_id, now)
    state.token_verifier.revoke(result.sign_ins)
    await state.erasure_worker.finish_erasure(user_id, now, is_complete=result.is_complete)
    return empty_response()


ROUTES = [export_own, export_anothers, erase_own, erase_another]
