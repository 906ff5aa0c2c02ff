"""Respond with statistics: directly if they have few module names, else from a thread and through a temporary file."""

from collections.abc import Callable, Iterator
from tempfile import SpooledTemporaryFile
from typing import Any, Final

import msgspec

from seneca.database import Transaction
from seneca.http.app_state import Request, app_state
from seneca.http.auth import current_caller
from seneca.http.limits.concurrency import ACCOUNT_LIMITER, PERMIT
from seneca.http.limits.long_reads import scan
from seneca.http.responses import MAX_BYTES_IN_MEMORY, AsgiResponse, FileResponse, encode, json_response
from seneca.stats.queries import ManyNames, Statistics

NAMES_PER_CHUNK: Final = 500
NAMES_START: Final = b'"moduleNames":['


Statistic = Callable[..., Statistics]
"""A query for statistics: it takes a transaction, strings, and ``quick``."""


async def respond(request: Request, statistic: Statistic, *args: str) -> AsgiResponse:
    """Run a query for statistics and respond with the result.

    A result with many names is read and encoded on a thread, so that it does not block other requests, and sent from a temporary
    file, because it may exceed the memory budget for large responses.
    """

    def write(tx: Transaction) -> FileResponse:
        file = SpooledTemporaryFile(MAX_BYTES_IN_MEMORY, prefix="seneca-")  # noqa: SIM115 - sending it closes it
        try:
            for chunk in chunks(statistic(tx, *args, quick=False)):
                file.write(chunk)
        except BaseException:
            file.close()
            raise
        return FileResponse(file)

    try:
        return json_response(await app_state(request).database.read(statistic, *args, quick=True))
    except ManyNames:
        scope: Any = request.scope
        scope[PERMIT] = await scope[ACCOUNT_LIMITER].acquire(current_caller(request).id)
        return await scan(request, write)


def chunks(statistics: Statistics) -> Iterator[bytes]:
    """Encode statistics as JSON, ``NAMES_PER_CHUNK`` names at a time: encoding all of them at once would block other threads."""
    amount = statistics.module_amount
    names = amount.module_names
    empty = msgspec.structs.replace(statistics, module_amount=msgspec.structs.replace(amount, module_names=[]))
    head, start, tail = encode(empty).partition(NAMES_START)
    yield head + start
    for offset in range(0, len(names), NAMES_PER_CHUNK):
        yield (b"," if offset else b"") + encode(names[offset : offset + NAMES_PER_CHUNK])[1:-1]
    yield tail
