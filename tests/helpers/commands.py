"""Run commands of the command line."""

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from seneca import cli
from tests.helpers import engines
from tests.helpers.fork_server import fork_server

Done = subprocess.CompletedProcess[str]


def seneca(
    *arguments: str | Path, input: str = "", env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Done:
    """Run a command to its end in this process, or ``serve`` in a fork: that saves the half second that Python takes to start.

    Args:
        arguments: the command, its arguments and options.
        input: its standard input, which is no terminal.
        env: its environment; None: this process's.
        cwd: its working directory; None: this process's.

    """
    if arguments[:1] == ("serve",):
        assert input == ""
        return _in_fork(*arguments, env=env, cwd=cwd)
    assert threading.current_thread() is threading.main_thread(), "standard output belongs to the process"
    command = ["seneca", *map(str, arguments)]
    output, errors = _text_file(), _text_file()
    with _restored() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(input.encode()))))
        patch.setattr(sys, "argv", command)
        patch.chdir(cwd or Path.cwd())
        for name in os.environ.keys() - environment(arguments, env).keys():
            patch.delenv(name)
        for name, value in environment(arguments, env).items():
            patch.setenv(name, value)
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(command, status, _text_of(output), _text_of(errors))


def seneca_process(*arguments: str | Path, env: Mapping[str, str] | None = None, **options: Any) -> Done:
    """Run a command to its end in a process of its own: for terminals, limits, signals and threads."""
    return subprocess.run(
        [sys.executable, "-m", "seneca", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment(arguments, env),
        **options,
    )


def _in_fork(*arguments: str | Path, env: Mapping[str, str] | None, cwd: Path | None) -> Done:
    command = [str(argument) for argument in arguments]
    with TemporaryDirectory() as directory:
        output, errors = Path(directory) / "output", Path(directory) / "errors"
        process = fork_server().start(command, environment(arguments, env), output, errors, cwd)
        try:
            status = process.wait(timeout=120)
        finally:
            process.kill()
        return subprocess.CompletedProcess(command, status, output.read_text(), errors.read_text())


def environment(arguments: tuple[str | Path, ...], env: Mapping[str, str] | None) -> dict[str, str]:
    """The environment of a command, with the database of its data directory."""
    environment = dict(os.environ if env is None else env)
    if "--data" in arguments:
        data = Path(arguments[arguments.index("--data") + 1])
        return engines.engine().environment(data) | environment
    return environment


def _text_file() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), write_through=True)


def _text_of(file: io.TextIOWrapper) -> str:
    buffer = file.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


@contextmanager
def _restored() -> Iterator[pytest.MonkeyPatch]:
    """Undo what is patched, and what a command itself changes of its process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    umask = os.umask(0o022)
    os.umask(umask)
    try:
        with pytest.MonkeyPatch.context() as patch:
            yield patch
    finally:
        os.umask(umask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
