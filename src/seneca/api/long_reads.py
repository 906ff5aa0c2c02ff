"""Reads that may touch many rows: on threads that the accounts share fairly."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from litestar import Request

from seneca.api.caller import caller_of
from seneca.api.services import services
from seneca.database import Transaction

P = ParamSpec("P")
T = TypeVar("T")


async def scan(
    request: Request[Any, Any, Any], f: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run ``f(tx, …)``, as long as a page of a list takes, once it is the caller's turn."""
    shared = services(request)
    async with shared.list_slots.slot(caller_of(request).id):
        return await shared.database.scan(f, *args, **kwargs)


async def export(
    request: Request[Any, Any, Any], f: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run ``f(tx, …)``, however long that takes, once it is the caller's turn. Lists do not wait for it."""
    shared = services(request)
    async with shared.export_slots.slot(caller_of(request).id):
        return await shared.database.scan(f, *args, **kwargs)
