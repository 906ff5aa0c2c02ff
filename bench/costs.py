"""What one operation costs: processor time of the servers and of the database, bytes of log, bytes stored.

``python -m bench.costs`` prints what ``bench.capacity`` computes with. Processor time depends less than requests a second on
what else the machine does, and says how many cores a load takes.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from bench.exchange import Contents, write_learners, write_sessions
from bench.machine import Patience, processor_seconds
from bench.postgres import cluster, stage
from bench.rounds import Contender, say
from bench.servers import running_seneca
from bench.sizes import import_new
from bench.stage import LEARNERS, set_up
from bench.wrk import drive

BUILD = Path("build")
OPERATIONS = ["start", "update with three modules", "end", "statistic of a course", "statistic of a learner", "sign-in"]
FEW, MANY = 10_000, 100_000
WRITERS = 1000
CONNECTIONS = 16
TABLES = """
SELECT c.relname, pg_relation_size(c.oid), pg_indexes_size(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind = 'r' ORDER BY pg_total_relation_size(c.oid) DESC
"""


@dataclass(frozen=True)
class Processes:
    """The processes of Seneca and of its database: what they have taken can be asked at any time."""

    seneca: int
    postgres: int | None = None
    url: str = ""

    def took(self) -> tuple[float, float, int]:
        """Seconds of processor of each, and bytes of PostgreSQL's log, since they started."""
        database, log = 0.0, 0
        if self.postgres is not None:
            database = processor_seconds(self.postgres)
            with psycopg.connect(self.url) as connection:
                row = connection.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
                log = int(row[0]) if row else 0
        return processor_seconds(self.seneca), database, log


def main() -> None:
    """Measure on both engines, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.costs", description="Measure what one operation costs.")
    parser.add_argument("--rounds", type=int, default=3, help="of all operations (default: 3)")
    parser.add_argument("--seconds", type=int, default=3, help="of each run (default: 3)")
    options = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as name:
        found = {
            "SQLite": on_sqlite(Path(name), options.rounds, options.seconds),
            "PostgreSQL": on_postgres(Path(name), options.rounds, options.seconds),
        }
    print(json.dumps(found, indent=1))


def on_sqlite(directory: Path, rounds: int, seconds: int) -> dict[str, Any]:
    """Bytes of the file, and operations with one worker."""

    def size(data: Path) -> dict[str, float]:
        return {"whole": (data / "seneca.db").stat().st_size}

    stored = bytes_stored(directory / "sqlite", lambda _: {}, size)
    data = directory / "sqlite-served"
    with serving(data, 1) as (port, seneca):
        return stored | {"operations": operations(set_up(port, data).contender(), Processes(seneca), rounds, seconds)}


def on_postgres(directory: Path, rounds: int, seconds: int) -> dict[str, Any]:
    """Bytes of the database and of each table, and operations with two workers."""
    with cluster() as server:

        def size(data: Path) -> dict[str, float]:
            with psycopg.connect(server.url(data), autocommit=True) as connection:
                connection.execute("VACUUM")  # else its maps are not made yet
                rows = connection.execute(TABLES).fetchall()
                whole = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            of_tables = {f"{name}, rows": size for name, size, _ in rows} | {
                f"{name}, keys": size for name, _, size in rows
            }
            return {"whole": whole[0] if whole else 0} | of_tables

        stored = bytes_stored(directory / "postgres", server.environment, size)
        data = directory / "postgres-served" / "data"
        write = partial(write_sessions, sessions=20 * WRITERS, writers=WRITERS)
        _, contents, _ = import_new(data.parent, write, Patience(0), **server.environment(data))
        with serving(data, 2, **server.environment(data)) as (port, seneca):
            contender = stage(port, data, contents, server.url(data)).contender()
            processes = Processes(seneca, server.process.pid, server.url(data))
            return stored | {"operations": operations(contender, processes, rounds, seconds)}


@contextmanager
def serving(data: Path, workers: int, **variables: str) -> Iterator[tuple[int, int]]:
    """A running server: its port, and the process id of what started it."""
    before = children()
    with running_seneca(data, workers, **variables) as port:
        (server,) = children() - before
        yield port, server


def children() -> set[int]:
    """The process ids of our own children."""
    task = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return {int(word) for word in task.read_text(encoding="ascii").split()}


def bytes_stored(
    directory: Path, environment: Callable[[Path], dict[str, str]], size: Callable[[Path], dict[str, float]]
) -> dict[str, Any]:
    """Bytes a session, between ``FEW`` and ``MIN_LINES_FOR_BULK_LOAD`` of them (a learner to twenty), and bytes a learner without any."""
    directory.mkdir()

    def sizes(name: str, write: Callable[[Path], Contents]) -> dict[str, float]:
        data = directory / name / "data"
        import_new(data.parent, write, Patience(0), **environment(data))
        return size(data)

    def each(kind: str, write: Callable[[int], Callable[[Path], Contents]]) -> dict[str, float]:
        few, many = (sizes(f"{kind}-{n}", write(n)) for n in (FEW, MANY))
        grown = {name: (many[name] - few[name]) / (MANY - FEW) for name in many}
        return {name: round(value, 1) for name, value in grown.items() if round(value, 1)}

    return {
        "bytes a session": each("sessions", lambda n: partial(write_sessions, sessions=n)),
        "bytes a learner": each("learners", lambda n: partial(write_learners, learners=n)),
    }


def operations(contender: Contender, processes: Processes, rounds: int, seconds: int) -> dict[str, Any]:
    """Each operation's microseconds of Seneca and of PostgreSQL, the least of all rounds, and bytes of log, the most."""
    found: dict[str, list[tuple[float, float, float]]] = {operation: [] for operation in OPERATIONS}
    for round_ in range(rounds + 1):
        for operation in OPERATIONS:
            requests = contender.operations[operation]()
            if operation == "sign-in":
                requests = requests[:LEARNERS]  # who have a password
            before = processes.took()
            load = drive(contender.port, requests, connections=CONNECTIONS, seconds=seconds)
            seneca, database, log = (
                (after - at) / load.requests for after, at in zip(processes.took(), before, strict=True)
            )
            say(
                f"{operation:26} {load.rate:8,.0f}/s  {seneca * 1e6:6,.0f} µs  {database * 1e6:6,.0f} µs  {log:6,.0f} B"
            )
            if round_:  # the first one warms up
                found[operation].append((seneca * 1e6, database * 1e6, log))
    return {
        operation: {
            "seneca µs": round(min(seneca for seneca, _, _ in seen)),
            "postgres µs": round(min(database for _, database, _ in seen)),
            "log bytes": round(max(log for _, _, log in seen)),  # pages that are written whole after a checkpoint, too
        }
        for operation, seen in found.items()
    }


if __name__ == "__main__":
    main()
