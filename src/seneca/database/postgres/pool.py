"""Connection pools: a few threads, each with a connection of its own.

Each kind of work has a pool of its own, so that writes that wait for locks never keep reads waiting.
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

MAX_WAITING: Final = 4096  # requests of one pool


class ConnectionPool:
    """Threads that run work, each on its own connection, which is opened when it is first needed.

    Args:
        kind: what the pool is for; its threads are named after it.
        size: how many connections it has at most.
        connect: opens a connection.

    """

    def __init__(self, kind: str, size: int, connect: Callable[[], Connection]) -> None:
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=f"seneca-{kind}")
        self._connect = connect
        self._local = threading.local()
        self._open: set[Connection] = set()
        self._waiting = 0

    async def run(self, way: Callable[[Connection, Work[T]], T], work: Work[T]) -> T:
        """Run work on a connection of this pool, in this way.

        Raises:
            ServiceUnavailable: the database cannot be used, or too many requests wait for this pool.

        """
        if self._waiting >= MAX_WAITING:
            raise ServiceUnavailable("Too many requests are waiting. Try again.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._with_connection, way, work)
        finally:
            self._waiting -= 1

    def _with_connection(self, way: Callable[[Connection, Work[T]], T], work: Work[T]) -> T:
        """Run work on this thread's connection, or on a new one if that turns out to be gone."""
        try:
            connection, is_new = self._connection()
            try:
                return way(connection, work)
            except ConnectionLost:
                if is_new:
                    raise
            return way(self._connection()[0], work)
        except psycopg.Error as error:
            raise translate_error(error) from error

    def _connection(self) -> tuple[Connection, bool]:
        """This thread's connection, and whether it is new."""
        held: Connection | None = getattr(self._local, "connection", None)
        if held is not None and not held.closed:
            return held, False
        if held is not None:
            self._open.discard(held)
        self._local.connection = self._connect()
        self._open.add(self._local.connection)
        return self._local.connection, True

    def close(self) -> None:
        """Finish what is running and close every connection."""
        self._threads.shutdown()
        for connection in self._open:
            connection.close()
