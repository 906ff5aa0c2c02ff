"""The processes that are measured: started on a free port, their log in a file, stopped at the end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw

from bench.wrk import Failed

PATIENCE = 30  # seconds for a server to answer, and to stop


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**variables: str) -> dict[str, str]:
    """Ours, without what would change Seneca's settings, and with these."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SENECA_")} | variables


@contextmanager
def running(command: Sequence[str | Path], port: int, path: str, log: Path, **variables: str) -> Iterator[float]:
    """Run a server for the length of the block; gives the seconds from its start to its first answer.

    Raises:
        Failed: it did not answer 200 on this path; its log is shown.

    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command], stdout=output, stderr=output, env=environment(**variables)
        )
    try:
        yield _first_answer(process, port, path, log) - began
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _first_answer(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> float:
    """Ask until it answers 200; returns when that was, by ``time.perf_counter()``."""
    question = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(question)
                if connection.recv(4096).startswith(b"HTTP/1.1 200"):
                    return time.perf_counter()
        except OSError:
            pass
        time.sleep(0.002)
    raise Failed(f"The server did not start:\n{log.read_text()[-2000:]}")


def seneca(*words: str | Path) -> list[str | Path]:
    """A seneca command."""
    return [sys.executable, "-m", "seneca", *words]


@contextmanager
def running_seneca(data: Path, workers: int = 1, **variables: str) -> Iterator[int]:
    """`seneca serve` on this data directory, with its log in a file as in production; gives its port."""
    port = free_port()
    command = seneca("serve", "--data", data, "--port", str(port), "--workers", str(workers))
    with running(command, port, "/health", data / "serve.log", **variables):
        yield port


@contextmanager
def running_floor(directory: Path, workers: int, filled: Path) -> Iterator[int]:
    """The bare Litestar of ``bench.floor``, with a copy of this filled database; gives its port."""
    copied = directory / f"floor-{workers}.db"
    with contextlib.closing(apsw.Connection(str(filled), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        connection.execute("VACUUM INTO ?", (str(copied),))
    with contextlib.closing(apsw.Connection(str(copied))) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    port = free_port()
    command = [sys.executable, "-m", "bench.floor"]
    variables = {"FLOOR_PORT": str(port), "FLOOR_WORKERS": str(workers), "FLOOR_DATABASE": str(copied)}
    with running(command, port, "/health", directory / "floor.log", **variables):
        yield port
