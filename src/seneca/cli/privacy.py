"""``seneca erase``, ``seneca prune`` and ``seneca vacuum``."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from seneca import accounts
from seneca.auth.authorisation import COMMAND_LINE
from seneca.cli.options import Data, Url, connect, now, steps, write
from seneca.common.ids import bucket_of, parse_uuid
from seneca.common.text_types import printable
from seneca.common.times import to_iso
from seneca.database import Database, Transaction
from seneca.errors import AccountNotFound, CommandError, ServiceUnavailable
from seneca.privacy import erasure, erasure_log, retention
from seneca.privacy.vacuum import run_vacuum
from seneca.settings import Settings


def erase(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME_OR_ID", help="The username, e-mail address or id.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,  # noqa: FBT002
    replay: Annotated[
        Path | None, typer.Option(help="Erase every account again whose id is in this file (`erased-accounts`).")
    ] = None,
    data: Data = None,
    url: Url = None,
) -> None:
    """Erase an account and all of its data. Corrects statistics and ends its sign-ins."""
    if (name is None) == (replay is None):
        raise typer.BadParameter("Give either NAME_OR_ID or --replay FILE.")
    with connect(data, url, create=False) as (settings, database):
        if replay is not None:
            print(
                f"{asyncio.run(erasure_log.replay(database, replay, now())):,} accounts erased again.", file=sys.stderr
            )
        else:
            erase_one(database, str(name), yes=yes)
        finish(settings, database)


def erase_one(database: Database, name: str, *, yes: bool) -> None:
    """Show the account, ask for confirmation, and erase it. Raises AccountNotFound, LastAdministrator."""
    with database.read_transaction() as tx:
        account = find(tx, name)
        row = tx.fetch_one(erasure.SESSIONS_OF, bucket=bucket_of(account.id, tx.buckets), id=account.id)
    sessions = 0 if row is None else row[0]
    description = f"{account.username} <{account.email}>, {account.role}, {account.id}: {sessions:,} sessions"
    print(printable(description), file=sys.stderr)
    if not yes:
        if not sys.stdin.isatty():
            raise CommandError("There is no terminal to ask for confirmation. To erase the account, use --yes.")
        typer.confirm("Erase the account and all of its data?", abort=True, err=True)
    result = write(database, erasure.erase_another, COMMAND_LINE, account.id, now())
    if not result.is_complete:
        with steps() as step:
            step(f"deleting {result.sessions:,} sessions")
            asyncio.run(erasure.finish(database, account.id))
    print(f"Erased account {account.id} with {result.sessions:,} sessions.", file=sys.stderr)


def find(tx: Transaction, name: str) -> accounts.Account:
    """The account with this id, username or e-mail address. Raises AccountNotFound."""
    if id_ := parse_uuid(name):
        return accounts.get(tx, id_)
    credentials = accounts.credentials(tx, name)
    if credentials is None:
        raise AccountNotFound(f"There is no account named {name}.")
    return accounts.get(tx, credentials.id)


def prune(
    months: Annotated[
        int, typer.Option(min=1, max=10_000, help="Delete sessions older than this many calendar months.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the sessions.")] = False,  # noqa: FBT002
    data: Data = None,
    url: Url = None,
) -> None:
    """Delete sessions that started more than --months ago. Corrects statistics."""
    started_at = now()
    cutoff = retention.cutoff(started_at, months)
    with connect(data, url, create=False) as (settings, database):
        if dry_run:
            with database.read_transaction() as tx:
                old = retention.count(tx, cutoff)
        else:
            with steps() as step:
                progress = lambda sessions: step(f"{sessions:,} sessions deleted")  # noqa: E731
                run = retention.prune(database, months=months, before=cutoff, now=started_at, progress=progress)
                old = asyncio.run(run)
            finish(settings, database)
    verb = "Would delete" if dry_run else "Deleted"
    print(f"{verb} {old.sessions:,} sessions of {old.learners:,} learners that started before {to_iso(cutoff)}.")


def vacuum(data: Data = None, url: Url = None) -> None:
    """Rewrite the SQLite file without deleted data. Other writes wait until it is done."""
    with connect(data, url, create=False) as (settings, database), steps() as step:
        if database.files is None:
            raise CommandError(
                "Only SQLite's file is rewritten by Seneca. On PostgreSQL, run VACUUM (FULL) instead: docs/privacy.md has the statement."
            )
        step("rewriting the file")
        asyncio.run(run_vacuum(database, interval=0, now=now(), thoroughly=True))
        erasure_log.complete(database, settings.data / erasure_log.FILE)
    print("Vacuum complete: no erased data is left in the files.", file=sys.stderr)


def finish(settings: Settings, database: Database) -> None:
    """Run the steps after an erasure. A server repeats those that fail."""
    try:
        erasure_log.complete(database, settings.data / erasure_log.FILE)
        asyncio.run(erasure.finish_all(database))
        asyncio.run(run_vacuum(database, interval=settings.vacuum_interval * 1000, now=now()))
    except (CommandError, ServiceUnavailable) as error:
        print(f"seneca: Erased, but a later step failed: {error.detail} A running server retries it.", file=sys.stderr)
