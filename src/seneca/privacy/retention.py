"""Delete sessions older than a number of months, and subtract them from all totals."""

import calendar
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

from seneca import accounts, audit
from seneca.accounts import Learner
from seneca.common.ids import new_id
from seneca.common.times import to_iso, to_ms
from seneca.database import Database, Transaction
from seneca.errors import CommandError
from seneca.privacy import vacuum
from seneca.sessions import deletion, voided

LEARNERS_PER_BATCH: Final = 500
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

OLD = "SELECT count(*), count(DISTINCT learner_id) FROM sessions WHERE started_at < :before"
LEARNERS = """
SELECT DISTINCT learner_id, bucket FROM sessions
WHERE (bucket, learner_id) > (:bucket, :learner_id) AND started_at < :before
ORDER BY bucket, learner_id
LIMIT :limit
"""


class OldSessions(Struct, frozen=True):
    """The number of sessions past the cutoff, and of their learners."""

    sessions: int
    learners: int


def cutoff(now: int, months: int) -> int:
    """Compute the time a number of calendar months ago, in milliseconds since 1970. Older sessions are deleted.

    It is the same day of the month and time of day (UTC), or the last day of a month that does not have that day.

    Raises:
        CommandError: the time is before the year 1.

    """
    date = EPOCH + timedelta(milliseconds=now)
    year, month = divmod(date.year * 12 + date.month - 1 - months, 12)
    if year < 1:
        raise CommandError(f"{months:,} months ago is before the year 1.")
    day = min(date.day, calendar.monthrange(year, month + 1)[1])
    return to_ms(date.replace(year=year, month=month + 1, day=day))


def count(tx: Transaction, before: int) -> OldSessions:
    """Count the sessions that started before a time, and their learners."""
    return OldSessions(*tx.fetch_all(OLD, before=before)[0])


async def prune(
    database: Database, *, months: int, before: int, now: int, progress: Callable[[int], None] = lambda _: None
) -> OldSessions:
    """Delete all sessions that started before a time, learner by learner, in short transactions between which others write.

    The ids of sessions that administrators deleted before that time are deleted, too.

    If it is interrupted, its audit entry says how many it has deleted, and another run deletes the rest.

    Args:
        database: the database.
        months: the number of months from which ``before`` was computed, for the audit entry.
        before: milliseconds since 1970.
        now: likewise.
        progress: called after each batch with the number of deleted sessions.

    Raises:
        ServiceUnavailable: the database is busy, or its disk is full. Finished batches stay deleted.

    """
    run = RetentionRun(new_id(), months, before, now)
    await database.write(run.record, OldSessions(0, 0))
    deleted = OldSessions(0, 0)
    learner: Learner | None = None
    while learners := await database.scan(next_learners, learner, before):
        for learner in learners:
            learner_count = deleted.learners + 1
            while batch := await database.write_bulk(run.delete_batch, learner, deleted.sessions, learner_count):
                deleted = OldSessions(deleted.sessions + batch, learner_count)
                progress(deleted.sessions)
    buckets = await database.read(lambda tx: tx.buckets)
    for bucket in range(buckets):
        await database.write(voided.delete_old, bucket, before)
    return deleted


class RetentionRun(Struct, frozen=True):
    """A run, with the id of the audit entry that records its progress."""

    entry: str
    months: int
    before: int
    now: int

    def delete_batch(self, tx: Transaction, learner: Learner, sessions: int, learners: int) -> int:
        """Delete one batch of a learner's sessions, and record the progress; returns the batch's size, 0 if none is left."""
        tx.select_for_update(accounts.LOCK, id=learner.id)  # as all who change the number of a learner's sessions
        batch = deletion.delete_batch(tx, learner, self.before)
        if batch:
            self.record(tx, OldSessions(sessions + batch, learners))
        return batch

    def record(self, tx: Transaction, deleted: OldSessions) -> None:
        """Record in the audit entry how many sessions are deleted, and request a vacuum."""
        details = {"months": self.months, "before": to_iso(self.before), **asdict(deleted)}
        audit.record(tx, None, "sessions.retained", audit.WHOLE_DATABASE, self.now, entry=self.entry, **details)
        vacuum.request_vacuum(tx, had_sessions=deleted.sessions > 0)


def next_learners(tx: Transaction, after: Learner | None, before: int) -> list[Learner]:
    """Read the next batch of learners with old sessions, after ``after`` (None: from the beginning)."""
    bucket, id_ = (-1, "") if after is None else (after.bucket, after.id)
    return [
        Learner(*row)
        for row in tx.fetch_all(LEARNERS, bucket=bucket, learner_id=id_, before=before, limit=LEARNERS_PER_BATCH)
    ]
