"""The shell's door: one command for each thing that the person who runs Seneca does.

Data goes to standard output, progress and messages to standard error. Exit statuses: 0 done, 1 refused or failed with
one clear line, 2 wrong usage.
"""

import os
import sys
from importlib import metadata
from typing import Annotated

import typer

from seneca.cli import accounts, backups, figures, privacy, serving, transferring
from seneca.errors import Refusal
from seneca.text import printable

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(serving.serve)
app.command()(serving.migrate)
app.command()(transferring.demo)
app.command("import")(transferring.import_file)
app.command("export")(transferring.export_file)
app.command()(privacy.erase)
app.command()(privacy.retain)
app.command()(privacy.scour)
app.command("backup")(backups.back_up)
app.command("restore")(backups.restore)
app.add_typer(accounts.app, name="admin")
app.add_typer(figures.app, name="stats")


def print_version(wanted: bool) -> None:  # noqa: FBT001
    """Print the version and end, if that is wanted."""
    if wanted:
        print(f"seneca {metadata.version('seneca')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """Seneca: a record keeper for study. docs/reference.md lists the environment variables of options."""


def main() -> None:
    """Run a command."""
    os.umask(0o077)  # whatever it creates is its owner's, and so is what its worker processes create
    try:
        app()
    except Refusal as refusal:
        print(f"seneca: {printable(refusal.detail)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has gone
        sys.stderr.close()
        sys.exit(1)
