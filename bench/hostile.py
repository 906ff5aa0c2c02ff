"""How others fare while somebody attacks: ``python -m bench.hostile``. Bounded in time and in number, on this machine only."""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench import machine
from bench.postgres import cluster
from bench.servers import running_seneca
from bench.stage import MODULES, ask, sign_in
from bench.wrk import Failed

BUILD = Path("build")
CALM = 8  # seconds without an attack
RATE = 100  # statistics a second, sent at their time whether or not the last one was answered
PASSWORD = "securePassword123"


@dataclass(frozen=True)
class Attack:
    """What is thrown at the server, and for how long."""

    name: str
    kind: str
    number: int
    seconds: int


ATTACKS = [
    Attack("500 clients that send a header slowly", "headers", 500, 25),
    Attack("500 clients that send a body slowly", "bodies", 500, 40),
    Attack("500 clients that read 8 MiB slowly", "readers", 500, 40),
    Attack("10,000 idle connections", "idle", 10_000, 20),
    Attack("10,000 connections that say nothing", "silent", 10_000, 20),
    Attack("500 sign-ins a second", "sign-ins", 500, 25),
]


@dataclass(frozen=True)
class Seen:
    """What the statistics clients and the kernel saw: milliseconds, MiB."""

    p50: float
    p99: float
    worst: float
    failed: int
    memory: float


def main() -> None:
    """Run the attacks that were asked for, each against a new server; print a table."""
    options = arguments()
    BUILD.mkdir(exist_ok=True)
    print(
        f"{machine.describe(BUILD)}. {RATE} statistics a second beside each attack; {options.workers} worker(s), {options.engine}.\n"
    )
    print(
        "| attack | p50 ms before, during | p99 ms before, during | × | worst ms | failed | MiB before, most | answers |"
    )
    print("| --- | --: | --: | --: | --: | --: | --: | --- |", flush=True)
    for attack in ATTACKS:
        if not options.only or attack.kind in options.only:
            with tempfile.TemporaryDirectory(prefix="hostile-", dir=BUILD) as name:
                try:
                    print(row(attack, *run(attack, Path(name), options)), flush=True)
                except Failed as failure:
                    sys.exit(f"bench: {failure}")


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.hostile", description="Attack Seneca, and look how others fare."
    )
    parser.add_argument(
        "--only", choices=[attack.kind for attack in ATTACKS], action="append", help="(may be repeated)"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--engine", choices=["sqlite", "postgres"], default="sqlite")
    return parser.parse_args()


def run(attack: Attack, directory: Path, options: argparse.Namespace) -> tuple[Seen, Seen, dict[str, int]]:
    """Before and during one attack, and what the attackers were answered. Raises Failed."""
    with ExitStack() as stack:
        environment = {}
        if options.engine == "postgres":
            environment = stack.enter_context(cluster()).environment(directory)
        port = stack.enter_context(running_seneca(directory, options.workers, **environment))
        admin, learner, course = set_up(port, large=attack.kind == "readers")
        paths = [(f"/stats/courses/{course}", admin), (f"/stats/user/courses/{course}", learner)]
        server = server_of(port)
        asyncio.run(statistics(port, paths, 2, server))  # warm
        before = asyncio.run(statistics(port, paths, CALM, server))
        with attacking(attack, port, [learner]) as answers:
            during = asyncio.run(statistics(port, paths, attack.seconds, server))
    return before, during, answers


def row(attack: Attack, before: Seen, during: Seen, answers: dict[str, int]) -> str:
    """One line of the table."""
    answered = ", ".join(f"{status}: {number:,}" for status, number in sorted(answers.items()))
    return (
        f"| {attack.name} | {before.p50:.2f}, {during.p50:.2f} | {before.p99:.2f}, {during.p99:.2f} "
        f"| **{during.p99 / before.p99:.1f}** | {during.worst:.0f} | {during.failed} "
        f"| {before.memory:.0f}, {during.memory:.0f} | {answered} |"
    )


def set_up(port: int, *, large: bool) -> tuple[str, str, str]:
    """An administrator's token, a learner's, and a course that the learner studies; returns them and the course's id."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        for name, role in (("tara", "admin"), ("alice", "user")):
            body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD, "role": role}
            ask(client, "POST", "/auth/register", body)
        admin, learner = sign_in(client, "tara"), sign_in(client, "alice")
        topics = [{"topic": "Number", "modules": MODULES}]
        body = {"courseTitle": "Mathematics", "qualification": "GCSE", "topicsAndModules": topics}
        course = str(ask(client, "POST", "/course/create", body, admin)["newCourse"]["id"])
        start = {"courseIdentifier": course, "topic": "Number"}
        answers = ["x" * 1000] * (200 if large else 1)
        for _ in range(3):
            session = ask(client, "POST", "/session/startSession", start, learner)["sessionId"]
            for number in range(15 if large else 1):
                module = {"moduleName": f"Module {number}", "quiz": {"answers": answers, "score": 1}}
                ask(client, "PUT", "/session/updateSession", {"sessionId": session, "moduleStats": [module]}, learner)
    return admin, learner, course


@contextmanager
def attacking(attack: Attack, port: int, tokens: Sequence[str]) -> Iterator[dict[str, int]]:
    """Attack for the length of the block; what was answered is there afterwards."""
    answers: dict[str, int] = {}
    words = [attack.kind, str(port), str(attack.number), str(attack.seconds + 20)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.attackers", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(" ".join(tokens) + "\n")
    process.stdin.flush()
    try:
        yield answers
        said, _ = process.communicate(timeout=30)
        answers.update(json.loads(said.splitlines()[-1]))
    finally:
        process.kill()
        process.wait()


async def statistics(port: int, paths: Sequence[tuple[str, str]], seconds: float, server: int) -> Seen:
    """Ask for statistics at their time, on as many connections as it takes; the most memory while it does."""
    took: list[float] = []
    failed = 0
    memory = resident(server)
    free: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.LifoQueue()

    async def one(path: str, token: str, due: float) -> None:
        nonlocal failed
        question = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        try:
            reader, writer = None, None
            while reader is None or writer is None or reader.at_eof():  # closed in between: it was not needed for long
                reader, writer = await asyncio.open_connection("127.0.0.1", port) if free.empty() else free.get_nowait()
            writer.write(question)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
            if not head.startswith(b"HTTP/1.1 200"):
                failed += 1
            free.put_nowait((reader, writer))
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            failed += 1
        took.append((time.perf_counter() - due) * 1000)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for n in range(int(seconds * RATE)):
            due = began + n / RATE
            await asyncio.sleep(max(0, due - time.perf_counter()))
            group.create_task(one(*paths[n % len(paths)], max(due, time.perf_counter() - 0.001)))
            if n % 25 == 0:
                memory = max(memory, resident(server))
    while not free.empty():
        free.get_nowait()[1].close()
    took.sort()
    return Seen(took[len(took) // 2], took[int(len(took) * 0.99)], took[-1], failed, memory)


def server_of(port: int) -> int:
    """The process id of the server that this process started on a port. Raises Failed."""
    for pid in descendants(os.getpid()):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"serve" in words and str(port).encode() in words:
            return pid
    raise Failed("The server is gone.")


def descendants(pid: int) -> list[int]:
    """The process ids below one."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def resident(server: int) -> float:
    """MiB that a server and its workers hold in memory."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in [server, *descendants(server)])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
