"""``seneca serve`` and ``seneca migrate``."""

from typing import Annotated

import typer

from seneca.cli.options import Data, Url, connect, read_settings, steps


def serve(
    data: Data = None,
    url: Url = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).", envvar="SENECA_HOST")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port to listen on (default: 3000); 0: one that is free.", envvar="SENECA_PORT"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=64,
            help="Processes that answer requests (default: one for each usable core, at most four).",
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
        bool, typer.Option("--distribute", help="Spread the tables over the nodes of a Citus cluster, too.")
    ] = False,
) -> None:
    """Create the database, or bring its schema up to date. A server that starts does so by itself."""
    with connect(data, url) as (_, database):
        if distribute:
            with steps() as step:
                made = database.distribute(step)
            print(f"{made} tables distributed." if made else "Every table is distributed.")
        print(f"{database.applied} migrations applied." if database.applied else "The schema is up to date.")
