"""The shell's door: one command for each thing that the person who runs Seneca does."""

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from seneca import settings
from seneca.errors import Refusal

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="A record keeper for study.",
    rich_markup_mode=None,
)

Data = Annotated[Optional[Path], typer.Option(help="Directory for database and keys.")]
DatabaseUrl = Annotated[Optional[str], typer.Option("--database", help="sqlite:///PATH.")]


@app.command()
def serve(
    data: Data = None,
    database: DatabaseUrl = None,
    host: Annotated[Optional[str], typer.Option()] = None,
    port: Annotated[Optional[int], typer.Option()] = None,
    workers: Annotated[Optional[int], typer.Option()] = None,
) -> None:
    """Answer requests until told to stop."""
    from seneca import server

    server.serve(settings.read(data=data, database_url=database, host=host, port=port, workers=workers))


@app.command()
def migrate(data: Data = None) -> None:
    """Bring the schema up to date."""


def main() -> None:
    """Run a command; a refusal is one clear line and exit status 1."""
    try:
        app()
    except Refusal as refusal:
        print(f"seneca: {refusal.detail}", file=sys.stderr)
        sys.exit(1)
