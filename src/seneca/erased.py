"""Accounts that were erased, erased again where a backup has brought them back.

The file ``erased-accounts`` in the data directory lists them, one JSON object a line; the table ``erasures`` does, too.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from seneca import units, verification
from seneca.database import Transaction
from seneca.errors import Unusable

FILE: Final = "erased-accounts"


class Erased(msgspec.Struct, frozen=True, rename="camel"):
    """A line of the file."""

    id: str
    erased_at: str


_decoder: Final = msgspec.json.Decoder(Erased)


def read(path: Path) -> dict[str, int]:
    """The ids of a file ``erased-accounts`` and when each was erased, in milliseconds since 1970; without a file, none.

    Lines that are none are passed over: whoever wrote them was cut off.

    Raises:
        Unusable: it cannot be read.

    """
    found = {}
    try:
        for line in path.read_bytes().splitlines():
            with suppress(ValueError):
                erased = _decoder.decode(line)
                found[erased.id] = units.from_iso(erased.erased_at)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}.") from error
    return found


ERASURES = "SELECT account_id, erased_at FROM erasures"
NOTE = """
INSERT INTO erasures (bucket, account_id, erased_at) VALUES (:bucket, :id, :at)
ON CONFLICT (bucket, account_id) DO NOTHING
"""
THERE = "SELECT id FROM accounts WHERE id IN (:values)"
ERASE = (
    "DELETE FROM results WHERE bucket = :bucket AND learner_id = :id",
    "DELETE FROM sessions WHERE bucket = :bucket AND learner_id = :id",
    "DELETE FROM passwords WHERE bucket = :bucket AND account_id = :id",
    "DELETE FROM sign_ins WHERE bucket = :bucket AND account_id = :id",
    "DELETE FROM familiar_addresses WHERE bucket = :bucket AND account_id = :id",
    "DELETE FROM account_names WHERE account_id = :id",
    "DELETE FROM accounts WHERE id = :id",
)
TOTALS = "DELETE FROM learner_totals WHERE bucket = :bucket AND learner_id = :id"


def noted(tx: Transaction) -> dict[str, int]:
    """The ids of the table ``erasures``, and when each was erased."""
    return dict(tx.all(ERASURES))


def erase_again(tx: Transaction, erased: Mapping[str, int]) -> int:
    """Erase these accounts where they are there, and compute every figure anew; returns how many were there."""
    keys = {id_: {"bucket": units.bucket_of(id_, tx.buckets), "id": id_} for id_ in erased}
    for id_, at in erased.items():
        tx.put(NOTE, at=at, **keys[id_])
    again = [row[0] for row in tx.among(THERE, list(erased))]
    for id_ in again:
        for statement in ERASE:
            tx.put(statement, **keys[id_])
    if again:
        verification.rebuild(tx)
    for id_ in again:
        tx.put(TOTALS, **keys[id_])
    return len(again)
