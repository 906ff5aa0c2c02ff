"""What grows with what is stored, and what does not: import, first answer, latency at 10², 10⁴ and 10⁶ sessions."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import httpx

from bench.exchange import Contents, write_names, write_sessions
from bench.machine import Patience, Watch
from bench.rounds import Contender, Loads, Plan, measure, say
from bench.servers import environment, free_port, running, running_seneca, seneca
from bench.stage import Stage, sign_in, unended_of
from bench.wrk import Failed

READ, WRITE = "statistic of a course", "update with three modules"
STARTS = 5


@dataclass(frozen=True)
class Imported:
    """What `seneca import` took for a file: seconds, start to end; processor seconds; MiB resident at most.

    ``others`` is the share of the machine, 0 to 1, that other processes took at the same time.
    """

    sessions: int
    seconds: float
    processor: float
    mebibytes: float
    others: float

    @property
    def rate(self) -> float:
        """Sessions a second, the command's own start included."""
        return self.sessions / self.seconds


def import_new(
    directory: Path, write: Callable[[Path], Contents], patience: Patience, **variables: str
) -> tuple[Path, Contents, Imported]:
    """Write a file and import it; returns the data directory, what is in it, and what the import took.

    Raises:
        Failed: the import did.

    """
    directory.mkdir()
    file, data = directory / "exchange.jsonl", directory / "data"
    contents = write(file)
    patience.wait()
    say(f"import of {contents.sessions:,} sessions …")
    watch = Watch()
    began = time.perf_counter()
    with (directory / "import.log").open("wb") as log:
        process = subprocess.Popen(
            [str(word) for word in seneca("import", file, "--data", data)],
            stdout=log,
            stderr=log,
            env=environment(**variables),
        )
        _, status, usage = os.wait4(process.pid, 0)  # unlike wait, it tells what this one child used
    took, others = time.perf_counter() - began, watch.others()
    process.returncode = os.waitstatus_to_exitcode(status)
    file.unlink()
    if process.returncode != 0:
        raise Failed(f"seneca import failed:\n{(directory / 'import.log').read_text()[-2000:]}")
    processor = usage.ru_utime + usage.ru_stime
    return data, contents, Imported(contents.sessions, took, processor, usage.ru_maxrss / 1024, others)


@contextmanager
def serving(data: Path, contents: Contents) -> Iterator[Contender]:
    """A server with one worker on imported data, its people signed in."""
    with running_seneca(data) as port:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            admin = sign_in(client, contents.admin)
            learners = [replace(learner, token=sign_in(client, learner.name)) for learner in contents.learners]
        course_id = contents.course_id
        yield Stage(port, data, admin, learners, course_id, course_id, partial(unended_of, data)).contender()


def measure_sizes(plan: Plan, directory: Path, sizes: Sequence[int]) -> tuple[Loads, list[Imported], dict[str, float]]:
    """Import each number of sessions, then read and write there, one request at a time.

    Returns:
        The loads, what each import took, and the milliseconds to a first answer: on a new data directory, and
        with the most sessions stored.

    """
    with ExitStack() as stack:
        imports, stores, contenders = [], [], {}
        for size in sizes:
            data, contents, took = import_new(
                directory / str(size), partial(write_sessions, sessions=size), plan.patience
            )
            stores.append((size, data, contents))
            imports.append(took)
        firsts = {
            "new": first_answer([directory / f"new-{n}" for n in range(STARTS)], plan.patience),
            f"{sizes[-1]:,} sessions stored": first_answer([stores[-1][1]] * STARTS, plan.patience),
        }
        for size, data, contents in stores:
            contenders[f"{size:,}"] = stack.enter_context(serving(data, contents))
        return measure(replace(plan, connections=1), contenders, [READ, WRITE]), imports, firsts


def measure_names(plan: Plan, directory: Path, names: Sequence[int]) -> Loads:
    """The course statistic with this many module names, each of them in every bucket; one request at a time."""
    with ExitStack() as stack:
        contenders = {}
        for count in names:
            data, contents, _ = import_new(
                directory / f"names-{count}", partial(write_names, names=count), plan.patience
            )
            contenders[f"{count:,} names"] = stack.enter_context(serving(data, contents))
        return measure(replace(plan, connections=1), contenders, [READ])


def first_answer(directories: Sequence[Path], patience: Patience) -> float:
    """The median of the milliseconds from the start of `seneca serve` to its first answer, one start in each."""
    took = []
    for data in directories:
        patience.wait()
        port = free_port()
        command = seneca("serve", "--data", data, "--port", str(port))
        with running(command, port, "/health", data / "serve.log") as seconds:
            took.append(seconds * 1000)
    return median(took)
