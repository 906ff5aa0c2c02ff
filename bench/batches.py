"""Batches of sessions over HTTP, and other requests beside them: ``python -m bench.batches [--postgres]``.

Each row: a new database, two workers, 16 connections, learners who send batches of new sessions with three modules each.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.postgres import cluster
from bench.servers import running_seneca
from bench.stage import UPDATED, Stage, scored, set_up
from bench.wrk import Load, Request, drive

SIZES = (1, 20, 100, 500)
SESSIONS = {1: 20_000, 20: 60_000, 100: 100_000, 500: 100_000}
"""How many sessions are sent in batches of each size, at most."""
CONNECTIONS = 16
SECONDS = 8
QUOTA = {"SENECA_MAX_LEARNER_WRITES": "100000000", "SENECA_MAX_LEARNER_BYTES": "100000000000"}


def batches(stage: Stage, size: int) -> Iterator[Request]:
    """Requests with new sessions of the last month, each of half an hour."""
    now = datetime.now(UTC)
    for number in range(SESSIONS[size] // size):
        learner = stage.learners[number % len(stage.learners)]
        sessions = [_session(stage, now - timedelta(minutes=40 * (1 + index))) for index in range(size)]
        yield Request("POST", "/session/batch", learner.token, {"sessions": sessions}, once=True)


def _session(stage: Stage, start: datetime) -> dict[str, Any]:
    recorded_at = (start + timedelta(minutes=10)).isoformat()
    return {
        "sessionId": str(uuid4()),
        "courseIdentifier": stage.written_course,
        "topic": "Starting",
        "sessionStart": start.isoformat(),
        "sessionEnd": (start + timedelta(minutes=30)).isoformat(),
        "moduleStats": [module | {"recordedAt": recorded_at} for module in scored(UPDATED, 75)],
    }


def beside(stage: Stage, load: list[Request]) -> tuple[Load, Load, Load]:
    """Updates of single sessions on four connections: alone, beside a load of batches, and that load."""
    updates = stage.contender().operations["update with three modules"]()
    alone = drive(stage.port, updates, connections=4, seconds=SECONDS // 2)
    loads: list[Load] = []
    thread = threading.Thread(
        target=lambda: loads.append(drive(stage.port, load, connections=CONNECTIONS, seconds=SECONDS))
    )
    thread.start()
    time.sleep(1)
    together = drive(stage.port, updates, connections=4, seconds=SECONDS // 2)
    thread.join()
    return alone, together, loads[0]


def measure(directory: Path, variables: Mapping[str, str]) -> None:
    """Measure every size, and print a table."""
    print("| sessions in a batch | batches/s | sessions/s | p99 of a batch, ms | others used |")
    print("|---:|---:|---:|---:|---:|")
    with running_seneca(directory, 2, **QUOTA, **variables) as port:
        stage = set_up(port, directory)
        for size in SIZES:
            load = drive(port, list(batches(stage, size)), connections=CONNECTIONS, seconds=SECONDS)
            print(
                f"| {size} | {load.rate:,.0f} | {load.rate * size:,.0f} | {load.p99:,.0f} | {load.others:.0%} |",
                flush=True,
            )
        alone, together, load = beside(stage, list(batches(stage, 100)))
        print(
            f"\nUpdates on four connections: p99 {alone.p99:.1f} ms alone, {together.p99:.1f} ms beside "
            f"{load.rate * 100:,.0f} sessions/s in batches of 100 ({together.p99 / alone.p99:.1f} times; "
            f"p50 {alone.p50:.1f} and {together.p50:.1f} ms; {alone.rate:,.0f} and {together.rate:,.0f} updates/s)."
        )


def main() -> None:
    """Start a server on a new database, and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.batches", description="Measure batches of sessions.")
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL instead of SQLite")
    arguments = parser.parse_args()
    Path("build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir="build") as name, ExitStack() as stack:
        directory = Path(name).absolute() / "data"
        variables: Mapping[str, str] = {}
        if arguments.postgres:
            variables = stack.enter_context(cluster()).environment(directory)
        measure(directory, variables)


if __name__ == "__main__":
    main()
