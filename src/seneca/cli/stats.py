"""``seneca stats``: verify or rebuild the statistics."""

import sys

import typer

from seneca import audit
from seneca.cli.options import Data, Url, connect, now, steps
from seneca.common.text_types import printable
from seneca.errors import CommandError
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
def rebuild(data: Data = None, url: Url = None) -> None:
    """Recompute every total from the recorded rows and store it. Other writes wait until it is done."""
    with connect(data, url, create=False) as (_, database), database.write_transaction() as tx, steps() as step:
        verification.rebuild(tx, lambda table: step(f"rebuilding {table}"))
        audit.record(tx, None, "figures.rebuilt", audit.WHOLE_DATABASE, now())
    print("All totals are rebuilt.", file=sys.stderr)
