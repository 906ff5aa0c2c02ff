"""Run reads that may touch many rows, on threads that accounts share fairly."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def hold_export_slot(request: Request) -> AsyncIterator[None]:
    """Hold an export slot during the block. Lists do not wait for exports.

    Raises:
        Unauthenticated: the caller's sign-in ended during the wait.

    """
    async with app_state(request).export_slots.slot(current_caller(request).id):
        check_still_signed_in(request)
        yield


async def export(
    request: Request, f: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Hold an export slot, and run ``f(tx, …)``, which may take long. Raises as ``hold_export_slot`` does."""
    async with hold_export_slot(request):
        return await app_state(request).database.scan(f, *args, **kwargs)
