"""Connection pools: a few threads, each with its own connection.

Each kind of work has a separate pool, so that writes that wait for locks never delay reads.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import psycopg

from seneca.database.postgres.runner import ConnectionLost, Work
from seneca.database.postgres.transaction import Connection, translate_error
from seneca.errors import ServiceUnavailable

T = TypeVar("T")

MAX_QUEUED: Final = 4096  # calls per pool


class ConnectionPool:
    """Threads that run work, each on its own connection, which is opened on first use.

    Args:
        kind: the purpose of the pool; names its threads.
        size: the maximum number of connections.
        connect: opens a connection.

    """

    def __init__(self, kind: str, size: int, connect: Callable[[], Connection]) -> None:
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=f"seneca-{kind}")
        self._connect = connect
        self._local = threading.local()
        self._open: set[Connection] = set()
        self._queued = 0

    async def run(self, runner: Callable[[Connection, Work[T]], T], work: Work[T]) -> T:
        """Run work on a connection of this pool.

        Args:
            runner: a method of ``Runner``, which runs the work on a connection.
            work: the function to run.

        Raises:
            ServiceUnavailable: the database cannot be used, or the pool's queue is full.

        """
        if self._queued >= MAX_QUEUED:
            raise ServiceUnavailable("Too many requests are waiting. Retry later.")
        self._queued += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._with_connection, runner, work)
        finally:
            self._queued -= 1

    def _with_connection(self, runner: Callable[[Connection, Work[T]], T], work: Work[T]) -> T:
        """Run work on this thread's connection, or on a new one if that was lost."""
        try:
            connection, is_new = self._connection()
            try:
                return runner(connection, work)
            except ConnectionLost:
                if is_new:
                    raise
            return runner(self._connection()[0], work)
        except psycopg.Error as error:
            raise translate_error(error) from error

    def _connection(self) -> tuple[Connection, bool]:
        """This thread's connection, and whether it is new."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None and not connection.closed:
            return connection, False
        if connection is not None:
            self._open.discard(connection)
        self._local.connection = self._connect()
        self._open.add(self._local.connection)
        return self._local.connection, True

    def close(self) -> None:
        """Finish running work and close every connection."""
        self._threads.shutdown()
        for connection in self._open:
            connection.close()
