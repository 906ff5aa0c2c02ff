"""How long it takes to end forgotten sessions, and updates beside that: ``python -m bench.forgotten [--postgres]``."""

import argparse
import asyncio
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx

from bench.batches import QUOTA
from bench.postgres import cluster
from bench.servers import running_seneca
from bench.stage import Stage, ask, set_up
from bench.wrk import drive
from seneca.database import open_database
from seneca.sessions import timeouts

SECONDS = 5
WORKERS = 2


def forget(stage: Stage, sessions: int) -> None:
    """Start sessions two days ago, in batches of 500, and do nothing more in them."""
    start = datetime.now(UTC) - timedelta(days=2)
    item = {"courseIdentifier": stage.written_course, "topic": "Starting", "sessionStart": start.isoformat()}
    with httpx.Client(base_url=f"http://127.0.0.1:{stage.port}", timeout=60) as client:
        for number in range(sessions // 500):
            learner = stage.learners[number % len(stage.learners)]
            items = [item | {"sessionId": str(uuid4())} for _ in range(500)]
            ask(client, "POST", "/session/batch", {"sessions": items}, learner.token)


def end_all(url: str, ended: list[tuple[int, float]]) -> None:
    """End all sessions that were without an event for 12 hours, as a worker does; notes their number and the seconds it took."""
    began = time.perf_counter()
    with closing(open_database(url)) as database:
        before = time.time_ns() // 1_000_000 - 12 * 3_600_000
        number = asyncio.run(timeouts.end_all_forgotten(database, before))
    ended.append((number, time.perf_counter() - began))


def measure(stage: Stage, url: str, sessions: int) -> None:
    """Make sessions and let two workers end them, while updates go on; print how long both took."""
    updates = stage.contender().operations["update with three modules"]()
    forget(stage, sessions)
    alone = drive(stage.port, updates, connections=1, seconds=SECONDS)
    ended: list[tuple[int, float]] = []
    threads = [threading.Thread(target=end_all, args=(url, ended)) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    beside = drive(stage.port, updates, connections=1, seconds=SECONDS)
    for thread in threads:
        thread.join()
    number, seconds = sum(count for count, _ in ended), max(seconds for _, seconds in ended)
    print(
        f"{number:,} forgotten sessions ended in {seconds:.1f} s by {WORKERS} workers. Updates on one connection: p50 "
        f"{alone.p50:.1f}, p99 {alone.p99:.1f} ms alone; p50 {beside.p50:.1f}, p99 {beside.p99:.1f} ms beside it."
    )


def main() -> None:
    """Start a server on a new database, and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.forgotten", description="End forgotten sessions.")
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL instead of SQLite")
    parser.add_argument("--sessions", type=int, default=100_000, help="how many (default: 100000)")
    arguments = parser.parse_args()
    Path("build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir="build") as name, ExitStack() as stack:
        directory = Path(name).absolute() / "data"
        variables: Mapping[str, str] = {}
        url = f"sqlite:///{directory / 'seneca.db'}"
        if arguments.postgres:
            variables = stack.enter_context(cluster()).environment(directory)
            url = variables["SENECA_DATABASE_URL"]
        port = stack.enter_context(
            running_seneca(directory, WORKERS, SENECA_SESSION_TIMEOUT_HOURS="0", **QUOTA, **variables)
        )
        measure(set_up(port, directory), url, arguments.sessions)


if __name__ == "__main__":
    main()
