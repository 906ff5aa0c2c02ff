"""Fork servers from a process that has loaded Seneca, as Python's ``multiprocessing`` does with its fork server.

Loading takes most of the processor time of a start. What runs is `seneca serve` all the same: a process of its own, with its own
arguments, environment and log, that ends as any other.
"""

import gc
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

LOADED = ("seneca.cli", "seneca.server.processes", "seneca.app", "granian.asgi", "uvloop", "psycopg")
LIMITS = (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)


class Fork:
    """A process that was forked, with the methods of ``subprocess.Popen`` that tests use."""

    def __init__(self, parent: "ForkServer", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._parent = parent

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._parent.ask(status=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.poll() is None:
            end = os.pidfd_open(self.pid)  # only the parent can forget the process, when it is asked for the status
            try:
                if not select.select([end], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            finally:
                os.close(end)
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that forks; ``variables`` are those that Python reads before anything is loaded."""

    def __init__(self, **variables: str) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | variables,
        )

    def ask(self, **request: Any) -> Any:
        """Send a request; returns the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def start(
        self, arguments: list[str], environment: dict[str, str], output: Path, errors: Path, cwd: Path | None = None
    ) -> Fork:
        """Start a command, which appends to the files ``output`` and ``errors``, with the limits of this process."""
        members = {
            "output": str(output),
            "errors": str(errors),
            "cwd": str(cwd or Path.cwd()),
            "limits": {number: resource.getrlimit(number) for number in LIMITS},
        }
        return Fork(self, self.ask(arguments=arguments, environment=environment, **members))


@cache
def fork_server(python_path: str | None = None) -> ForkServer:
    """A fork server of this test process, which ends when its standard input does.

    Args:
        python_path: where Python looks for modules first, such as a ``sitecustomize`` that moves the clock.

    """
    return ForkServer() if python_path is None else ForkServer(PYTHONPATH=python_path)


# -- in the process that forks -----------------------------------------------------------------


def fork_on_request() -> None:
    """Load Seneca, and answer requests until standard input ends."""
    for module in LOADED:
        import_module(module)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a fork would lose the other threads"
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        if "status" in request:
            pid, status = os.waitpid(request["status"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                answers.close()
                run(**request)
        print(json.dumps(answer), file=answers, flush=True)


def run(
    *,
    arguments: list[str],
    environment: dict[str, str],
    output: str,
    errors: str,
    cwd: str,
    limits: dict[str, tuple[int, int]],
) -> None:
    """Run a command to its end, as ``python -m seneca`` does."""
    from seneca import cli

    for number, file, mode in ((0, os.devnull, "rb"), (1, output, "ab"), (2, errors, "ab")):
        with Path(file).open(mode) as opened:
            os.dup2(opened.fileno(), number)
    for name, limit in limits.items():
        resource.setrlimit(int(name), limit)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["seneca", *arguments]
    cli.main()
    sys.exit()


if __name__ == "__main__":
    fork_on_request()
