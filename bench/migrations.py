"""`seneca migrate` of an older database in two checkouts, in turn: ``python -m bench.migrations OTHER`` prints their ratios."""

import argparse
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from statistics import median

from tests.helpers import engines
from tests.helpers.old_database import make_old_database

from bench.machine import Patience
from bench.postgres import cluster
from bench.servers import environment
from bench.wrk import Failed

SESSIONS = 300_000
HERE = Path(__file__).parent.parent


def migrate(checkout: Path, data: Path, variables: dict[str, str]) -> tuple[float, float]:
    """Migrate with a checkout's program; returns the seconds from start to end, and the most memory it had, in MiB.

    Raises:
        Failed: it did.

    """
    command = [checkout / ".venv/bin/python", "-m", "seneca", "migrate", "--data", data]
    log = data.parent / f"{data.name}.log"
    memory = 0.0
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen([*map(str, command)], stdout=output, stderr=output, env=environment(**variables))
        # What wait4 reports includes this process's memory, from before the command began.
        while process.poll() is None:
            memory = max(memory, resident_mebibytes(process.pid))
            time.sleep(0.02)
    taken = time.perf_counter() - began
    if process.returncode != 0:
        raise Failed(f"seneca migrate failed:\n{log.read_text()[-2000:]}")
    return taken, memory


def resident_mebibytes(pid: int) -> float:
    """The most memory that a process has had so far; 0 if it has ended."""
    with suppress(OSError):
        if match := re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8")):
            return int(match[1]) / 1024
    return 0.0


def measure(
    checkouts: Sequence[Path], server: engines.Postgres | None, directory: Path, arguments: argparse.Namespace
) -> None:
    """Make a database, copy it for each checkout and round, migrate the copies, and print the ratios."""
    engine = engines.Sqlite() if server is None else server
    original = directory / "original"
    original.mkdir()
    make_old_database(engine, original, arguments.sessions)
    patience = Patience(60)
    results: dict[Path, list[tuple[float, float]]] = {checkout: [] for checkout in checkouts}
    for number in range(arguments.rounds):
        for index, checkout in enumerate(sorted(checkouts, reverse=number % 2 == 1)):
            data = directory / f"{number}-{index}"
            data.mkdir()
            engine.copy(original, data)
            patience.wait()
            results[checkout].append(migrate(checkout, data, engine.environment(data)))
    for checkout, pairs in results.items():
        seconds, memory = (median(column) for column in zip(*pairs, strict=True))
        print(f"{checkout}: {seconds:.2f} s, {memory:.0f} MiB, for {arguments.sessions:,} sessions")
    first, last = results[checkouts[0]], results[checkouts[-1]]
    ratio = median(this[0] / other[0] for this, other in zip(first, last, strict=True))
    print(f"ratio of the elapsed times: {ratio:.2f}")


def main() -> None:
    """Migrate the same database with two checkouts, round after round."""
    parser = argparse.ArgumentParser(prog="python -m bench.migrations", description=main.__doc__)
    parser.add_argument("other", type=Path, nargs="?", default=HERE, help="another checkout, set up with make setup")
    parser.add_argument("--rounds", type=int, default=5, help="migrations by each (default: 5)")
    parser.add_argument("--sessions", type=int, default=SESSIONS, help=f"how many (default: {SESSIONS})")
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL instead of SQLite")
    arguments = parser.parse_args()
    Path("build").mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="build") as name,
        cluster() if arguments.postgres else nullcontext() as server,
    ):
        measure(
            sorted({HERE, arguments.other}, key=lambda path: path != HERE), server, Path(name).absolute(), arguments
        )


if __name__ == "__main__":
    main()
