"""The command line: one command for each task of the operator.

Data goes to standard output, progress and messages to standard error. Exit statuses: 0 success, 1 failure with a one-line
message, 2 wrong usage.
"""

import os
import sys
from typing import Annotated

import typer

from seneca.cli import accounts, backup, exchange, privacy, serve, stats
from seneca.common.text_types import printable
from seneca.errors import ApiError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(serve.serve)
app.command()(serve.migrate)
app.command()(exchange.demo)
app.command("import")(exchange.import_file)
app.command("export")(exchange.export_file)
app.command()(privacy.erase)
app.command()(privacy.prune)
app.command()(privacy.vacuum)
app.command("backup")(backup.back_up)
app.command("restore")(backup.restore)
app.add_typer(accounts.app, name="admin")
app.add_typer(stats.app, name="stats")


def print_version(requested: bool) -> None:  # noqa: FBT001
    """Print the version and exit, if requested."""
    if requested:
        from importlib import metadata  # takes 10 ms, which would delay every command

        print(f"seneca {metadata.version('seneca')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """Seneca: a record keeper for study. docs/reference.md lists the environment variables."""


def main() -> None:
    """Run a command."""
    os.umask(0o077)  # new files are private to their owner, also those of worker processes
    try:
        app()
    except ApiError as error:
        print(f"seneca: {printable(error.detail)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has closed it
        sys.stderr.close()
        sys.exit(1)
