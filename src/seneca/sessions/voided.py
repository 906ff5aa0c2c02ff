"""The ids of sessions that administrators deleted: a device cannot bring them back."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from seneca.accounts import Learner
from seneca.common.times import to_iso
from seneca.database import PendingResult, Transaction
from seneca.database.statements import insert


class VoidedSession(Struct, frozen=True, rename="camel"):
    """The id of a deleted session, and when it was deleted."""

    id: str
    voided_at: str


INSERT: Final = insert("voided_sessions", ("bucket", "learner_id", "id", "voided_at"))
AMONG: Final = """
SELECT id FROM voided_sessions WHERE bucket = :bucket AND learner_id = :learner_id AND id IN (:values)
"""
OF_LEARNER: Final = """
SELECT id, voided_at FROM voided_sessions WHERE bucket = :bucket AND learner_id = :learner_id ORDER BY voided_at, id
"""
DELETE_OF_LEARNER: Final = "DELETE FROM voided_sessions WHERE bucket = :bucket AND learner_id = :learner_id"
DELETE_OLD: Final = "DELETE FROM voided_sessions WHERE bucket = :bucket AND voided_at < :before"


def add(tx: Transaction, learner: Learner, id: str, voided_at: int) -> None:
    """Remember the id of a session that is being deleted, at a time in milliseconds since 1970."""
    tx.execute_later(INSERT, bucket=learner.bucket, learner_id=learner.id, id=id, voided_at=voided_at)


def send_find(tx: Transaction, learner: Learner, ids: Sequence[str]) -> PendingResult:
    """Send the query for those of some ids of a learner that are voided. Its rows are ids."""
    return tx.send(AMONG, bucket=learner.bucket, learner_id=learner.id, values=ids)


def of_learner(tx: Transaction, learner: Learner) -> list[VoidedSession]:
    """Read the voided ids of a learner, oldest first."""
    rows = tx.fetch_all(OF_LEARNER, bucket=learner.bucket, learner_id=learner.id)
    return [VoidedSession(id_, to_iso(voided_at)) for id_, voided_at in rows]


def delete_of_learner(tx: Transaction, learner: Learner) -> None:
    """Delete the voided ids of a learner."""
    tx.execute_later(DELETE_OF_LEARNER, bucket=learner.bucket, learner_id=learner.id)


def delete_old(tx: Transaction, bucket: int, before: int) -> None:
    """Delete the voided ids of a bucket's learners that are older than a time, in milliseconds since 1970."""
    tx.execute_later(DELETE_OLD, bucket=bucket, before=before)
