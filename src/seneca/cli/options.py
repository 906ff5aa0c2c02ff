"""Options that every command takes, and what they open."""

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Concatenate, Literal, NoReturn, ParamSpec, TypeVar

import typer

from seneca import audit, settings
from seneca.database import Database, Transaction, open_database
from seneca.errors import Busy, CommandError, ServiceUnavailable
from seneca.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Directory of the database and the keys (default: seneca-data).", envvar="SENECA_DATA"),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--database",
        help="sqlite:///PATH or postgresql://USER@HOST/NAME (default: the file seneca.db in --data).",
        envvar="SENECA_DATABASE_URL",
    ),
]


def read_settings(data: Path | None, url: str | None, **options: object) -> Settings:
    """The settings of a command. Raises CommandError."""
    told = settings.read(None, data=data, database_url=url, **options)
    if told.data.exists() and not told.data.is_dir():
        raise CommandError(f"The data directory {told.data} is a file. Name a directory: --data DIR.")
    return told


@contextmanager
def connect(
    data: Path | None, url: str | None, *, create: bool = True, migrate: bool = True
) -> Iterator[tuple[Settings, Database]]:
    """The settings, and the database that they name; once all is done, its name goes to standard error.

    Args:
        data: the option of that name.
        url: the option of that name.
        create: create a database where there is none, else refuse.
        migrate: bring an older schema up to date.

    Raises:
        CommandError: there is no such database, or it cannot be used.

    """
    told = read_settings(data, url)
    end_orderly()
    database = open_database(told.database, create=create, migrate=migrate)
    if database.applied and not database.is_new:  # what a migration could not decide by itself
        for warning in database.warnings:
            print(f"Warning: {warning}", file=sys.stderr)
    try:
        yield told, database
    finally:
        database.close()
    print(f"Database: {database.name}{' (created)' if database.is_new else ''}", file=sys.stderr)


def end_orderly() -> None:
    """From now on, end as by Ctrl+C when told to end, and leave no half of a copy: who has a terminal closed, or a time limit."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # whoever started it may have it ignore one: nohup
                signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def now() -> int:
    """The time, in milliseconds since 1970. Doors read the clock; concepts are told."""
    return time.time_ns() // 1_000_000


def write(database: Database, f: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a write beside a server's, as its own are run: in a short transaction, again if another one overtakes it."""
    return asyncio.run(database.write(f, *args, **kwargs))


def record_copy(database: Database, act: Literal["data.backed-up", "data.exported"], patience: float = 0.0) -> None:
    """Record in the audit log that everything is about to be copied.

    Args:
        database: what is copied.
        act: what it is copied for.
        patience: seconds to wait for somebody who keeps others from writing, as an import does; an attempt takes some itself.

    Raises:
        ServiceUnavailable: it cannot be recorded.

    """
    if database.pending:
        raise ServiceUnavailable("the schema is older than this program.")
    deadline = time.monotonic() + patience
    is_told = False
    while True:
        try:
            write(database, lambda tx: audit.record(tx, None, act, audit.WHOLE_DATABASE, now()))
        except Busy:
            if time.monotonic() > deadline:
                raise
        else:
            return
        if not is_told:
            print("Waiting for another process that writes to the database.", file=sys.stderr)
            is_told = True


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
