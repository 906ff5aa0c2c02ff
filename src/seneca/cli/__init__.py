"""The shell's door: one command for each thing that the person who runs Seneca does.

Data goes to standard output, progress and messages to standard error. Exit statuses: 0 done, 1 refused or failed with
one clear line, 2 wrong usage.
"""

import sys

import typer

from seneca.cli import accounts, backups, figures, privacy, serving, transferring
from seneca.errors import Refusal
from seneca.text import printable

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Seneca: a record keeper for study. Every option has an environment variable.",
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


def main() -> None:
    """Run a command."""
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
