"""The ids of erased accounts in a file outside the database: a backup that is restored still has those accounts.

The table ``erasures`` is the truth; the file is completed from it. Lines may repeat.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from seneca import accounts, audit
from seneca.common.times import from_iso, to_iso
from seneca.database import Database, Transaction
from seneca.errors import CommandError
from seneca.privacy import erased_accounts, erasure

FILE: Final = "erased-accounts"
MAX_LINE_BYTES: Final = 1000  # bytes


class ErasureLine(Struct, frozen=True, rename="camel"):
    """A line of the file."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    erased_at: str


_decoder: Final = msgspec.json.Decoder(ErasureLine)


def append(path: Path, erased: Iterable[tuple[str, int]]) -> None:
    """Add ids, and when they were erased (milliseconds since 1970), to the file; they are on disk when this returns.

    Raises:
        OSError: they are not.

    """
    lines = b"".join(msgspec.json.encode(ErasureLine(id_, to_iso(at))) + b"\n" for id_, at in erased)
    if not lines:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":  # somebody was cut off
            lines = b"\n" + lines
        while lines:
            lines = lines[file.write(lines) or 0 :]
        os.fsync(file.fileno())


def read(path: Path) -> Iterator[tuple[str, int]]:
    """The ids in the file, and when they were erased; lines that are none are passed over.

    Raises:
        OSError: it cannot be read.

    """
    with path.open("rb") as file:
        while raw := file.readline(MAX_LINE_BYTES):
            try:
                line = _decoder.decode(raw)
                yield line.id, from_iso(line.erased_at)
            except (msgspec.DecodeError, ValueError):
                continue


def listed(path: Path) -> dict[str, int]:
    """The ids in the file, and when each was erased (milliseconds since 1970).

    Raises:
        CommandError: the file cannot be read.

    """
    try:
        return dict(read(path))
    except OSError as error:
        raise CommandError(f"The file {path} cannot be read: {error.strerror}.") from error


def complete(database: Database, path: Path) -> None:
    """Add those ids to the file that the database has and the file has not.

    Raises:
        CommandError: the file can be neither read nor written.
        ServiceUnavailable: the database cannot be read.

    """
    with database.read_transaction() as tx:
        missing = dict(erased_accounts.fetch_all(tx))
    try:
        if missing and path.exists():
            for id_, _ in read(path):
                missing.pop(id_, None)
        append(path, missing.items())
    except OSError as error:
        raise CommandError(f"The file {path} can be neither read nor written: {error.strerror}.") from error


async def replay(database: Database, path: Path, now: int) -> int:
    """Erase every account again whose id is in the file; nothing brings them back afterwards.

    Args:
        database: restored from a backup, or any other.
        path: the file.
        now: milliseconds since 1970.

    Returns:
        How many were there, and are erased. Even the last administrator is.

    Raises:
        CommandError: the file cannot be read.
        ServiceUnavailable: the database cannot be used; it may be replayed again.

    """
    erased = listed(path)

    def note(tx: Transaction) -> list[str]:
        for account_id, erased_at in erased.items():
            erased_accounts.record(tx, account_id, erased_at)
        found = [account_id for account_id in erased if accounts.role(tx, account_id) is not None]
        audit.record(tx, None, "erasures.replayed", audit.WHOLE_DATABASE, now, listed=len(erased), erased=len(found))
        return found

    found = await database.write(note)
    for account_id in found:
        await database.write(erasure.erase, None, account_id, now, even_last=True)
    await erasure.finish_all(database)
    return len(found)
