"""Run reads that may touch many rows, on threads that accounts share fairly."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from seneca.database import Transaction
from seneca.http.app_state import Request, app_state
from seneca.http.auth import check_still_signed_in, current_caller

P = ParamSpec("P")
T = TypeVar("T")


async def scan(
    request: Request, f: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Wait for a list slot, then run ``f(tx, …)``, which reads no more than one page of a list.

    Raises:
        Unauthenticated: the caller's sign-in ended during the wait.

    """
    state = app_state(request)
    async with state.list_slots.slot(current_caller(request).id):
        check_still_signed_in(request)
        return await state.database.scan(f, *args, **kwargs)


async def export(
    request: Request, f: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Wait for an export slot, then run ``f(tx, …)``, which may take long. Lists do not wait for exports.

    Raises:
        Unauthenticated: the caller's sign-in ended during the wait.

    """
    state = app_state(request)
    async with state.export_slots.slot(current_caller(request).id):
        check_still_signed_in(request)
        return await state.database.scan(f, *args, **kwargs)
