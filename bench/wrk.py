"""Drive a server with wrk, and refuse to call it a result unless every answer was good."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine import Watch

SCRIPT = Path(__file__).with_name("requests.lua")
NUMBER = "@@@"
"""In a body: a number of three digits, another one for each request."""


class Failed(Exception):
    """A measurement that is none."""


@dataclass(frozen=True)
class Request:
    """One prepared request; a number that is to vary is written ``NUMBER``. What can be done once is sent once."""

    method: str
    path: str
    token: str = ""
    body: object = None
    once: bool = False

    def line(self) -> str:
        """As ``requests.lua`` reads it."""
        body = "" if self.body is None else json.dumps(self.body, separators=(",", ":")).replace(f'"{NUMBER}"', NUMBER)
        return f"{self.method}\t{self.path}\t{self.token}\t{body}\n"


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw: requests a second; median and 99th percentile of latency in milliseconds.

    ``others`` is the share of the machine, 0 to 1, that other processes took at the same time.
    """

    rate: float
    p50: float
    p99: float
    others: float
    requests: int = 0


def drive(port: int, requests: Sequence[Request], *, connections: int, seconds: int) -> Load:
    """Send requests in turn, over and over (unless once), on this many connections for this many seconds.

    Raises:
        Failed: wrk is not there, or an answer was not 2xx or did not come.

    """
    with tempfile.NamedTemporaryFile("w", prefix="bench-", suffix=".requests") as file:
        file.writelines(request.line() for request in requests)
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout=10", f"--script={SCRIPT}"]
        watch = Watch()
        try:
            run = subprocess.run(
                [*command, f"http://127.0.0.1:{port}", "--", file.name, *(["once"] if requests[0].once else [])],
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise Failed("wrk is not installed. On Debian: apt-get install wrk") from None
        others = watch.others()
    lines = run.stdout.splitlines()
    if run.returncode != 0 or not lines or not lines[-1].startswith("{"):
        raise Failed(f"wrk failed:\n{run.stdout}{run.stderr}")
    seen = json.loads(lines[-1])
    if seen["refused"] or seen["broken"] or not seen["requests"]:
        raise Failed(
            f"{requests[0].method} {requests[0].path}: of {seen['requests']:,} requests, {seen['refused']:,} were "
            f"answered with a status over 399, {seen['broken']:,} not at all."
        )
    rate = seen["requests"] / (seen["microseconds"] / 1e6)
    return Load(rate, seen["p50"] / 1000, seen["p99"] / 1000, others, seen["requests"])
