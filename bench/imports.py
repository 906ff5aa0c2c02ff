"""`seneca import` in two checkouts, in turn: ``python -m bench.imports OTHER`` prints the ratios of this one to the other."""

import argparse
import os
import subprocess
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median

from bench.exchange import write_sessions
from bench.machine import Patience
from bench.postgres import cluster
from bench.servers import environment
from bench.wrk import Failed

SESSIONS = 20_000
HERE = Path(__file__).parent.parent


def main() -> None:
    """Import the same sessions into new databases, round after round."""
    parser = argparse.ArgumentParser(prog="python -m bench.imports", description=main.__doc__)
    parser.add_argument("other", type=Path, help="another checkout, set up with make setup")
    parser.add_argument("--rounds", type=int, default=5, help="imports by each (default: 5)")
    parser.add_argument("--postgres", action="store_true", help="into PostgreSQL instead of SQLite")
    arguments = parser.parse_args()
    patience = Patience(60)
    seconds: dict[Path, list[tuple[float, float]]] = {arguments.other: [], HERE: []}
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        cluster() if arguments.postgres else nullcontext() as server,
    ):
        file = Path(name) / "exchange.jsonl"
        write_sessions(file, SESSIONS)
        for number in range(arguments.rounds):
            for index, checkout in enumerate(sorted(seconds, reverse=number % 2 == 1)):
                data = Path(name) / f"{number}-{index}"
                variables = server.environment(data) if server else {}
                patience.wait()
                seconds[checkout].append(import_file(checkout, file, data, variables))
    for checkout, taken in seconds.items():
        wall, user = (median(column) for column in zip(*taken, strict=True))
        print(f"{checkout}: {wall:.2f} s, {user:.2f} s of processor time (user), {SESSIONS / wall:,.0f} sessions/s")
    pairs = list(zip(seconds[HERE], seconds[arguments.other], strict=True))
    for index, label in enumerate(("elapsed", "processor (user)")):
        print(f"ratio of the {label} times: {median(this[index] / other[index] for this, other in pairs):.2f}")


def import_file(checkout: Path, file: Path, data: Path, variables: dict[str, str]) -> tuple[float, float]:
    """Import a file with a checkout's program; returns the seconds from start to end, and those of the processor (user).

    Raises:
        Failed: the import did.

    """
    command = [checkout / ".venv/bin/python", "-m", "seneca", "import", file, "--data", data]
    began = time.perf_counter()
    with (file.parent / "import.log").open("wb") as log:
        process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log, env=environment(**variables))
        _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"seneca import failed:\n{(file.parent / 'import.log').read_text()[-2000:]}")
    return taken, usage.ru_utime


if __name__ == "__main__":
    main()
