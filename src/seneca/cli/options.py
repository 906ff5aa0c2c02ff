"""Options of every command, and the settings and database that they select."""

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Concatenate, Literal, NoReturn, ParamSpec, TypeVar

import typer

from seneca import audit, settings
from seneca.database import Database, Transaction, open_database
from seneca.database.migrations.progress_lines import ProgressLines
from seneca.database.properties import InitialProperties
from seneca.errors import Busy, ConfigurationError, ServiceUnavailable
from seneca.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Directory of the database file and the signing key (default: seneca-data).",
        envvar="SENECA_DATA",
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--database",
        help="URL of the database: sqlite:///PATH, or postgresql://USER@HOST/NAME for PostgreSQL (default: the SQLite file seneca.db in --data).",
        envvar="SENECA_DATABASE_URL",
    ),
]


def read_settings(data: Path | None, url: str | None, **options: object) -> Settings:
    """The settings of a command. Raises ConfigurationError."""
    command_settings = settings.read(None, data=data, database_url=url, **options)
    if command_settings.data.exists() and not command_settings.data.is_dir():
        raise ConfigurationError(
            f"The data directory {command_settings.data} is a file. Choose a directory: --data DIR."
        )
    return command_settings


@contextmanager
def connect(
    data: Path | None, url: str | None, *, create: bool = True, migrate: bool = True
) -> Iterator[tuple[Settings, Database]]:
    """The settings and the open database of a command; prints the database's name at the end.

    Args:
        data: the option ``--data``.
        url: the option ``--database``.
        create: create the database if there is none; otherwise that is an error.
        migrate: apply missing migrations and complete their backfills.

    Raises:
        CommandError: there is no such database, or it cannot be used.

    """
    command_settings = read_settings(data, url)
    exit_on_signals()
    with MigrationDisplay() as display:
        database = open_database(
            command_settings.database,
            create=create,
            migrate=migrate,
            initial=InitialProperties(command_settings.idle_minutes, command_settings.initial_time_zone),
            announce=display.announce,
            progress=display.progress,
        )
    if database.applied and not database.is_new:  # about what a migration could not decide
        for warning in database.warnings:
            print(f"Warning: {warning}", file=sys.stderr)
    try:
        yield command_settings, database
    finally:
        database.close()
    print(f"Database: {database.name}{' (created)' if database.is_new else ''}", file=sys.stderr)


class MigrationDisplay(ExitStack):
    """Prints which migration is about to happen, and how far its backfill is: on a terminal in one line, with the time it takes."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = ProgressLines(partial(print, file=sys.stderr))

    def announce(self, text: str) -> None:
        """Print what is about to happen."""
        self.close()  # the display of the migration before
        print(text, file=sys.stderr)
        if sys.stderr.isatty():
            show = self.enter_context(steps())
            show("migrating")
            self._lines = ProgressLines(show, seconds=0)

    def progress(self, step: str, done: int, total: int | None) -> None:
        """Show how far a backfill is."""
        self._lines(step, done, total)


def exit_on_signals() -> None:
    """Exit on SIGTERM and SIGHUP as on Ctrl+C, so that cleanup runs and no partial copy is left behind."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # nohup, for example, ignores SIGHUP
                signal.signal(number, _exit)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def now() -> int:
    """The time in milliseconds since 1970. Interfaces read the clock and pass it to domain functions."""
    return time.time_ns() // 1_000_000


def write(database: Database, f: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a write in a short transaction with retries, as a server does."""
    return asyncio.run(database.write(f, *args, **kwargs))


def record_copy(
    database: Database, action: Literal["data.backed-up", "data.exported"], max_seconds: float = 0.0
) -> None:
    """Record in the audit log that the whole database is about to be copied.

    Args:
        database: the database.
        action: the audit action.
        max_seconds: how long to retry while another process, such as an import, blocks writes. An attempt itself also waits.

    Raises:
        ServiceUnavailable: it cannot be recorded.

    """
    if database.pending:
        raise ServiceUnavailable("the schema is older than this program.")
    deadline = time.monotonic() + max_seconds
    is_announced = False
    while True:
        try:
            write(database, lambda tx: audit.record(tx, None, action, audit.WHOLE_DATABASE, now()))
        except Busy:
            if time.monotonic() > deadline:
                raise
        else:
            return
        if not is_announced:
            print("Waiting for another process to finish writing to the database.", file=sys.stderr)
            is_announced = True


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """Show the current step of a long command on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # takes 0.1 s, and ``serve`` and scripts do not need it
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("")
        yield lambda step: progress.update(task, description=step)
