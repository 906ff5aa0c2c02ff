"""``seneca backup`` and ``seneca restore``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from seneca import backup
from seneca.auth import setup_token
from seneca.backup import RestoreResult, RowCounts
from seneca.cli.exchange import progress
from seneca.cli.options import Data, Url, connect, now, record_copy
from seneca.cli.privacy import finish
from seneca.database import Database
from seneca.errors import CommandError, ServiceUnavailable
from seneca.privacy import erasure_log


def back_up(
    file: Annotated[
        Path,
        typer.Argument(
            help="The backup file. An older backup of this database is replaced once the new one is complete."
        ),
    ],
    force: Annotated[  # noqa: FBT002
        bool, typer.Option("--force", help="Replace any existing file, even the backup of another database.")
    ] = False,
    data: Data = None,
    url: Url = None,
) -> None:
    """Copy the whole database into one file, while servers run. Does not migrate an older schema."""
    with connect(data, url, create=False, migrate=False) as (settings, database):
        try:
            record_copy(database, "data.backed-up")
        except ServiceUnavailable as error:  # a full disk must not prevent a backup
            print(f"Not recorded in the audit log: {error.detail}", file=sys.stderr)
        with progress() as report:
            counts = backup.write(database, file, report, force=force)
        print(f"Backed up {describe(counts)}: {file.stat().st_size:,} bytes in {file}.", file=sys.stderr)
        print(
            f"Back up {settings.data / erasure_log.FILE} as well, each time: a restore uses it to repeat later erasures.",
            file=sys.stderr,
        )


def restore(
    file: Annotated[Path | None, typer.Argument(help="A backup by `seneca backup`.")] = None,
    in_place: Annotated[  # noqa: FBT002
        bool,
        typer.Option("--in-place", help="Without FILE: finish a restore by another tool (pg_restore, Litestream)."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,  # noqa: FBT002
    data: Data = None,
    url: Url = None,
) -> None:
    """Replace the whole database by a backup. Everybody has to sign in again.

    Servers may keep running. Accounts that were erased after the backup are erased again.
    """
    if (file is None) != in_place:
        raise typer.BadParameter("Give either a FILE or --in-place.")
    with connect(data, url, create=not in_place) as (settings, database):
        log_file = settings.data / erasure_log.FILE
        erased = erasure_log.load(log_file) if log_file.exists() else {}
        if file is not None and not yes:
            confirm(database, file)
        with progress() as report:
            if file is None:
                result = backup.restore_in_place(database, erased, now(), report)
            else:
                result = backup.restore(database, file, erased, now, report)
        setup_token.discard(settings.data)
        finish(settings, database)
    print_result(result)


def confirm(database: Database, file: Path) -> None:
    """Ask for confirmation to replace the content, and to restore a backup that is possibly incomplete.

    Raises:
        CommandError: there is no terminal.
        typer.Abort: the user declined.

    """
    if warning := backup.find_warning(file):
        if not sys.stdin.isatty():
            raise CommandError(f"{file}: {warning} To restore it anyway, use --yes.")
        typer.confirm(f"{file}: {warning} Restore it anyway?", abort=True, err=True)
    with database.read_transaction() as tx:
        counts = backup.count_rows(tx)
    if counts.is_empty:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"The database has {describe(counts)}. To replace all of it, use --yes.")
    typer.confirm(f"The database has {describe(counts)}. Replace all of it by {file}?", abort=True, err=True)


def print_result(result: RestoreResult) -> None:
    """Print what was restored, and what to do next."""
    print(f"Restored {describe(result.counts)}. Everybody has to sign in again.", file=sys.stderr)
    if result.erased:
        print(f"{result.erased:,} accounts that were erased after the backup were erased again.", file=sys.stderr)
    if result.corrected_totals:
        print(
            f"{result.corrected_totals:,} totals differed from the recorded rows and were recomputed.", file=sys.stderr
        )
    if not result.counts.administrators:
        print("There is no administrator. Create one: seneca admin create NAME EMAIL", file=sys.stderr)


def describe(counts: RowCounts) -> str:
    """Row counts as text."""
    return f"{counts.accounts:,} accounts, {counts.courses:,} courses, {counts.sessions:,} sessions"
