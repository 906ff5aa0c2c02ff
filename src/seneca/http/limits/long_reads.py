"""Reads that may touch many rows: on threads that the accounts share fairly."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from litestar import Request

from seneca.database import Transaction
from seneca.http.app_state import app_state
from seneca.http.auth import check_still_signed_in, current_caller

P = ParamSpec("P")
T = TypeVar("T")


async def scan(
    request: Request[Any, Any, Any], f: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run ``f(tx, …)``, as long as a page of a list takes, once it is the caller's turn.

    Raises:
        Unauthenticated: the caller's sign-in ended while it was waited for.

    """
    shared = app_state(request)
    async with shared.list_slots.slot(current_caller(request).id):
        check_still_signed_in(request)
        return await shared.database.scan(f, *args, **kwargs)


async def export(
    request: Request[Any, Any, Any], f: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run ``f(tx, …)``, however long that takes, once it is the caller's turn. Lists do not wait for it. Raises as ``scan``."""
    shared = app_state(request)
    async with shared.export_slots.slot(current_caller(request).id):
        check_still_signed_in(request)
        return await shared.database.scan(f, *args, **kwargs)
