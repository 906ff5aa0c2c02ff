"""The process that writes for all workers, on an engine with a single writer: it is started, and replaced if it dies.

Its socket belongs to the main process. While there is no writer, workers connect and send; the next writer reads what they sent.
"""

import gc
import multiprocessing
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import structlog

import seneca.app  # noqa: F401 - it loads every function that workers call
from seneca import logs
from seneca.database import open_database
from seneca.errors import CommandError, ServiceUnavailable, reason
from seneca.settings import WRITER, Settings

RETRY_SECONDS: Final = 0.5  # after a writer that ended sooner than this
STOP_SECONDS: Final = 30.0  # until a writer that does not end is killed
BACKLOG: Final = 128

log = structlog.get_logger()


@contextmanager
def shared_writer(settings: Settings) -> Iterator[None]:
    """Run a writer during the block; workers that start in the block find its socket in the environment.

    Raises:
        CommandError: the socket cannot be created in the directory for temporary files.

    """
    with ExitStack() as stack:
        try:
            directory = Path(mkdtemp(prefix="seneca-"))  # only this user may enter it
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(directory / "writer"))
        except OSError as error:
            text = f"The writer's socket cannot be created among the temporary files: {reason(error)}."
            raise CommandError(
                f"{text} Set TMPDIR to another directory, with a path of at most 80 characters."
            ) from error
        listener.listen(BACKLOG)
        os.environ[WRITER] = str(directory / "writer")
        supervisor = Supervisor(settings, listener)
        stack.callback(supervisor.stop)
        yield


class Supervisor:
    """Starts the writer, and another one whenever it has ended, until ``stop``.

    Args:
        settings: the settings.
        listener: the socket to which workers connect.

    """

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._theirs, self._ours = multiprocessing.Pipe(duplex=False)  # closed at the end: the writer then ends, too
        self._stopping = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._run, name="seneca-writer-supervisor", daemon=True)
        self._thread.start()

    def _start(self) -> multiprocessing.Process:
        arguments = (self._settings, self._listener, self._theirs, self._ours)
        process = multiprocessing.Process(target=run_writer, args=arguments, name="seneca-writer")
        process.start()
        log.info("writer started", pid=process.pid)
        return process

    def _run(self) -> None:
        while True:
            started = time.monotonic()
            self._process.join()
            if self._stopping.is_set():
                return
            log.error("writer process died, starting another", status=self._process.exitcode)
            if time.monotonic() - started < RETRY_SECONDS and self._stopping.wait(RETRY_SECONDS):
                return
            try:
                self._process = self._start()
            except OSError as error:  # no memory or no process left
                log.error("writer not started, retrying", reason=error.strerror)  # noqa: TRY400 the reason is enough

    def stop(self) -> None:
        """End the writer, once it has written what workers sent. Called when all workers have ended."""
        self._stopping.set()
        self._ours.close()
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            log.error("writer process does not end, killing it")
            self._process.kill()


def run_writer(settings: Settings, listener: socket.socket, parent: Connection, parents_end: Connection) -> None:
    """Write for all workers, in the writer's process, until the main process and all workers have ended.

    It exits with status 1 if the database cannot be used.
    """
    parents_end.close()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # workers may still write when these come to all
        signal.signal(number, signal.SIG_IGN)
    logs.configure(settings.log_format)
    gc.freeze()
    try:
        database = open_database(settings.database)
        assert database.shared_writer is not None
        database.shared_writer.run(listener, parent)
        database.close()
        shutil.rmtree(Path(listener.getsockname()).parent, ignore_errors=True)  # in case the main process was killed
    except (CommandError, ServiceUnavailable) as error:
        log.error("writer cannot start", reason=error.detail)  # noqa: TRY400 the reason is enough
        raise SystemExit(1) from None
