"""Forget sessions after some time, with their part of every figure."""

import calendar
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

from seneca import audit
from seneca.accounts import Learner
from seneca.common.ids import new_id
from seneca.common.times import to_iso, to_ms
from seneca.database import Database, Transaction
from seneca.errors import CommandError
from seneca.privacy import vacuum
from seneca.sessions import deletion

LEARNERS_AT_ONCE: Final = 500
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

OLD = "SELECT count(*), count(DISTINCT learner_id) FROM sessions WHERE started_at < :before"
LEARNERS = """
SELECT DISTINCT learner_id, bucket FROM sessions
WHERE (bucket, learner_id) > (:bucket, :learner_id) AND started_at < :before
ORDER BY bucket, learner_id
LIMIT :limit
"""


class OldSessions(Struct, frozen=True):
    """How many sessions are, or were, older than they may be, and of how many learners."""

    sessions: int
    learners: int


def cutoff(now: int, months: int) -> int:
    """The start before which sessions are older than so many calendar months, in milliseconds since 1970.

    The same day of the month and time of day (UTC), so many months ago; where that month has no such day, its last.

    Raises:
        CommandError: so long ago there was no calendar.

    """
    moment = EPOCH + timedelta(milliseconds=now)
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    if year < 1:
        raise CommandError(f"{months:,} months ago is before the year 1.")
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return to_ms(moment.replace(year=year, month=month + 1, day=day))


def count(tx: Transaction, before: int) -> OldSessions:
    """How many sessions started before then."""
    return OldSessions(*tx.fetch_all(OLD, before=before)[0])


async def prune(
    database: Database, *, months: int, before: int, now: int, progress: Callable[[int], None] = lambda _: None
) -> OldSessions:
    """Remove every session that started before then, a learner's after the other's, each in short transactions.

    Others go on writing. Interrupted, it has removed what its audit entry says; run again, it goes on.

    Args:
        database: where from.
        months: for the audit entry, what ``before`` was made from.
        before: milliseconds since 1970.
        now: likewise.
        progress: told now and then how many sessions are removed.

    Raises:
        ServiceUnavailable: the database is busy, or its disk is full: what was removed stays so.

    """
    run = RetentionRun(new_id(), months, before, now)
    await database.write(run.note, OldSessions(0, 0))
    removed = OldSessions(0, 0)
    learner: Learner | None = None
    while learners := await database.scan(next_learners, learner, before):
        for learner in learners:
            learners_so_far = removed.learners + 1
            while together := await database.write(run.remove, learner, removed.sessions, learners_so_far):
                removed = OldSessions(removed.sessions + together, learners_so_far)
                progress(removed.sessions)
    return removed


class RetentionRun(Struct, frozen=True):
    """A run, and the audit entry that says how far it is."""

    entry: str
    months: int
    before: int
    now: int

    def remove(self, tx: Transaction, learner: Learner, sessions: int, learners: int) -> int:
        """Remove some of a learner's sessions, and note how many that makes; returns how many: 0 none is left."""
        together = deletion.delete_batch(tx, learner, self.before)
        if together:
            self.note(tx, OldSessions(sessions + together, learners))
        return together

    def note(self, tx: Transaction, removed: OldSessions) -> None:
        """Note how many are removed by now, and that the files are to be scoured."""
        facts = {"months": self.months, "before": to_iso(self.before), **asdict(removed)}
        audit.record(tx, None, "sessions.retained", audit.WHOLE_DATABASE, self.now, entry=self.entry, **facts)
        vacuum.request_vacuum(tx, had_sessions=removed.sessions > 0)


def next_learners(tx: Transaction, after: Learner | None, before: int) -> list[Learner]:
    """Some learners with sessions that started before then, the next after this one (None: the first)."""
    bucket, id_ = (-1, "") if after is None else (after.bucket, after.id)
    return [
        Learner(*row)
        for row in tx.fetch_all(LEARNERS, bucket=bucket, learner_id=id_, before=before, limit=LEARNERS_AT_ONCE)
    ]
