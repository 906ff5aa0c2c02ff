"""A writer on a thread of this process: for commands, and for a server that runs in one process."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

from seneca.database import Transaction
from seneca.database.sqlite.transaction import SqliteTransaction
from seneca.database.sqlite.writer import MAX_QUEUED, PendingWrite, Writer
from seneca.errors import ServiceUnavailable

P = ParamSpec("P")
T = TypeVar("T")


class LocalWrite(PendingWrite):
    """A waiting write, and the future for its result."""

    __slots__ = ("future", "loop")

    def __init__(self, work: Callable[[Transaction], Any], *, is_bulk: bool) -> None:
        super().__init__(work, is_bulk=is_bulk)
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()


class LocalWriter:
    """The writer thread and its queue: a ``WriteSource``.

    Args:
        connect: opens a connection for the thread; called again when the old one has become unusable.

    """

    def __init__(self, connect: Callable[[], SqliteTransaction]) -> None:
        self._queue: SimpleQueue[LocalWrite | None] = SimpleQueue()
        self._lock = threading.Lock()  # so that no write is queued after the stop marker
        self._waiting = 0
        self._stopping = False
        self.has_ended = False
        self._thread = threading.Thread(target=Writer(connect, self).run, name="seneca-writer")
        self._thread.start()

    async def write(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        args: Sequence[Any],
        keywords: dict[str, Any],
        *,
        is_bulk: bool,
    ) -> Any:
        """Queue ``f(tx, …)``; returns its result once that is on disk.

        Raises:
            ServiceUnavailable: the queue is full, or the server is stopping.

        """
        write = LocalWrite(lambda tx: f(tx, *args, **keywords), is_bulk=is_bulk)
        with self._lock:
            if self._stopping or self._waiting > MAX_QUEUED:
                raise ServiceUnavailable("Too many writes are waiting. Retry later.")
            self._waiting += 1
            self._queue.put(write)
        return await write.future

    def stop(self) -> None:
        """Commit the queued writes, then end the thread."""
        with self._lock:
            self._stopping = True
            self._queue.put(None)
        self._thread.join()

    def receive(self, *, wait: bool) -> Iterator[PendingWrite]:
        """The queued writes; with ``wait``, waits for one."""
        with suppress(Empty):
            while (write := self._queue.get(block=wait)) is not None:
                yield write
                wait = False
            self.has_ended = True

    def resolve(self, writes: Sequence[LocalWrite]) -> None:
        """Deliver the results of writes."""
        with self._lock:
            self._waiting -= len(writes)
        resolve_futures(writes)


def resolve_futures(writes: Sequence[LocalWrite]) -> None:
    """Set the results of writes in their event loops, waking each loop once."""
    for loop in {write.loop for write in writes}:
        outcomes = [(write.future, write.result, write.error) for write in writes if write.loop is loop]
        with suppress(RuntimeError):  # the loop is closed, so nobody is waiting
            loop.call_soon_threadsafe(_resolve, outcomes)


def _resolve(outcomes: list[tuple["asyncio.Future[Any]", Any, Exception | None]]) -> None:
    for future, result, error in outcomes:
        if future.done():  # the client has disconnected
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
