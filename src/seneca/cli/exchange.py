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

InputFile = Annotated[Path, typer.Argument(help="The file, also compressed with gzip; `-` is standard input.")]
OutputFile = Annotated[
    Path, typer.Argument(help="The file; `-` is standard output. A name that ends in .gz is compressed with gzip.")
]

MAX_WAIT_SECONDS: Final = 600.0  # that an export waits for a concurrent write


def import_file(
    file: InputFile,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Skip bad lines, and list them.")] = False,  # noqa: FBT002
    update: Annotated[  # noqa: FBT002
        bool, typer.Option("--update", help="Replace stored data by lines that differ.")
    ] = False,
    data: Data = None,
    url: Url = None,
) -> None:
    """Import courses, accounts and sessions: the whole file, or nothing.

    Lines that equal what is already stored are skipped. While the import stores data, other writes wait, and fail with 503 after
    five seconds.
    """
    with connect(data, url) as (_, database), progress() as show:
        print(
            "Importing. While data is stored, the writes of servers wait, and fail with 503 after five seconds.",
            file=sys.stderr,
        )
        try:
            report = importer.import_lines(database, file, skip_bad=skip_bad, now=now(), progress=show, update=update)
        except ImportRejected as error:
            print_bad_lines(error.report)
            raise
    print_bad_lines(report)
    print(f"Imported {summary(report)}.", file=sys.stderr)


def export_file(
    file: OutputFile = Path("-"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,  # noqa: FBT002
    data: Data = None,
    url: Url = None,
) -> None:
    """Export every course, account and session, from one snapshot. Only its owner can read the file."""
    with connect(data, url, create=False) as (_, database), progress() as show:
        record = partial(record_copy, database, "data.exported", MAX_WAIT_SECONDS)
        report = exporter.export_lines(database, file, overwrite=force, begin=record, progress=show)
    print(f"Exported {summary(report)}.", file=sys.stderr)


def demo(
    if_empty: Annotated[  # noqa: FBT002
        bool, typer.Option("--if-empty", help="Do nothing if the database has courses or accounts.")
    ] = False,
    data: Data = None,
    url: Url = None,
) -> None:
    """Fill an empty database with ten courses, some learners and months of sessions."""
    with connect(data, url) as (_, database):
        if if_empty and not demonstration.is_empty(database):
            return
        result = demonstration.fill(database, now())
    print(f"{result.username} {result.password}")
    print("Demo data stored. Sign in with the name and the password above.", file=sys.stderr)


def print_bad_lines(report: Report) -> None:
    """Print each bad line's number and reason."""
    for bad in report.bad_lines:
        print(f"line {bad.number}: {bad.reason}", file=sys.stderr)
    if report.bad > len(report.bad_lines):
        print(f"and {report.bad - len(report.bad_lines):,} more bad lines", file=sys.stderr)


def summary(report: Report) -> str:
    """The counts of a report as text."""

    def describe(name: str, count: Count) -> str:
        others = [f"{count.updated:,} updated"] if count.updated else []
        others += [f"{count.skipped:,} unchanged"] if count.skipped else []
        return f"{count.stored:,} {name}" + (f" ({', '.join(others)})" if others else "")

    parts = [
        describe("courses", report.courses),
        describe("accounts", report.users),
        describe("sessions", report.sessions),
    ]
    if report.settings != Count():
        parts.insert(0, describe("line of settings", report.settings))
    if report.voided != Count():
        parts.append(describe("voided session ids", report.voided))
    skipped = f"; {report.bad:,} bad lines skipped" if report.bad else ""
    return ", ".join(parts) + skipped


@contextmanager
def progress() -> Iterator[exchange.Progress]:
    """Show a progress bar on a terminal."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console  # see ``options.steps``
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda step, done, total: bar.update(task, description=step, completed=done, total=total)
