"""``seneca erase``, ``seneca prune`` and ``seneca vacuum``."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from seneca import accounts
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
        Path | None, typer.Option(help="Erase again every account whose id is in this file (`erased-accounts`).")
    ] = None,
    data: Data = None,
    url: Url = None,
) -> None:
    """Erase an account and everything that is stored about it. Statistics are corrected, its sign-ins end."""
    if (name is None) == (replay is None):
        raise typer.BadParameter("Give either NAME_OR_ID or --replay FILE.")
    with connect(data, url, create=False) as (told, database):
        if replay is not None:
            print(
                f"{asyncio.run(erasure_log.replay(database, replay, now())):,} accounts erased again.", file=sys.stderr
            )
        else:
            erase_one(database, str(name), yes=yes)
        finish(told, database)


def erase_one(database: Database, name: str, *, yes: bool) -> None:
    """Show whom it concerns, ask, and erase. Raises AccountNotFound, LastAdministrator."""
    with database.read_transaction() as tx:
        account = find(tx, name)
        counted = tx.fetch_one(erasure.SESSIONS_OF, bucket=bucket_of(account.id, tx.buckets), id=account.id)
    sessions = 0 if counted is None else counted[0]
    described = f"{account.username} <{account.email}>, {account.role}, {account.id}: {sessions:,} sessions"
    print(printable(described), file=sys.stderr)
    if not yes:
        if not sys.stdin.isatty():
            raise CommandError("There is nobody to ask whether that should be erased. If it should: --yes.")
        typer.confirm("Erase all of it?", abort=True, err=True)
    erased = write(database, erasure.erase, None, account.id, now())
    if not erased.is_complete:
        with steps() as step:
            step(f"removing {erased.sessions:,} sessions")
            asyncio.run(erasure.finish(database, account.id))
    print(f"Erased, with {erased.sessions:,} sessions: {account.id}", file=sys.stderr)


def find(tx: Transaction, name: str) -> accounts.Account:
    """The account of this id, name or address. Raises AccountNotFound."""
    if id_ := parse_uuid(name):
        return accounts.get(tx, id_)
    found = accounts.credentials(tx, name)
    if found is None:
        raise AccountNotFound(f"There is no account named {name}.")
    return accounts.get(tx, found.id)


def prune(
    months: Annotated[int, typer.Option(min=1, max=10_000, help="How many calendar months sessions are kept.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be deleted.")] = False,  # noqa: FBT002
    data: Data = None,
    url: Url = None,
) -> None:
    """Delete sessions that started more than --months ago. Statistics are corrected."""
    moment = now()
    before = retention.cutoff(moment, months)
    with connect(data, url, create=False) as (told, database):
        if dry_run:
            with database.read_transaction() as tx:
                old = retention.count(tx, before)
        else:
            with steps() as step:
                progress = lambda sessions: step(f"{sessions:,} sessions removed")  # noqa: E731
                run = retention.prune(database, months=months, before=before, now=moment, progress=progress)
                old = asyncio.run(run)
            finish(told, database)
    done = "would be removed" if dry_run else "removed"
    print(f"{old.sessions:,} sessions of {old.learners:,} learners, from before {to_iso(before)}, {done}.")


def vacuum(data: Data = None, url: Url = None) -> None:
    """Rewrite the SQLite file so that no erased data is left in it. Other writes wait until it is done."""
    with connect(data, url, create=False) as (told, database), steps() as step:
        step("rewriting the file")
        asyncio.run(run_vacuum(database, interval=0, now=now(), thoroughly=True))
        erasure_log.complete(database, told.data / erasure_log.FILE)
    print("The files are scoured.", file=sys.stderr)


def finish(told: Settings, database: Database) -> None:
    """Do what follows erasures. What cannot be done now, a server does later."""
    try:
        erasure_log.complete(database, told.data / erasure_log.FILE)
        asyncio.run(erasure.finish_all(database))
        asyncio.run(run_vacuum(database, interval=told.vacuum_interval * 1000, now=now()))
    except (CommandError, ServiceUnavailable) as fault:
        print(f"seneca: It is erased, but: {fault.detail} A running server tries again.", file=sys.stderr)
