"""Lists as tables for spreadsheets: an endpoint declares its ``Table``; the client chooses with Accept.

JSON is sent where a client asks for nothing else, and where nothing else fits. A table has every selected row, whatever ``limit`` and ``cursor``
say: its rows are read page by page from one snapshot to a temporary file, and sent from there.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Generic, TypeVar, cast

import msgspec
from msgspec import Struct

from seneca.common.pages import Page, iterate
from seneca.database import Transaction
from seneca.errors import ServiceUnavailable, reason
from seneca.http.app_state import Request, app_state
from seneca.http.content_negotiation import choose_media_type
from seneca.http.limits.long_reads import hold_export_slot, scan
from seneca.http.pagination import page_params
from seneca.http.responses import AsgiResponse, FileResponse, encode, json_response
from seneca.http.table_files import CSV, FILES, XLSX, Cell, TableFile

T = TypeVar("T")
C = TypeVar("C")

TABLE: Final = "table"
"""Key of the request's scope: the ``Table`` that the endpoint declares. The middleware then adds ``Vary: Accept``."""
JSON: Final = "application/json"
MEDIA_TYPES: Final = (JSON, CSV, XLSX)
ENTRIES_PER_PAGE: Final = 500


class Table(Struct, Generic[T], frozen=True):
    """How a list becomes a table."""

    name: str
    """Of the file, without its extension."""
    columns: Sequence[str]
    rows: Callable[[T], Iterable[Sequence[Cell]]]
    """The rows of one entry of the list: one, or one for each entry of its nested list."""


def struct_table(name: str, kind: type[Struct]) -> Table[Any]:
    """Make the table of a list of structs: a column for each member, in which lists and objects are JSON."""
    fields = msgspec.structs.fields(kind)

    def rows(entry: object) -> Iterator[Sequence[Cell]]:
        yield [to_cell(getattr(entry, field.name)) for field in fields]

    return Table(name, [field.encode_name for field in fields], rows)


def to_cell(value: object) -> Cell:
    """Convert a value to a cell: lists and objects to JSON."""
    is_json = isinstance(value, list | dict | msgspec.Raw | Struct)
    return encode(value).decode() if is_json else cast("Cell", value)


async def list_response(
    request: Request, read: Callable[[Transaction, C, int], Page[T, C]], cursor: Any, first: C
) -> AsgiResponse:
    """Respond with one page of a list as JSON, or with the whole list as a table.

    Args:
        request: the request, of an endpoint that declares a table.
        read: reads a page: the transaction, the position after which it starts, and its maximum number of entries.
        cursor: the type of a position.
        first: the position before the first entry.

    Raises:
        InvalidInput: the limit or the cursor is not valid.
        TooManyRows: an XLSX file would have too many rows.

    """
    params = page_params(request)
    after = params.after(cursor, first)
    media_type = choose_media_type(request, MEDIA_TYPES)
    if media_type == JSON:
        page = await scan(request, read, after, params.limit)
        return json_response(page.items, headers=params.link(page.next_cursor))
    return await table_response(
        request, media_type, lambda tx: iterate(lambda after: read(tx, after, ENTRIES_PER_PAGE), first)
    )


async def table_response(
    request: Request, media_type: str, read: Callable[[Transaction], Iterable[object]]
) -> FileResponse:
    """Respond with a table.

    Args:
        request: the request, of an endpoint that declares a table.
        media_type: ``CSV`` or ``XLSX``.
        read: reads all entries, in bounded memory.

    Raises:
        TooManyRows: an XLSX file would have too many rows.
        ServiceUnavailable: a temporary file cannot be written.

    """
    scope: Any = request.scope
    table: Table[Any] = scope[TABLE]

    def write(tx: Transaction) -> TableFile:
        file = FILES[media_type]()
        try:
            file.write_row(table.columns)
            for entry in read(tx):
                for row in table.rows(entry):
                    file.write_row(row)
        except BaseException:
            file.discard()
            raise
        return file

    try:
        async with hold_export_slot(request):
            file = await app_state(request).database.scan(write)
            content = await asyncio.to_thread(file.finish)  # the snapshot is no longer needed
    except OSError as error:
        raise ServiceUnavailable(f"The table cannot be written: {reason(error)}.") from error
    return FileResponse(content, media_type, f"seneca-{table.name}.{file.extension}")
