"""Files of tables for spreadsheets, CSV and XLSX, written row by row in bounded memory.

A cell of text never becomes a formula: spreadsheet programs would run it.
"""

import csv
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from io import TextIOWrapper
from tempfile import SpooledTemporaryFile, TemporaryDirectory
from typing import Any, ClassVar, Final, Protocol, cast

from seneca.errors import TooManyRows
from seneca.http.responses import MAX_BYTES_IN_MEMORY

Cell = str | int | float | Decimal | None
"""A text, a number, a boolean, or nothing."""
CSV: Final = "text/csv"
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MAX_XLSX_ROWS: Final = 20_000
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


class TableFile(Protocol):
    """A file that is being written. ``finish`` or ``discard`` must be called in the end."""

    extension: ClassVar[str]

    def write_row(self, cells: Sequence[Cell]) -> None:
        """Add a row; the first one has the names of the columns.

        Raises:
            OSError: the disk is full.
            TooManyRows: the format allows no more.

        """

    def finish(self) -> "SpooledTemporaryFile[bytes]":
        """Complete the file; its position is its end. Raises OSError: the disk is full."""

    def discard(self) -> None:
        """Delete everything."""


def _temporary_file() -> "SpooledTemporaryFile[bytes]":
    return SpooledTemporaryFile(MAX_BYTES_IN_MEMORY, prefix="seneca-")


class CsvFile:
    """CSV in UTF-8 with a byte order mark, without which Excel guesses another encoding, and with CRLF."""

    extension: ClassVar[str] = "csv"

    def __init__(self) -> None:
        self._file = _temporary_file()
        self._text = TextIOWrapper(cast("Any", self._file), "utf-8-sig", newline="")
        self._writer = csv.writer(self._text)

    def write_row(self, cells: Sequence[Cell]) -> None:
        """Add a row."""
        self._writer.writerow([_csv_cell(cell) for cell in cells])

    def finish(self) -> "SpooledTemporaryFile[bytes]":
        """Complete the file. Raises OSError: the disk is full."""
        self._text.detach()  # writes what is buffered
        return self._file

    def discard(self) -> None:
        """Delete the file."""
        self._text.close()


def _csv_cell(cell: Cell) -> object:
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return cell


class XlsxFile:
    """One worksheet with a frozen header. XlsxWriter keeps one row in memory, the others in files of a temporary directory."""

    extension: ClassVar[str] = "xlsx"

    def __init__(self) -> None:
        from xlsxwriter import Workbook  # takes 50 ms to import
        from xlsxwriter.worksheet import Worksheet

        class Sheet(Worksheet):
            """In constant memory, XlsxWriter takes text of the form ``<r>…</r>`` for XML of its own. Here it is text."""

            def _xml_rich_inline_string(self, string: str, attributes: Sequence[tuple[str, object]] = ()) -> None:
                self._xml_inline_string(string, preserve=True, attributes=attributes)

        self._directory = TemporaryDirectory(prefix="seneca-")
        self._file = _temporary_file()
        self._workbook = Workbook(
            self._file,
            {
                "constant_memory": True,
                "tmpdir": self._directory.name,
                "strings_to_formulas": False,
                "strings_to_urls": False,
            },
        )
        self._sheet: Any = self._workbook.add_worksheet("Seneca", Sheet)
        self._sheet.freeze_panes(1, 0)
        self._rows = 0

    def write_row(self, cells: Sequence[Cell]) -> None:
        """Add a row. Text that is longer than the format allows is cut.

        Raises:
            TooManyRows: there are ``MAX_XLSX_ROWS`` already, and the header.

        """
        if self._rows > MAX_XLSX_ROWS:
            raise TooManyRows(
                f"An XLSX file has at most {MAX_XLSX_ROWS:,} rows. Ask for CSV (Accept: text/csv), or for fewer rows with a filter."
            )
        for column, cell in enumerate(cells):
            if isinstance(cell, str):
                self._sheet.write_string(self._rows, column, cell)
            elif isinstance(cell, bool):
                self._sheet.write_boolean(self._rows, column, cell)
            elif cell is not None:
                self._sheet.write_number(self._rows, column, cast("float", cell))
        self._rows += 1

    def finish(self) -> "SpooledTemporaryFile[bytes]":
        """Compress the rows into the file. Raises OSError: the disk is full."""
        from xlsxwriter.exceptions import FileCreateError

        try:
            self._workbook.close()
        except FileCreateError as error:
            self.discard()
            raise OSError(str(error)) from error
        self._directory.cleanup()
        return self._file

    def discard(self) -> None:
        """Delete the files."""
        with suppress(OSError):  # the disk has no space for what is buffered
            self._sheet.row_data_fh.close()
        self._directory.cleanup()
        self._file.close()


FILES: Final[dict[str, type[CsvFile] | type[XlsxFile]]] = {CSV: CsvFile, XLSX: XlsxFile}
