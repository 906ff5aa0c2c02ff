"""The erasure log: a file outside the database with the ids of erased accounts, for use after a backup is restored.

The table ``erasures`` is authoritative, and missing ids are copied from it to the file. Lines may repeat.
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
MAX_LINE_BYTES: Final = 1000


class ErasureLine(Struct, frozen=True, rename="camel"):
    """A line of the file."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    erased_at: str


_decoder: Final = msgspec.json.Decoder(ErasureLine)


def append(path: Path, erased: Iterable[tuple[str, int]]) -> None:
    """Append ids and times of erasure (milliseconds since 1970) to the file, and sync it to disk.

    Raises:
        OSError: the file cannot be written.

    """
    lines = b"".join(msgspec.json.encode(ErasureLine(id_, to_iso(at))) + b"\n" for id_, at in erased)
    if not lines:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":  # an earlier write was interrupted
            lines = b"\n" + lines
        while lines:
            lines = lines[file.write(lines) or 0 :]
        os.fsync(file.fileno())


def read(path: Path) -> Iterator[tuple[str, int]]:
    """Read the ids in the file and their times of erasure, skipping invalid lines.

    Raises:
        OSError: the file cannot be read.

    """
    with path.open("rb") as file:
        while raw := file.readline(MAX_LINE_BYTES):
            try:
                line = _decoder.decode(raw)
                yield line.id, from_iso(line.erased_at)
            except (msgspec.DecodeError, ValueError):
                continue


def load(path: Path) -> dict[str, int]:
    """Load the ids in the file with their times of erasure (milliseconds since 1970).

    Raises:
        CommandError: the file cannot be read.

    """
    try:
        return dict(read(path))
    except OSError as error:
        raise CommandError(f"The file {path} cannot be read: {error.strerror}.") from error


def complete(database: Database, path: Path) -> None:
    """Append the ids that are in the database but not in the file.

    Raises:
        CommandError: the file cannot be read or written.
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
        raise CommandError(f"The file {path} cannot be read or written: {error.strerror}.") from error


async def replay(database: Database, path: Path, now: int) -> int:
    """Erase all accounts in the file again, even the last administrator, and record their ids as erased.

    Args:
        database: the database, usually restored from a backup.
        path: the file.
        now: milliseconds since 1970.

    Returns:
        The number of accounts that existed and were erased.

    Raises:
        CommandError: the file cannot be read.
        ServiceUnavailable: the database is not available. Replaying is idempotent, so it may be retried.

    """
    times_by_id = load(path)

    def record_all(tx: Transaction) -> list[str]:
        for account_id, erased_at in times_by_id.items():
            erased_accounts.record(tx, account_id, erased_at)
        existing = [account_id for account_id in times_by_id if accounts.role(tx, account_id) is not None]
        details = {"listed": len(times_by_id), "erased": len(existing)}
        audit.record(tx, None, "erasures.replayed", audit.WHOLE_DATABASE, now, entry="", **details)
        return existing

    existing = await database.write(record_all)
    for account_id in existing:
        await database.write(erasure.erase, None, account_id, now, allow_last_administrator=True)
    await erasure.finish_all(database)
    return len(existing)
