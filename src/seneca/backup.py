"""Backups: a copy of everything, and how it comes back without bringing back what ended meanwhile.

A restored database is older than what has happened since: sign-ins were ended, accounts erased, an administrator made. What
has ended stays ended, and who was erased is erased again (``finish``), whatever tool brought the records back.
"""

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from msgspec import Struct

from seneca import audit
from seneca.auth import sign_ins, signing_keys
from seneca.database import Database, Progress, Row, Transaction
from seneca.database.sqlite import backup
from seneca.errors import CommandError
from seneca.privacy import erased_accounts, erasure
from seneca.stats import verification

ROWS_PER_STATEMENT: Final = 1000  # rows

COUNTS = """
SELECT (SELECT count(*) FROM accounts WHERE erased_at IS NULL), (SELECT count(*) FROM courses), (SELECT count(*) FROM sessions),
    (SELECT count(*) FROM accounts WHERE role = 'admin')
"""
COUNTS_OF_ANY_SCHEMA = """
SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM courses), (SELECT count(*) FROM sessions),
    (SELECT count(*) FROM accounts WHERE role = 'admin')
"""


class RowCounts(Struct, frozen=True):
    """How much is in a database, or in a backup of it."""

    accounts: int
    courses: int
    sessions: int
    administrators: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that a restore could lose."""
        return not (self.accounts or self.courses)


class Restored(Struct, frozen=True):
    """What a restore has brought back."""

    content: RowCounts
    mended: int
    """Figures that were not what the recorded rows say, and are now."""
    erased: int
    """Accounts that were in the backup, and were erased again."""


def count_rows(tx: Transaction) -> RowCounts:
    """How much there is."""
    return RowCounts(*tx.fetch_all(COUNTS)[0])


def content_of_any_schema(tx: Transaction) -> RowCounts:
    """How much there is in a database that lacks migrations; accounts that are being erased are counted."""
    return RowCounts(*tx.fetch_all(COUNTS_OF_ANY_SCHEMA)[0])


def write(database: Database, path: Path, progress: Progress, *, force: bool = False) -> RowCounts:
    """Back everything up, as it is at this moment, while others write; returns what is in the backup.

    Raises as ``Database.backup`` does.
    """
    return database.backup(path, content_of_any_schema if database.pending else count_rows, progress, force=force)


def check_backup(path: Path) -> str | None:
    """Why a file, though it may be a whole database, is perhaps not all that it should be."""
    try:
        return backup.MISSING_WAL if backup.is_live_copy(path) else None
    except OSError:
        return None  # ``restore`` says it


def restore(
    database: Database, path: Path, erased: Mapping[str, int], clock: Callable[[], int], progress: Progress
) -> Restored:
    """Put a backup in the place of everything.

    Nothing changes before the backup is proven: whole, of a schema that is known, its figures true. Then it takes the
    place of what was there in one step.

    Args:
        database: what is replaced; servers may be running on it.
        path: the backup, which is left as it is.
        erased: accounts that were erased since, as far as the caller knows: their ids, and when (milliseconds since 1970).
        clock: tells the time, in milliseconds since 1970. It is read when nobody can change anything any more.
        progress: told how far it is.

    Raises:
        CommandError: it is no backup of this engine, or damaged, or newer than this program.
        ServiceUnavailable: the database is busy, or the disk is full: nothing has changed.

    """
    mended, again, found = 0, 0, RowCounts(0, 0, 0, 0)

    def prove(fresh: Database) -> None:
        nonlocal mended, again
        if fresh.buckets != database.buckets:
            raise CommandError(
                f"{path} has {fresh.buckets} buckets, this database {database.buckets}: use export and import."
            )
        mended = mend(fresh, progress)
        with database.read_transaction() as old, fresh.write_transaction() as new:  # now, while nobody waits
            again = erase_again(new, {**erased, **dict(erased_accounts.fetch_all(old))}, clock())

    def carry(old: Transaction, new: Transaction) -> None:
        nonlocal again, found
        now = clock()
        again += erase_again(new, {**erased, **dict(erased_accounts.fetch_all(old))}, now)
        finish(new, again, now)
        sign_ins.carry_revocations(old, new)
        carry_keys(old, new)
        carry_name_changes(old, new)
        found = count_rows(new)

    database.restore(path, prove, carry, progress)
    return Restored(found, mended, again)


def restore_in_place(database: Database, erased: Mapping[str, int], now: int, progress: Progress) -> Restored:
    """Do for a database what ``restore`` does, where another tool has just put the records back; no server may run.

    Args:
        database: the restored one.
        erased: accounts that were erased since, as far as the caller knows: their ids, and when (milliseconds since 1970).
        now: milliseconds since 1970.
        progress: told how far it is.

    Raises:
        CommandError: it has anything that the migrations do not make.

    """
    database.check_schema()
    mended = mend(database, progress)
    with database.write_transaction() as tx:
        again = erase_again(tx, erased, now)
        finish(tx, again, now)
        return Restored(count_rows(tx), mended, again)


def mend(database: Database, progress: Progress) -> int:
    """Prove every figure; where one is wrong, compute all anew. Returns how many were wrong."""
    with database.read_transaction() as tx:
        wrong = sum(1 for _ in verification.mismatches(tx, lambda table: progress(f"verifying {table}", 0, None)))
    if wrong:
        with database.write_transaction() as tx:
            verification.rebuild(tx, lambda table: progress(f"rebuilding {table}", 0, None))
    return wrong


# -- what must not come back -------------------------------------------------------------------

CLOSE = """
INSERT INTO properties (name, value) VALUES ('administrator-existed', '') ON CONFLICT (name) DO NOTHING
"""
FORGET_SETUP_TOKEN = "DELETE FROM properties WHERE name = 'setup-token-hash'"  # noqa: S105 a property's name
THERE = "SELECT id FROM accounts WHERE id IN (:values)"


def erase_again(tx: Transaction, erased: Mapping[str, int], now: int) -> int:
    """Erase whoever was erased since the backup, or was being erased when it was made; returns how many were there."""
    for id_, at in erased.items():
        erased_accounts.record(tx, id_, at)
    again = {row[0] for row in tx.fetch_in(THERE, list(erased))} | set(erasure.unfinished(tx))
    for id_ in sorted(again):
        erasure.erase_at_once(tx, id_, now)
    return len(again)


def finish(tx: Transaction, again: int, now: int) -> None:
    """See to it that what has ended since the backup has ended.

    - Every sign-in ends, and no token that was issued until now is good: one that was revoked since must not come back to
      life. So a server may bring any signing key.
    - Nobody is the first administrator any more: one may have existed since. ``seneca admin create`` makes one.

    Args:
        tx: the transaction.
        again: how many accounts were erased again, for the audit log.
        now: milliseconds since 1970.

    """
    sign_ins.end_all_sign_ins(tx)
    signing_keys.reset_signing_keys(tx)
    tx.execute(CLOSE)
    tx.execute(FORGET_SETUP_TOKEN)
    audit.record(tx, None, "data.restored", audit.WHOLE_DATABASE, now, erased=again)


# -- what stays, of the database that is replaced ----------------------------------------------

COURSES_CHANGES = "SELECT course_id, bucket, name_changes FROM course_totals"
LEARNERS_CHANGES = "SELECT bucket, learner_id, course_id, name_changes FROM learner_totals"
RAISE_COURSES = """
INSERT INTO course_totals (course_id, bucket, sessions, results, points, milliseconds, names, name_changes)
VALUES (:course_id, :bucket, 0, 0, 0, 0, 0, :name_changes)
ON CONFLICT (course_id, bucket) DO UPDATE SET name_changes = course_totals.name_changes + excluded.name_changes
"""
RAISE_LEARNERS = """
INSERT INTO learner_totals (bucket, learner_id, course_id, sessions, results, points, milliseconds, names, name_changes)
VALUES (:bucket, :learner_id, :course_id, 0, 0, 0, 0, 0, :name_changes)
ON CONFLICT (bucket, learner_id, course_id)
DO UPDATE SET name_changes = learner_totals.name_changes + excluded.name_changes
"""
NOBODYS = "DELETE FROM learner_totals WHERE sessions = 0 AND learner_id NOT IN (SELECT id FROM accounts)"


def carry_keys(old: Transaction, new: Transaction) -> None:
    """Let the servers that run, and their likes, go on with the signing keys that they know."""
    for (ids,) in old.fetch_all(signing_keys.KEY_IDS):
        new.execute(signing_keys.PUT_KEY_IDS, ids=ids)


def carry_name_changes(old: Transaction, new: Transaction) -> None:
    """Count module names' changes on from where they were: processes remember names by them (decision 3)."""

    def course(row: Row) -> dict[str, object]:
        return {"course_id": row[0], "bucket": row[1], "name_changes": row[2] + 1}

    def learner(row: Row) -> dict[str, object]:
        return {"bucket": row[0], "learner_id": row[1], "course_id": row[2], "name_changes": row[3] + 1}

    for select, shaped, raising in (
        (COURSES_CHANGES, course, RAISE_COURSES),
        (LEARNERS_CHANGES, learner, RAISE_LEARNERS),
    ):
        rows = old.stream(select)
        while together := [shaped(row) for row in islice(rows, ROWS_PER_STATEMENT)]:
            new.insert_many_later(raising, together)
    new.execute(NOBODYS)  # they registered since, so they are not there
