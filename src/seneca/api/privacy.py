"""Taking out and erasing what is held about one person, over HTTP: by themselves, and by an administrator."""

from tempfile import SpooledTemporaryFile
from typing import Any, Final

from litestar import Request, delete, get
from msgspec import Struct

from seneca import accounts, audit
from seneca.accounts import Credentials
from seneca.api.auth import authenticate
from seneca.auth import login_throttle, passwords
from seneca.auth.login_throttle import LoginAttempt
from seneca.auth.password_hasher_pool import HashingSlot
from seneca.database import Transaction
from seneca.errors import AccountNotFound, InvalidCredentials, LastAdministrator, OwnAccount, TooManyRequests
from seneca.http import examples, path_parameters, request_bodies
from seneca.http.app_state import app_state, now
from seneca.http.auth import current_caller, write_as_admin
from seneca.http.endpoint import ResponseSpec, operation
from seneca.http.limits.long_reads import export
from seneca.http.responses import MAX_BYTES_IN_MEMORY, FileResponse, JsonResponse, empty_response
from seneca.privacy import data_export, erasure
from seneca.privacy.data_export import Export

AnyRequest = Request[Any, Any, Any]
TAG: Final = "Privacy"
FILE_NAME: Final = {"Content-Disposition": "To be saved as a file."}
WHOLE = ResponseSpec(200, "Everything that is held.", Export, examples.EXPORT, FILE_NAME)


class Erasure(Struct, frozen=True, forbid_unknown_fields=True):
    """A request to erase one's own account."""

    password: passwords.SentPassword


async def download(request: AnyRequest, account_id: str) -> FileResponse:
    """Everything that is held about an account, from one snapshot. Raises AccountNotFound."""

    def work(tx: Transaction, moment: int) -> FileResponse:
        file = SpooledTemporaryFile(MAX_BYTES_IN_MEMORY, prefix="seneca-")  # noqa: SIM115 - sending it closes it
        try:
            data_export.write(tx, account_id, moment, file.write)
        except BaseException:
            file.close()
            raise
        return FileResponse(file, f"seneca-{account_id}.json")

    return await export(request, work, now())


@get(
    "/auth/me/export",
    opt=operation(tag=TAG, requires="signed-in", is_download=True, responses=[WHOLE], errors=[AccountNotFound]),
)
async def export_own(request: AnyRequest) -> FileResponse:
    """Take out everything that is held about the caller."""
    return await download(request, current_caller(request).id)


@get(
    "/users/{userId:str}/export",
    opt=operation(tag=TAG, requires="admin", is_download=True, responses=[WHOLE], errors=[AccountNotFound]),
)
async def export_anothers(request: AnyRequest) -> FileResponse:
    """Take out everything that is held about an account. The audit log says so."""
    user_id, caller = path_parameters.identifier(request, "userId"), current_caller(request)

    def note(tx: Transaction, moment: int) -> None:
        accounts.get(tx, user_id)
        audit.record(tx, caller.id, "account.exported", user_id, moment)

    await write_as_admin(request, caller, note)  # first: nothing goes out unrecorded
    return await download(request, user_id)


@delete(
    "/auth/me",
    status_code=200,  # the framework's word only; the answer is a 204
    opt=operation(
        tag=TAG,
        requires="signed-in",
        body=Erasure,
        example=examples.ERASURE,
        responses=[ResponseSpec(204, "It is gone.")],
        errors=[InvalidCredentials, TooManyRequests, AccountNotFound, LastAdministrator],
    ),
)
async def erase_own(request: AnyRequest) -> JsonResponse:
    """Erase the caller's account and everything that is held about them. Every figure is corrected."""
    given = await request_bodies.read(request, Erasure)
    caller, shared = current_caller(request), app_state(request)
    account = await shared.database.read(accounts.get, caller.id)
    moment = now()

    async def erase(verified: Credentials, attempt: LoginAttempt, _: HashingSlot) -> erasure.ErasureResult | None:
        if verified.id != caller.id:  # the name is somebody else's by now
            raise AccountNotFound

        def work(tx: Transaction) -> erasure.ErasureResult | None:
            login_throttle.withdraw(tx, attempt)
            return erasure.erase_self(tx, caller, verified, moment)

        return await shared.database.write(work)

    erased = await authenticate(request, account.username, given.password, erase)
    shared.token_verifier.revoke([*erased.sign_ins, caller.sign_in])
    await shared.erasure_worker.finish_erasure(caller.id, moment, is_complete=erased.is_complete)
    return empty_response()


@delete(
    "/users/{userId:str}",
    status_code=200,  # the framework's word only; the answer is a 204
    opt=operation(
        tag=TAG,
        requires="admin",
        responses=[ResponseSpec(204, "It is gone.")],
        errors=[AccountNotFound, LastAdministrator, OwnAccount],
    ),
)
async def erase_another(request: AnyRequest) -> JsonResponse:
    """Erase another account and everything that is held about it. Every figure is corrected, and its sign-ins end.

    One's own account is erased by `DELETE /auth/me`.
    """
    user_id, caller = path_parameters.identifier(request, "userId"), current_caller(request)
    shared, moment = app_state(request), now()
    if user_id == caller.id:
        raise OwnAccount("Erase your own account with DELETE /auth/me, which asks for your password.")

    def erase(tx: Transaction, _: int) -> erasure.ErasureResult:
        return erasure.erase(tx, caller.id, user_id, moment)

    erased = await write_as_admin(request, caller, erase, subject=user_id)
    shared.token_verifier.revoke(erased.sign_ins)
    await shared.erasure_worker.finish_erasure(user_id, moment, is_complete=erased.is_complete)
    return empty_response()


ROUTES = [export_own, export_anothers, erase_own, erase_another]
