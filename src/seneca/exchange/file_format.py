"""Recognise files that are not JSON Lines, and tell the user how to convert them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from seneca.errors import CommandError

HEAD_BYTES: Final = 8 * 1024  # of the file that are inspected
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
JSON_LINES: Final = "seneca import reads JSON Lines, one JSON object per line, as seneca export writes them: see docs/exchange-format.md."
SIGNATURES: Final = (
    (b"SQLite format 3\0", "is an SQLite database. If it is a backup of Seneca, use: seneca restore FILE."),
    (b"PGDMP", "is a backup of a PostgreSQL database: see docs/backup.md."),
    (b"PK\x03\x04", f"is a ZIP archive or a spreadsheet (XLSX, ODS). {JSON_LINES}"),
    (b"PK\x05\x06", f"is an empty ZIP archive. {JSON_LINES}"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"is a Microsoft Office spreadsheet or document. {JSON_LINES}"),
    (b"%PDF-", f"is a PDF document. {JSON_LINES}"),
    (b"\xff\xfe", "is in UTF-16. Convert it to UTF-8 first."),
    (b"\xfe\xff", "is in UTF-16. Convert it to UTF-8 first."),
    (b"BZh", "is compressed with bzip2. Unpack it first: seneca import reads gzip, or plain files."),
    (b"\xfd7zXZ\0", "is compressed with xz. Unpack it first: seneca import reads gzip, or plain files."),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd. Unpack it first: seneca import reads gzip, or plain files."),
)
"""The first bytes of a file, and the message about its format."""


class NotJsonLines(CommandError):
    """The file has another format; the text names it and says what to do."""


def check_format(path: Path, head: bytes) -> None:
    """Check that a file may be JSON Lines.

    Args:
        path: the file; ``-`` is standard input.
        head: its first bytes, decompressed.

    Raises:
        NotJsonLines: the file has another known format.

    """
    if message := _recognise(head):
        name = "Standard input" if str(path) == "-" else str(path)
        raise NotJsonLines(f"{name} {message}")


def _recognise(head: bytes) -> str | None:
    for signature, message in SIGNATURES:
        if head.startswith(signature):
            return message
    lines = [line.strip() for line in head.removeprefix(BYTE_ORDER_MARK).splitlines() if line.strip()]
    if not lines:
        return None
    if lines[0].startswith(b"["):
        return f"is a JSON array. {JSON_LINES} To convert it: jq -c '.[]' FILE."
    if lines[0].startswith(b"{"):
        is_pretty = len(lines) > 1 and lines[0].endswith((b"{", b"[", b","))
        return f"is JSON over several lines. {JSON_LINES} To convert it: jq -c . FILE." if is_pretty else None
    return f"is CSV. {JSON_LINES}" if _is_table(lines) else None


def _is_table(lines: Iterable[bytes]) -> bool:
    """Whether every line has several cells and none is a JSON object."""
    return all(
        not line.startswith(b"{") and any(delimiter in line for delimiter in (b",", b";", b"\t")) for line in lines
    )
