"""Options that every command takes, and what they open."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from seneca import audit, settings
from seneca.database import Database, open_database
from seneca.errors import Unavailable
from seneca.settings import Settings

Data = Annotated[
    Path | None, typer.Option("--data", help="Directory of the database and the keys.", envvar="SENECA_DATA")
]
Url = Annotated[
    str | None,
    typer.Option("--database", help="sqlite:///PATH; default: seneca.db in --data.", envvar="SENECA_DATABASE_URL"),
]


@contextmanager
def opened(data: Path | None, url: str | None) -> Iterator[tuple[Settings, Database]]:
    """The settings, and the database that they name, made or brought up to date where needed."""
    told = settings.read(data=data, database_url=url)
    database = open_database(told.database)
    for warning in database.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    try:
        yield told, database
    finally:
        database.close()


def now() -> int:
    """The time, in milliseconds since 1970. Doors read the clock; concepts are told."""
    return time.time_ns() // 1_000_000


def note_copied(database: Database, act: Literal["data.backed-up", "data.exported"]) -> None:
    """Record that everything is about to be copied; where nothing can be recorded, say so: a full disk needs a copy most."""
    try:
        with database.writing() as tx:
            audit.record(tx, None, act, audit.NOBODY, now())
    except Unavailable as fault:
        print(f"Not recorded in the audit log: {fault.detail}", file=sys.stderr)


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """Show which step a long command is at, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # 0.1 s that ``serve`` and scripts need not wait for
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("")
        yield lambda step: progress.update(task, description=step)
