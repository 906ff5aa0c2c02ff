"""Clients that mean no good, in a process of their own, until told to stop (standard input is closed) or time is up.

``python -m bench.attackers KIND PORT NUMBER SECONDS``; each line of standard input is sent as a bearer token.
"""

import asyncio
import itertools
import json
import resource
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

LOGIN = "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
NEARLY = 250_000  # bytes of a body that never ends, below what is refused at once
seen: Counter[str] = Counter()
Client = Callable[[int, str], Awaitable[None]]


async def slow_header(port: int, _: str) -> None:
    """Send a header field every second, for as long as the server puts up with it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n")
    closed = asyncio.create_task(reader.read())
    try:
        while not closed.done():
            writer.write(b"X-A: %s\r\n" % (b"b" * 1000))
            await asyncio.wait([closed], timeout=1)
    finally:
        closed.cancel()
        writer.close()


async def slow_body(port: int, _: str) -> None:
    """Send most of a body, then a byte every second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(LOGIN.format(NEARLY + 1000).encode() + b" " * NEARLY)
    closed = asyncio.create_task(reader.read())
    try:
        while not closed.done():
            writer.write(b" ")
            await asyncio.wait([closed], timeout=1)
        seen[closed.result()[9:12].decode() or "closed"] += 1
        await asyncio.sleep(1)
    finally:
        closed.cancel()
        writer.close()


async def slow_reader(port: int, token: str) -> None:
    """Ask for a list of 8 MiB and read 100 bytes of it every second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    ask = f"GET /stats/user/sessions?limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    writer.write(ask.encode())
    try:
        first = True
        while data := await reader.read(100):
            if first:
                seen[data[9:12].decode()] += 1
                first = False
                if not data.startswith(b"HTTP/1.1 200"):
                    await asyncio.sleep(1)
                    return
            await asyncio.sleep(1)
        seen["closed"] += 1
    finally:
        writer.close()


async def idle(port: int, _: str) -> None:
    """Ask once, and stay."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        while data := await reader.read(4096):
            seen[data[9:12].decode()] += 1
        seen["closed"] += 1
    finally:
        writer.close()


async def silent(port: int, _: str) -> None:
    """Connect, and say nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await reader.read()
        seen["closed"] += 1
    finally:
        writer.close()


async def sign_ins(port: int, number: int) -> None:
    """Send this many sign-ins a second, each a name and a password that nobody has, whether they are answered or not."""
    names = itertools.count()
    free: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.LifoQueue()

    async def one() -> None:
        body = json.dumps({"username": f"nobody-{next(names)}", "password": "not this one"})
        question = (LOGIN.format(len(body)) + body).encode()
        with suppress(OSError, asyncio.IncompleteReadError):
            try:
                reader, writer = free.get_nowait()
                if reader.at_eof():
                    raise asyncio.QueueEmpty  # noqa: TRY301 closed in between
            except asyncio.QueueEmpty:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(question)
            head = await reader.readuntil(b"\r\n\r\n")
            seen[head[9:12].decode()] += 1
            length = int(head.lower().partition(b"content-length:")[2].split(maxsplit=1)[0])
            await reader.readexactly(length)
            free.put_nowait((reader, writer))

    tasks = set()
    began = asyncio.get_running_loop().time()
    for n in itertools.count():
        await asyncio.sleep(max(0, began + n / number - asyncio.get_running_loop().time()))
        tasks.add(task := asyncio.create_task(one()))
        task.add_done_callback(tasks.discard)
        seen["sent"] += 1


async def again(client: Client, port: int, token: str) -> None:
    """Be that client; once the server has closed, be it again."""
    while True:
        with suppress(OSError):
            await client(port, token)
        await asyncio.sleep(0.2)


async def main(kind: str, port: int, number: int, seconds: int) -> None:
    """Attack, and print what was answered."""
    loop = asyncio.get_running_loop()
    tokens = (await loop.run_in_executor(None, sys.stdin.readline)).split()
    if kind == "sign-ins":
        tasks = [asyncio.create_task(sign_ins(port, number))]
    else:
        client = {"headers": slow_header, "bodies": slow_body, "readers": slow_reader, "idle": idle, "silent": silent}
        tasks = []
        for n in range(number):
            token = tokens[n % len(tokens)] if tokens else ""
            tasks.append(asyncio.create_task(again(client[kind], port, token)))
            if n % (number // 100) == 0:
                await asyncio.sleep(0.05)  # 5 seconds in all: it is the crowd that counts, not the rush
    end = loop.run_in_executor(None, sys.stdin.read)
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(end), seconds)
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    task = main(sys.argv[1], *map(int, sys.argv[2:5]))
    asyncio.run(task)
