"""Many sign-ins at the same moment, each on a connection of its own."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence

from tests.conftest import Server

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
