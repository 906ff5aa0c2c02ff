"""Start and stop `seneca serve`."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.helpers import engines
from tests.helpers.engines import free_port

PASSWORD = "securePassword123"
USUAL = {
    "SENECA_MAX_LOGIN_FAILURES": "1000000",
    "SENECA_MAX_REGISTRATIONS": "1000000",
    "SENECA_WORKERS": "1",
    "SENECA_SESSION_TIMEOUT_HOURS": "0",
}
"""Settings of every server, unless a test sets others. All tests come from one address; old sessions stay open while they are read."""
PRIVATE = re.compile(
    rf"""{PASSWORD} | @example\. | -{os.getpid()}-\d             # a password, addresses, every name of ``unique``
    | \$argon2 | \$2[aby]\$ | eyJ[\w-]{{20}} | \b[\w-]{{107}}\b  # hashes, access tokens, refresh tokens
    | 127\.0\.0\.(?!1:\d+["\s/]|1",\ port|1\ cannot)              # network addresses, but for the server's and the database's""",
    re.VERBOSE,
)


def private(log: str) -> list[str]:
    """What stands in a log and must not, with what is around it. Every server of every test is asked when it stops."""
    return [log[max(0, found.start() - 100) : found.end() + 100] for found in PRIVATE.finditer(log)]


servers: dict[int, "Server"] = {}
"""The servers that were started, by port."""


@dataclass
class Server:
    """A running `seneca serve`, and the files behind it."""

    process: subprocess.Popen[bytes]
    data: Path
    port: int
    log: Path
    environment: dict[str, str]
    """The variables that were set for it."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rows(self, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        """What is stored, read past the server."""
        return engines.engine().rows(self.data, sql, **parameters)

    def log_lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        status = self.process.wait(timeout=40)
        assert private(self.log.read_text()) == []
        return status


def start_server(data: Path, *arguments: str, port: int | None = None, **environment: str) -> Server:
    """Start `seneca serve` on a data directory, with one worker unless told otherwise; returns when it answers."""
    server = launch_server(data, *arguments, port=port or free_port(), **environment)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{server.url}/health", timeout=1).status_code == 200:
                return server
        except httpx.TransportError:
            pass
        if server.process.poll() is not None:
            break
        time.sleep(0.02)
    server.process.kill()
    raise AssertionError(f"the server did not start:\n{server.log.read_text()}")


def launch_server(data: Path, *arguments: str, port: int, **environment: str) -> Server:
    """Start `seneca serve` on a data directory; returns at once."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / "serve.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "seneca", "serve", "--data", str(data), "--port", str(port), *arguments],
            stdout=output,
            stderr=output,
            env=os.environ | USUAL | engines.engine().environment(data) | environment,
        )
    servers[port] = Server(process, data, port, log, environment)
    return servers[port]


@contextmanager
def running(data: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    """A server for one test, stopped at the end."""
    server = start_server(data, *arguments, **environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()
