"""Backups: write a copy of everything, and restore it without undoing logouts and erasures.

A backup is older than the events since then: ended sign-ins, erased accounts, a first administrator. Ended sign-ins stay ended,
and erased accounts are erased again (``finish``), whatever tool restored the records.
"""

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from msgspec import Struct

from seneca import audit
from seneca.auth import sign_ins, signing_keys
from seneca.database import Database, Progress, Transaction
from seneca.database.sqlite import backup
from seneca.errors import CommandError
from seneca.privacy import erased_accounts, erasure
from seneca.stats import tables, verification

ROWS_PER_BATCH: Final = 1000

COUNTS = """
SELECT (SELECT count(*) FROM accounts WHERE erased_at IS NULL), (SELECT count(*) FROM courses), (SELECT count(*) FROM sessions),
    (SELECT count(*) FROM accounts WHERE role = 'admin')
"""
COUNTS_OF_ANY_SCHEMA = """
SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM courses), (SELECT count(*) FROM sessions),
    (SELECT count(*) FROM accounts WHERE role = 'admin')
"""


class RowCounts(Struct, frozen=True):
    """Numbers of rows in a database or a backup."""

    accounts: int
    courses: int
    sessions: int
    administrators: int

    @property
    def is_empty(self) -> bool:
        """Whether a restore could lose nothing."""
        return not (self.accounts or self.courses)


class RestoreResult(Struct, frozen=True):
    """The result of a restore."""

    counts: RowCounts
    corrected_totals: int
    """Totals of the backup that differed from its rows, and were recomputed."""
    erased: int
    """Accounts of the backup that were erased again."""


def count_rows(tx: Transaction) -> RowCounts:
    """Count rows, without accounts that are being erased."""
    return RowCounts(*tx.fetch_all(COUNTS)[0])


def count_rows_of_any_schema(tx: Transaction) -> RowCounts:
    """Count rows in a database that lacks migrations, including accounts that are being erased."""
    return RowCounts(*tx.fetch_all(COUNTS_OF_ANY_SCHEMA)[0])


def write(database: Database, path: Path, progress: Progress, *, force: bool = False) -> RowCounts:
    """Back up a snapshot of everything, while others write; returns the row counts of the backup.

    Raises as ``Backups.backup`` does, and CommandError: this engine has its own tools.
    """
    if database.backups is None:
        raise CommandError(
            "Only SQLite is backed up by Seneca. Back up PostgreSQL with its own tools (docs/backup.md): "
            'pg_dump --format=custom --no-owner --file=FILE "$SENECA_DATABASE_URL".'
        )
    inspect = count_rows_of_any_schema if database.pending else count_rows
    return database.backups.backup(path, inspect, progress, force=force)


def find_warning(path: Path) -> str | None:
    """A warning about a backup that is possibly incomplete, or None."""
    try:
        return backup.MISSING_WAL if backup.is_live_copy(path) else None
    except OSError:
        return None  # ``restore`` reports it


def restore(
    database: Database, path: Path, erased: Mapping[str, int], clock: Callable[[], int], progress: Progress
) -> RestoreResult:
    """Replace the whole content of a database by a backup.

    First the backup is verified: it must be complete and of a known schema, and its totals are corrected. Then it replaces the
    old content atomically.

    Args:
        database: the database to replace; servers may be running on it.
        path: the backup, which is not modified.
        erased: the ids of accounts erased since the backup that the caller knows, with times in milliseconds since 1970.
        clock: returns the time in milliseconds since 1970. It is called once the database is locked against writes.
        progress: called with the progress.

    Raises:
        CommandError: this engine has its own tools; or the file is not a backup, is damaged, or is newer than this program.
        ServiceUnavailable: the database is busy, or the disk is full: nothing was changed.

    """
    if database.backups is None:
        raise CommandError(
            "Only SQLite is restored by Seneca. Restore PostgreSQL with its own tools (docs/backup.md), into an empty database: "
            'pg_restore --no-owner --exit-on-error --dbname="$SENECA_DATABASE_URL" FILE. Then run: seneca restore --in-place.'
        )
    corrected_totals, erased_again, counts = 0, 0, RowCounts(0, 0, 0, 0)

    def verify(restored: Database) -> None:
        nonlocal corrected_totals, erased_again
        if restored.buckets != database.buckets:
            raise CommandError(
                f"{path} has {restored.buckets} buckets, this database has {database.buckets}. Use export and import instead."
            )
        corrected_totals = correct_totals(restored, progress)
        with database.read_transaction() as old, restored.write_transaction() as new:  # now, while nobody has to wait
            erased_again = erase_again(new, {**erased, **dict(erased_accounts.fetch_all(old))}, clock())

    def carry_over(old: Transaction, new: Transaction) -> None:
        nonlocal erased_again, counts
        now = clock()
        erased_again += erase_again(new, {**erased, **dict(erased_accounts.fetch_all(old))}, now)
        finish(new, erased_again, now)
        sign_ins.carry_revocations(old, new)
        carry_over_signing_keys(old, new)
        carry_over_name_changes(old, new)
        counts = count_rows(new)

    database.backups.restore(path, verify, carry_over, progress)
    return RestoreResult(counts, corrected_totals, erased_again)


