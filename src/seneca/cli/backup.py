"""``seneca backup`` and ``seneca restore``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from seneca import backup
from seneca.auth import setup_token
from seneca.backup import Restored, RowCounts
from seneca.cli.exchange import progress
from seneca.cli.options import Data, Url, connect, now, record_copy
from seneca.cli.privacy import finish
from seneca.database import Database
from seneca.errors import CommandError, ServiceUnavailable
from seneca.privacy import erasure_log


def back_up(
    file: Annotated[
        Path,
        typer.Argument(help="The file. An older backup of this database is replaced once the new one is complete."),
    ],
    force: Annotated[  # noqa: FBT002
        bool, typer.Option("--force", help="Replace the file whatever it is, even another database's backup.")
    ] = False,
    data: Data = None,
    url: Url = None,
) -> None:
    """Copy the whole database into one file, while servers run. An older schema is copied as it is."""
    with connect(data, url, create=False, migrate=False) as (told, database):
        try:
            record_copy(database, "data.backed-up")
        except ServiceUnavailable as error:  # a full disk needs a backup most
            print(f"Not recorded in the audit log: {error.detail}", file=sys.stderr)
        with progress() as tell:
            held = backup.write(database, file, tell, force=force)
        print(f"Backed up {words(held)}: {file.stat().st_size:,} bytes in {file}.", file=sys.stderr)
        print(
            f"Not in it: {told.data / erasure_log.FILE}, by which a restore erases again who is erased from now on. "
            "Copy it, too, each time.",
            file=sys.stderr,
        )


def restore(
    file: Annotated[Path | None, typer.Argument(help="A file that `seneca backup` wrote.")] = None,
    in_place: Annotated[  # noqa: FBT002
        bool,
        typer.Option("--in-place", help="Without FILE: finish what another tool restored (pg_restore, Litestream)."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Replace what is there without asking.")] = False,  # noqa: FBT002
    data: Data = None,
    url: Url = None,
) -> None:
    """Replace the whole database by a backup. Everybody has to sign in again.

    Servers may keep running. Accounts that were erased since the backup are erased again.
    """
    if (file is None) != in_place:
        raise typer.BadParameter("Give either a FILE or --in-place.")
    with connect(data, url, create=not in_place) as (told, database):
        noted = told.data / erasure_log.FILE
        known = erasure_log.load(noted) if noted.exists() else {}
        if file is not None and not yes:
            ask(database, file)
        with progress() as tell:
            if file is None:
                restored = backup.restore_in_place(database, known, now(), tell)
            else:
                restored = backup.restore(database, file, known, now, tell)
        setup_token.discard(told.data)
        finish(told, database)
    say(restored)


def ask(database: Database, file: Path) -> None:
    """Ask whether what is there may go, and whether a doubtful file may take its place.

    Raises:
        CommandError: nobody is there to be asked.
        typer.Abort: it may not.

    """
    if why := backup.check_backup(file):
        if not sys.stdin.isatty():
            raise CommandError(f"{file}: {why} To restore it nevertheless: --yes.")
        typer.confirm(f"{file}: {why} Restore it nevertheless?", abort=True, err=True)
    with database.read_transaction() as tx:
        there = backup.count_rows(tx)
    if there.is_empty:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"The database holds {words(there)}. To replace all of it: --yes.")
    typer.confirm(f"The database holds {words(there)}. Replace all of it by {file}?", abort=True, err=True)


def say(restored: Restored) -> None:
    """Tell what was done."""
    print(f"Restored {words(restored.content)}. Everybody signs in anew.", file=sys.stderr)
    if restored.erased:
        print(f"{restored.erased:,} accounts that were erased since are erased again.", file=sys.stderr)
    if restored.mended:
        print(f"{restored.mended:,} figures differed from the recorded rows and are computed anew.", file=sys.stderr)
    if not restored.content.administrators:
        print("There is no administrator. Make one: seneca admin create NAME EMAIL", file=sys.stderr)


def words(held: RowCounts) -> str:
    """How much there is, in words."""
    return f"{held.accounts:,} accounts, {held.courses:,} courses, {held.sessions:,} sessions"
