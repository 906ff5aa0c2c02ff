"""``seneca stats``: verify or rebuild the statistics."""

import sys
from typing import Annotated

import typer

from seneca import audit
from seneca.cli.options import Data, Url, connect, now, steps
from seneca.common.study_days import to_zone
from seneca.common.text_types import printable
from seneca.errors import CommandError
from seneca.sessions import time_zone
from seneca.stats import verification

app = typer.Typer(no_args_is_help=True, help="Verify or rebuild the statistics.", rich_markup_mode=None)


@app.command()
def verify(data: Data = None, url: Url = None) -> None:
    """Recompute every total from the recorded rows and list those that differ (exit status 1)."""
    count = 0
    with connect(data, url, create=False) as (_, database), database.read_transaction() as tx, steps() as step:
        for mismatch in verification.mismatches(tx, lambda table: step(f"verifying {table}")):
            print(printable(str(mismatch)))
            count += 1
    if count:
        raise CommandError(f"{count} totals differ from the recorded rows. Correct them with: seneca stats rebuild")
    print("All totals agree with the recorded rows.", file=sys.stderr)


@app.command()
def rebuild(
    data: Data = None,
    url: Url = None,
    zone: Annotated[
        str | None,
        typer.Option(
            "--time-zone",
            help="Change the time zone of study days, and assign every session to its day again.",
            metavar="NAME",
        ),
    ] = None,
) -> None:
    """Recompute every total from the recorded rows and store it. Other writes wait until it is done."""
    if zone is not None:
        try:
            to_zone(zone)
        except ValueError as error:
            raise CommandError(f"--time-zone {error}.") from None
    with connect(data, url, create=False) as (_, database), database.write_transaction() as tx, steps() as step:
        if zone is not None:
            time_zone.change(tx, zone)
        verification.rebuild(tx, lambda table: step(f"rebuilding {table}"))
        details = {} if zone is None else {"timeZone": zone}
        audit.record(tx, None, "figures.rebuilt", audit.WHOLE_DATABASE, now(), **details)
    print("All totals are rebuilt.", file=sys.stderr)
