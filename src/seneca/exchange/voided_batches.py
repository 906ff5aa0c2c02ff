"""Store the ids of sessions that administrators deleted: after the accounts, before the sessions."""

from collections.abc import Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Final

from seneca.database import Transaction
from seneca.errors import InvalidInput
from seneca.exchange.accounts_and_courses import difference_error
from seneca.exchange.references import LearnerLines
from seneca.exchange.report import Outcome, Report
from seneca.exchange.session_lines import VoidedSessionRecord
from seneca.exchange.stored_sessions import Key, params_by_learner
from seneca.sessions import voided

IDS_PER_BATCH: Final = 1000

STORED_VOIDED: Final = """
SELECT learner_id, id, voided_at FROM voided_sessions
WHERE bucket = :bucket AND learner_id = :learner_id AND id IN (:values)
"""
STORED_SESSIONS: Final = """
SELECT learner_id, id FROM sessions WHERE bucket = :bucket AND learner_id = :learner_id AND id IN (:values)
"""
UPSERT: Final = f"""{voided.INSERT}ON CONFLICT (bucket, learner_id, id) DO UPDATE SET voided_at = excluded.voided_at
"""


def store_voided(tx: Transaction, records: Iterator[VoidedSessionRecord], report: Report, *, update: bool) -> None:
    """Store voided ids and count each in the report.

    Args:
        tx: the transaction, in which the accounts are already stored.
        records: the ids.
        report: counts the ids, and rejects those of sessions that are stored or whose learner does not exist.
        update: whether a line with another time than the stored id replaces it.

    """
    while batch := list(islice(records, IDS_PER_BATCH)):
        _store_batch(tx, batch, report, update=update)


def _store_batch(tx: Transaction, records: Sequence[VoidedSessionRecord], report: Report, *, update: bool) -> None:
    learners = LearnerLines(tx, {record.learner_id for record in records})
    learners.receive()
    params = []
    for bucket in sorted({record.bucket for record in records}):
        params += params_by_learner(bucket, (_key(record) for record in records if record.bucket == bucket))
    stored = {(row[0], row[1]): row[2] for rows in tx.fetch_each(STORED_VOIDED, params) for row in rows}
    sessions = {(row[0], row[1]) for rows in tx.fetch_each(STORED_SESSIONS, params) for row in rows}
    changed: dict[Key, VoidedSessionRecord] = {}
    for record in records:
        try:
            learners.check(record.learner_id, record.number)
            if _key(record) in sessions:
                raise InvalidInput.field("id", "is that of a stored session, which only an administrator can delete")
            outcome = _compare(record, stored.get(_key(record)), update=update)
        except InvalidInput as error:
            report.reject(record.number, error.detail)
            continue
        report.voided.count(outcome)
        if outcome != "skipped":
            stored[_key(record)] = record.voided_at
            changed[_key(record)] = record
    in_order = sorted(changed.values(), key=attrgetter("bucket", "learner_id", "id"))
    for bucket in sorted({record.bucket for record in in_order}):
        rows = [_values(record) for record in in_order if record.bucket == bucket]
        tx.insert_many_later(UPSERT, rows)


def _compare(record: VoidedSessionRecord, stored: int | None, *, update: bool) -> Outcome:
    """Compare a line with the stored time. Raises InvalidInput."""
    if stored is None:
        return "stored"
    if stored == record.voided_at:
        return "skipped"
    if not update:
        raise difference_error("voidedAt")
    return "updated"


def _key(record: VoidedSessionRecord) -> Key:
    return record.learner_id, record.id


def _values(record: VoidedSessionRecord) -> dict[str, object]:
    return {
        "bucket": record.bucket,
        "learner_id": record.learner_id,
        "id": record.id,
        "voided_at": record.voided_at,
    }