def restore_in_place(database: Database, erased: Mapping[str, int], now: int, progress: Progress) -> RestoreResult:
    """Finish a restore by another tool, as ``restore`` does; no server may run.

    Args:
        database: the restored database.
        erased: the ids of accounts erased since the backup that the caller knows, with times in milliseconds since 1970.
        now: milliseconds since 1970.
        progress: called with the progress.

    Raises:
        CommandError: the schema is not what the migrations create.

    """
    database.check_schema()
    corrected_totals = correct_totals(database, progress)
    with database.write_transaction() as tx:
        erased_again = erase_again(tx, erased, now)
        finish(tx, erased_again, now)
        return RestoreResult(count_rows(tx), corrected_totals, erased_again)


def correct_totals(database: Database, progress: Progress) -> int:
    """Verify the totals, and rebuild all of them if any is wrong. Returns the number of wrong ones."""
    with database.read_transaction() as tx:
        wrong = sum(1 for _ in verification.mismatches(tx, lambda table: progress(f"verifying {table}", 0, None)))
    if wrong:
        with database.write_transaction() as tx:
            verification.rebuild(tx, lambda table: progress(f"rebuilding {table}", 0, None))
    return wrong


# -- what must not be restored -------------------------------------------------------------------

DISABLE_FIRST_ADMINISTRATOR = """
INSERT INTO properties (name, value) VALUES ('administrator-existed', '') ON CONFLICT (name) DO NOTHING
"""
DELETE_SETUP_TOKEN = "DELETE FROM properties WHERE name = 'setup-token-hash'"  # noqa: S105 a property's name
EXISTING_ACCOUNTS = "SELECT id FROM accounts WHERE id IN (:values)"


def erase_again(tx: Transaction, erased: Mapping[str, int], now: int) -> int:
    """Erase the accounts that were erased since the backup, or were being erased at the time; returns their number."""
    for id_, erased_at in erased.items():
        erased_accounts.record(tx, id_, erased_at)
    ids = {row[0] for row in tx.fetch_in(EXISTING_ACCOUNTS, list(erased))} | set(erasure.unfinished(tx))
    for id_ in sorted(ids):
        erasure.erase_at_once(tx, id_, now)
    return len(ids)


def finish(tx: Transaction, erased_again: int, now: int) -> None:
    """End what may have ended since the backup.

    - End every sign-in and reject every token issued so far: one that was revoked since must not become valid again. The next
      server may therefore use any signing key.
    - Disable the registration of a first administrator: there may have been one since. ``seneca admin create`` creates one.

    Args:
        tx: the transaction.
        erased_again: the number of accounts that were erased again, for the audit log.
        now: milliseconds since 1970.

    """
    sign_ins.end_all_sign_ins(tx)
    signing_keys.reset_signing_keys(tx)
    tx.execute(DISABLE_FIRST_ADMINISTRATOR)
    tx.execute(DELETE_SETUP_TOKEN)
    audit.record(tx, None, "data.restored", audit.WHOLE_DATABASE, now, erased=erased_again)


# -- what is carried over from the replaced database ----------------------------------------------


def carry_over_signing_keys(old: Transaction, new: Transaction) -> None:
    """Keep the signing keys of the servers that are running."""
    for (ids,) in old.fetch_all(signing_keys.KEY_IDS):
        new.execute(signing_keys.PUT_KEY_IDS, ids=ids)


def carry_over_name_changes(old: Transaction, new: Transaction) -> None:
    """Continue the version numbers of module names, which are cache keys in every process (decision 3)."""
    for table in tables.TOTALS_TABLES:
        if not table.names_within:
            continue
        zeros = dict.fromkeys(table.added_columns, 0)
        rows = old.stream(f"SELECT {', '.join(table.key_columns)}, name_changes FROM {table.name}")
        while batch := list(islice(rows, ROWS_PER_BATCH)):
            versions = [
                {**zeros, **dict(zip(table.key_columns, key, strict=True)), "name_changes": changes + 1}
                for *key, changes in batch
            ]
            new.insert_many_later(table.add, versions)
        if "learner_id" in table.key_columns:  # rows of accounts that registered after the backup
            new.execute(f"DELETE FROM {table.name} WHERE sessions = 0 AND learner_id NOT IN (SELECT id FROM accounts)")
