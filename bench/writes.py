"""Writes on SQLite in two checkouts, in turn: ``python -m bench.writes OTHER`` prints medians, and the ratios of this one to the other."""

import argparse
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from statistics import median

from bench import batches
from bench.machine import Patience
from bench.servers import running_seneca
from bench.stage import Stage, set_up
from bench.wrk import Load, Request, drive

HERE = Path(__file__).parent.parent
WORKERS = (1, 2)
SECONDS = 2
UPDATE = "update with three modules"
BATCHED = (1, 20, 100, 500)
MAX_SESSIONS = 60_000

Row = tuple[str, Callable[[Stage], Load]]


def rows() -> Iterator[Row]:
    """What is measured, with its name."""
    for operation in ("start", UPDATE, "end"):
        yield f"{operation}, 16 connections", lambda stage, name=operation: drive_operation(stage, name, 16)
    yield "update, 4 connections", lambda stage: drive_operation(stage, UPDATE, 4)
    yield "update, 4 connections, beside batches of 100", lambda stage: batches.beside(stage, batch_load(stage, 100))[1]
    for size in BATCHED:
        yield f"batches of {size}", lambda stage, size=size: drive_all(stage, batch_load(stage, size), 16)


def batch_load(stage: Stage, size: int) -> list[Request]:
    """New batches: as many as are sent while one row is measured."""
    return list(islice(batches.batches(stage, size), MAX_SESSIONS // size))


def drive_operation(stage: Stage, operation: str, connections: int) -> Load:
    """One operation of the stage."""
    return drive_all(stage, stage.contender().operations[operation](), connections)


def drive_all(stage: Stage, requests: list[Request], connections: int) -> Load:
    """Requests on this many connections."""
    return drive(stage.port, requests, connections=connections, seconds=SECONDS)


def main() -> None:
    """Keep a server of each checkout and number of workers running, and drive them in turn, round after round."""
    parser = argparse.ArgumentParser(prog="python -m bench.writes", description=main.__doc__)
    parser.add_argument("other", type=Path, help="another checkout")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each row (default: 5)")
    parser.add_argument("--patience", type=int, default=60, help="seconds to wait for a quiet machine (default: 60)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    batches.SECONDS = 2 * SECONDS
    patience = Patience(arguments.patience)
    measured: defaultdict[tuple[str, int, Path], list[Load]] = defaultdict(list)
    checkouts = (arguments.other.absolute(), HERE)
    (HERE / "build").mkdir(exist_ok=True)
    with ExitStack() as stack:
        stages: dict[tuple[int, Path], Stage] = {}
        for workers in WORKERS:
            for checkout in checkouts:
                name = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=HERE / "build"))
                variables = batches.QUOTA | {"PYTHONPATH": str(checkout / "src")}
                port = stack.enter_context(running_seneca(Path(name) / "data", workers, **variables))
                stages[workers, checkout] = set_up(port, Path(name) / "data")
        for number in range(arguments.rounds):
            for row, run in rows():
                for (workers, checkout), stage in sorted(stages.items(), reverse=number % 2 == 1):
                    patience.wait()
                    measured[row, workers, checkout].append(run(stage))
    print_table(measured, *checkouts)


def print_table(measured: dict[tuple[str, int, Path], list[Load]], other: Path, here: Path) -> None:
    """Print the medians, and the medians of the ratios of each round."""
    print("| row | workers | requests/s: other, this, ratio | p99 ms: other, this, ratio | others used |")
    print("|---|--:|--:|--:|--:|")
    for row, workers in dict.fromkeys((row, workers) for row, workers, _ in measured):
        before, after = measured[row, workers, other], measured[row, workers, here]
        cells = [
            f"{median(get(load) for load in before):,.{digits}f}, {median(get(load) for load in after):,.{digits}f}, "
            f"**{median(get(new) / get(old) for old, new in zip(before, after, strict=True)):.2f}**"
            for get, digits in ((lambda load: load.rate, 0), (lambda load: load.p99, 1))
        ]
        used = median(load.others for load in before + after)
        print(f"| {row} | {workers} | {cells[0]} | {cells[1]} | {used:.0%} |")


if __name__ == "__main__":
    main()
