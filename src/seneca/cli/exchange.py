"""``seneca import``, ``seneca export`` and ``seneca demo``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from seneca import demo as demonstration
from seneca import exchange
from seneca.cli.options import Data, Url, connect, now, record_copy
from seneca.exchange import exporter, importer
from seneca.exchange.report import Count, ImportRejected, Report

File = Annotated[Path, typer.Argument(help="The file; `-` is standard input or output; `.gz` is compressed.")]

PATIENCE: Final = 600.0  # seconds that an export waits for whoever writes


def import_file(
    file: File,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad lines out, and list them.")] = False,  # noqa: FBT002
    update: Annotated[  # noqa: FBT002
        bool, typer.Option("--update", help="Lines that differ from what is stored replace it.")
    ] = False,
    data: Data = None,
    url: Url = None,
) -> None:
    """Read courses, accounts and sessions: all of it, or nothing.

    What is stored already, and equal, is skipped. While it stores, other writes wait; after five seconds they get 503.
    """
    with connect(data, url) as (_, database), progress() as tell:
        print("Importing. While it stores, a server's writes wait, and after five seconds get 503.", file=sys.stderr)
        try:
            report = importer.import_lines(database, file, skip_bad=skip_bad, now=now(), progress=tell, update=update)
        except ImportRejected as refusal:
            list_bad(refusal.report)
            raise
    list_bad(report)
    print(f"Imported {summary(report)}.", file=sys.stderr)


def export_file(
    file: File = Path("-"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,  # noqa: FBT002
    data: Data = None,
    url: Url = None,
) -> None:
    """Write every course, account and session, from one snapshot. The file is readable by its owner only."""
    with connect(data, url, create=False) as (_, database), progress() as tell:
        record = partial(record_copy, database, "data.exported", PATIENCE)
        report = exporter.export_lines(database, file, overwrite=force, begin=record, progress=tell)
    print(f"Exported {summary(report)}.", file=sys.stderr)


def demo(
    if_empty: Annotated[  # noqa: FBT002
        bool, typer.Option("--if-empty", help="Do nothing if the database has courses or accounts.")
    ] = False,
    data: Data = None,
    url: Url = None,
) -> None:
    """Fill an empty database with ten courses, some learners, and months of sessions."""
    with connect(data, url) as (_, database):
        if if_empty and not demonstration.is_empty(database):
            return
        made = demonstration.fill(database, now())
    print(f"{made.username} {made.password}")
    print("Demo data is in. Sign in with the name and the password above.", file=sys.stderr)


def list_bad(report: Report) -> None:
    """List the bad lines, one a line."""
    for bad in report.bad_lines:
        print(f"line {bad.number}: {bad.reason}", file=sys.stderr)
    if report.bad > len(report.bad_lines):
        print(f"and {report.bad - len(report.bad_lines):,} more bad lines", file=sys.stderr)


def summary(report: Report) -> str:
    """What was moved, in words."""

    def words(name: str, count: Count) -> str:
        others = [f"{count.updated:,} updated"] if count.updated else []
        others += [f"{count.skipped:,} were there already"] if count.skipped else []
        return f"{count.stored:,} {name}" + (f" ({', '.join(others)})" if others else "")

    parts = [words("courses", report.courses), words("accounts", report.users), words("sessions", report.sessions)]
    left_out = f"; {report.bad:,} bad lines left out" if report.bad else ""
    return ", ".join(parts) + left_out


@contextmanager
def progress() -> Iterator[exchange.Progress]:
    """Show how far it is, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console  # see ``options.steps``
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda doing, done, total: shown.update(task, description=doing, completed=done, total=total)
