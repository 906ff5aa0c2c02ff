"""Attacks on sign-in, and how others fare: ``python -m bench.logins``. Bounded in time and in number, on this machine only.

``--python PATH`` measures another installation of Seneca, so that two can be compared side by side.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx

from bench.postgres import cluster
from bench.servers import free_port, running

RIGHT, WRONG = "securePassword123", "wrong-password-1"
LEARNERS = 40
SETTINGS = {"SENECA_TRUSTED_PROXIES": "127.0.0.1", "SENECA_MAX_REGISTRATIONS": "1000000"}
RATE_SECONDS = 6
FLOOD_SECONDS = 8
FLOOD = 300
Attempt = tuple[str, str, str]
"""Name, password, address."""


async def attempt(port: int, name: str, password: str, address: str) -> tuple[int, float]:
    """Try a password; returns the status and the milliseconds it took."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"username": name, "password": password}).encode()
    head = (
        f"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Forwarded-For: {address}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    line = await reader.readline()
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return int(line.split()[1]), (time.perf_counter() - began) * 1000


async def burst(port: int, attempts: Sequence[Attempt]) -> str:
    """Many at once; how often there was each status, and how long it took."""
    began = time.perf_counter()
    answers = await asyncio.gather(*(attempt(port, *one) for one in attempts))
    counts = Counter(status for status, _ in answers)
    return f"{dict(sorted(counts.items()))} in {time.perf_counter() - began:.1f} s"


async def sign_ins_a_second(port: int, names: Sequence[str]) -> float:
    """How many sign-ins succeed with four clients, each learner at an address of their own."""
    counts: Counter[int] = Counter()
    stop = time.perf_counter() + RATE_SECONDS

    async def sign_in(client: int) -> None:
        number = client
        while time.perf_counter() < stop:
            number = (number + 4) % len(names)
            status, _ = await attempt(port, names[number], RIGHT, f"10.1.0.{number}")
            counts[status] += 1

    await asyncio.gather(*(sign_in(client) for client in range(4)))
    assert counts.keys() == {200}, counts
    return counts[200] / RATE_SECONDS


async def flood(port: int, flooding: str, names: Sequence[str]) -> str:
    """One learner keeps 300 sign-ins in flight with the right password; how another fares, elsewhere."""
    counts: Counter[int] = Counter()
    stop = time.perf_counter() + FLOOD_SECONDS

    async def sign_in() -> None:
        while time.perf_counter() < stop:
            status, _ = await attempt(port, flooding, RIGHT, "10.9.0.1")
            counts[status] += 1

    flooders = [asyncio.create_task(sign_in()) for _ in range(FLOOD)]
    await asyncio.sleep(1)
    seen = []
    for number, name in enumerate(names):
        if time.perf_counter() > stop - 1:
            break
        seen.append(await attempt(port, name, RIGHT, f"10.2.0.{number}"))
        await asyncio.sleep(0.2)
    await asyncio.gather(*flooders)
    took = [milliseconds for status, milliseconds in seen if status == 200]
    median = f"{statistics.median(took):.0f} ms" if took else "never"
    return (
        f"others: {dict(Counter(status for status, _ in seen))}, median of those let in {median}, "
        f"worst {max(milliseconds for _, milliseconds in seen):.0f} ms; the flood: {dict(sorted(counts.items()))}"
    )


def register(url: str, stem: str) -> list[str]:
    """Learners, who register at this machine."""
    with httpx.Client(base_url=url, timeout=60) as client:
        names = [f"{stem}-{number}" for number in range(LEARNERS)]
        for name in names:
            body = {"username": name, "email": f"{name}@example.org", "password": RIGHT}
            client.post("/auth/register", json=body).raise_for_status()
    return names


async def attack(port: int, names: Sequence[str]) -> None:
    """Run everything, and print."""
    print(f"sign-ins a second: {await sign_ins_a_second(port, names):.1f}", flush=True)
    print(f"150 guesses at one name, at once: {await burst(port, 150 * [('nobody', WRONG, '10.3.0.1')])}", flush=True)
    guesses = 150 * [(names[0], WRONG, "10.3.0.2")]
    print(f"150 guesses at one account, at once: {await burst(port, guesses)}", flush=True)
    spray = [(f"nobody-{number}", WRONG, "10.3.0.3") for number in range(200)]
    print(f"one guess at each of 200 names, at once: {await burst(port, spray)}", flush=True)
    first = [(name, RIGHT, "10.3.0.3") for name in names[1:6]]
    counts = Counter([(await attempt(port, *one))[0] for one in first])
    print(
        f"five learners, new at that address, with the right password, one after the other: {dict(counts)}", flush=True
    )
    print(f"{FLOOD} sign-ins of one account in flight: {await flood(port, names[10], names[11:])}", flush=True)


def main() -> None:
    """Start a server, and attack it."""
    parser = argparse.ArgumentParser(prog="python -m bench.logins", description="Attack sign-in.")
    parser.add_argument("--python", default=sys.executable, help="the Python of the installation that is measured")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--engine", choices=["sqlite", "postgres"], default="sqlite")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="logins-") as name, ExitStack() as stack:
        data, port = Path(name) / "data", free_port()
        variables = dict(SETTINGS)
        if arguments.engine == "postgres":
            variables |= stack.enter_context(cluster()).environment(data)
        command = [arguments.python, "-m", "seneca", "serve", "--data", data, "--port", port]
        command += ["--workers", arguments.workers]
        stack.enter_context(running(command, port, "/health", Path(name) / "log", **variables))
        asyncio.run(attack(port, register(f"http://127.0.0.1:{port}", "learner")))


if __name__ == "__main__":
    main()
