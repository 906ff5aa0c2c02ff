"""``seneca serve`` and ``seneca migrate``."""

from typing import Annotated

import typer

from seneca.cli.options import Data, Url, connect, read_settings, steps
from seneca.errors import CommandError


def serve(
    data: Data = None,
    url: Url = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).", envvar="SENECA_HOST")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port to listen on (default: 3000; 0: any free port).", envvar="SENECA_PORT"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=64,
            help="Worker processes (default: one per usable core, at most four).",
            envvar="SENECA_WORKERS",
        ),
    ] = None,
) -> None:
    """Serve the API until stopped (SIGTERM or Ctrl+C)."""
    from seneca.server import processes

    processes.serve(read_settings(data, url, host=host, port=port, workers=workers))


def migrate(
    data: Data = None,
    url: Url = None,
    distribute: Annotated[  # noqa: FBT002
        bool, typer.Option("--distribute", help="Also distribute the tables over the nodes of a Citus cluster.")
    ] = False,
) -> None:
    """Create the database, or migrate its schema. A server does this when it starts."""
    with connect(data, url) as (_, database):
        if distribute:
            if database.cluster is None:
                raise CommandError(
                    "SQLite is one file and cannot be distributed. Use a PostgreSQL with Citus: --database postgresql://…."
                )
            with steps() as step:
                count = database.cluster.distribute(step)
            print(f"{count} tables distributed." if count else "Every table is already distributed.")
        print(f"{database.applied} migrations applied." if database.applied else "The schema is up to date.")
