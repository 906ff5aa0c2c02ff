"""Many sign-ins at the same moment, each on a connection of its own."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread

from tests.helpers.names import unique
from tests.helpers.server import Server

Credentials = tuple[str, str]
WRONG = "wrong-password"


def burst(server: Server, attempts: Sequence[Credentials], address: str = "127.0.0.1") -> list[int]:
    """Send every attempt (name, password) at once, when all are connected; returns their statuses."""
    return asyncio.run(_burst(server.port, attempts, address))


def statuses(server: Server, attempts: Sequence[Credentials], address: str = "127.0.0.1") -> dict[int, int]:
    """As ``burst``: how often there was each status."""
    return dict(Counter(burst(server, attempts, address)))


async def _burst(port: int, attempts: Sequence[Credentials], address: str) -> list[int]:
    everybody = asyncio.Event()
    connected = 0

    async def attempt(name: str, password: str) -> int:
        nonlocal connected
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        connected += 1
        if connected == len(attempts):
            everybody.set()
        await everybody.wait()
        body = json.dumps({"username": name, "password": password}).encode()
        head = f"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        line = await asyncio.wait_for(reader.readline(), 60)
        writer.close()
        return int(line.split()[1])

    return list(await asyncio.gather(*(attempt(*credentials) for credentials in attempts)))


@contextmanager
def flood(server: Server, connections: int) -> Iterator[None]:
    """Guess at invented names on this many connections, without pause, while the block runs."""
    is_over = Event()
    thread = Thread(target=lambda: asyncio.run(_flood(server.port, connections, is_over)))
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


async def _flood(port: int, connections: int, is_over: Event) -> None:
    async def guess() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not is_over.is_set():
            body = json.dumps({"username": unique("nobody"), "password": WRONG}).encode()
            head = f"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(answer.lower().partition(b"content-length:")[2].split()[0]))
        writer.close()

    await asyncio.gather(*(guess() for _ in range(connections)))
