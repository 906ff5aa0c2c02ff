"""Start and stop `seneca serve`."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from tests.helpers import engines, names
from tests.helpers.engines import free_port
from tests.helpers.fork_server import Fork, fork_server

PASSWORD = "securePassword123"
USUAL = {
    "SENECA_MAX_LOGIN_FAILURES": "1000000",
    "SENECA_MAX_REGISTRATIONS": "1000000",
    "SENECA_WORKERS": "1",
    "SENECA_SESSION_TIMEOUT_HOURS": "0",
}
"""Settings of every server, unless a test sets others. All tests come from one address; old sessions stay open while they are read."""
PRIVATE = re.compile(
    rf"""{PASSWORD} | @example\. | -{names.PREFIX}\d             # a password, addresses, every name of ``unique``
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

    process: subprocess.Popen[bytes] | Fork
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
    """Start `seneca serve` on a data directory, with one worker unless told otherwise; returns when it answers.

    It is forked from a process that has loaded Seneca already.
    """
    server = launch_server(data, *arguments, port=port or free_port(), forked=True, **environment)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.process.poll() is None:
        if is_healthy(server):
            return server
        time.sleep(0.01)
    server.process.kill()
    raise AssertionError(f"the server did not start:\n{server.log.read_text()}")


def is_healthy(server: Server) -> bool:
    """Ask with the standard library, which takes a tenth of the processor time of a new client of httpx."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=1)
    with closing(connection):
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False


def launch_server(data: Path, *arguments: str, port: int, forked: bool = False, **environment: str) -> Server:
    """Start `seneca serve` on a data directory; returns at once. It is the command itself, unless it is to be forked."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / "serve.log"
    command = ["serve", "--data", str(data), "--port", str(port), *arguments]
    variables = os.environ | USUAL | engines.engine().environment(data) | environment
    process: subprocess.Popen[bytes] | Fork
    if forked:
        process = fork_server(environment.get("PYTHONPATH")).start(command, variables, log, log)
    else:
        with log.open("ab") as output:
            command = [sys.executable, "-m", "seneca", *command]
            process = subprocess.Popen(command, stdout=output, stderr=output, env=variables)
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
