"""Answer with statistics, however many module names they have: few at once, many from a thread, through a file."""

from collections.abc import Callable, Iterator
from tempfile import SpooledTemporaryFile
from typing import Any, Final

import msgspec
from litestar import Request

from seneca.database import Transaction
from seneca.http.app_state import app_state
from seneca.http.auth import current_caller
from seneca.http.limits.concurrency import ACCOUNT_LIMITER, PERMIT
from seneca.http.limits.long_reads import scan
from seneca.http.responses import MAX_BYTES_IN_MEMORY, AsgiResponse, FileResponse, encode, json_response
from seneca.stats.queries import ManyNames, Statistics

NAMES_AT_ONCE: Final = 500
START_OF_NAMES: Final = b'"moduleNames":['


Statistic = Callable[..., Statistics]
"""What reads statistics: takes a transaction, texts, and ``quick``."""


async def respond(request: Request[Any, Any, Any], statistic: Statistic, *args: str) -> AsgiResponse:
    """Read statistics and answer with them.

    Those of many names are read and encoded on a thread, so that nobody waits for them, and then kept in a temporary file
    while they are sent: they may have more bytes than the memory for large answers.
    """

    def write(tx: Transaction) -> FileResponse:
        file = SpooledTemporaryFile(MAX_BYTES_IN_MEMORY, prefix="seneca-")  # noqa: SIM115 - sending it closes it
        try:
            for piece in pieces(statistic(tx, *args, quick=False)):
                file.write(piece)
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


def pieces(statistics: Statistics) -> Iterator[bytes]:
    """Statistics as JSON, some names at a time: encoding all at once would hold up every other thread."""
    amount = statistics.module_amount
    names = amount.module_names
    empty = msgspec.structs.replace(statistics, module_amount=msgspec.structs.replace(amount, module_names=[]))
    head, start, tail = encode(empty).partition(START_OF_NAMES)
    yield head + start
    for at in range(0, len(names), NAMES_AT_ONCE):
        yield (b"," if at else b"") + encode(names[at : at + NAMES_AT_ONCE])[1:-1]
    yield tail
