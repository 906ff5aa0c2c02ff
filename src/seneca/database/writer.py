"""SQLite's one writer: a thread that commits all waiting requests with a single sync (group commit).

Each request has a savepoint of its own, so that one that is refused takes nothing of the others
with it. Nobody is answered before COMMIT has returned.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from seneca.database import Transaction
from seneca.database.sqlite import PATIENCE, SqliteTransaction, fault
from seneca.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

MOST_WAITING = 4096
MOST_TOGETHER = 128


class Request:
    """A write that waits: what to run, and where its outcome goes."""

    __slots__ = ("arrived", "error", "future", "loop", "result", "work")

    def __init__(self, work: Callable[[Transaction], Any]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.arrived = time.monotonic()
        self.result: Any = None
        self.error: BaseException | None = None


class TransactionLost(Exception):
    """SQLite rolled the whole transaction back by itself (disk full, interrupt)."""


class Writer:
    """The thread, and the queue before it."""

    def __init__(self, tx: SqliteTransaction) -> None:
        self._tx = tx
        self._execute = tx.connection.execute
        self._queue: SimpleQueue[Request | None] = SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="seneca-writer")
        self._thread.start()

    def submit(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> "asyncio.Future[T]":
        """Queue ``f(tx, …)``; the future has its result once that is on disk.

        Raises:
            Unavailable: too many writes wait, or the server is stopping.

        """
        if self._stopping or self._queue.qsize() >= MOST_WAITING:
            raise Unavailable("Too many writes are waiting. Try again.")
        request = Request(lambda tx: f(tx, *args, **kwargs))
        self._queue.put(request)
        return request.future

    def stop(self) -> None:
        """Commit what waits, then end the thread."""
        self._stopping = True
        self._queue.put(None)
        self._thread.join()
        self._tx.connection.close()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            self._commit(self._gather([first]))

    def _gather(self, batch: list[Request]) -> list[Request]:
        """Add those that wait by now."""
        while len(batch) < MOST_TOGETHER:
            try:
                request = self._queue.get_nowait()
            except Empty:
                break
            if request is None:
                self._queue.put(None)  # stop, but only after this batch
                break
            batch.append(request)
        return batch

    def _commit(self, batch: list[Request]) -> None:
        """Run a batch in one transaction; if that is lost on the way, each request in one of its own."""
        batch = self._begin(batch)
        try:
            for request in batch:
                self._attempt(request)
            if batch:
                self._execute("COMMIT")
        except (apsw.Error, TransactionLost) as error:
            if self._tx.connection.in_transaction:
                self._execute("ROLLBACK")
            if len(batch) > 1:
                for request in batch:
                    self._commit([request])
                return
            if isinstance(error, apsw.Error):
                batch[0].error = fault(error)
        deliver(batch)

    def _begin(self, batch: list[Request]) -> list[Request]:
        """Take the write lock. On the way others join, and who has waited too long is refused."""
        while batch:
            try:
                self._execute("BEGIN IMMEDIATE")
            except apsw.Error as error:
                oldest = time.monotonic() - PATIENCE
                refused = [r for r in batch if r.arrived <= oldest or not isinstance(error, apsw.BusyError)]
                for request in refused:
                    request.error = fault(error)
                deliver(refused)
                batch = self._gather([r for r in batch if r.error is None])
            else:
                break
        return batch

    def _attempt(self, request: Request) -> None:
        """Run one request inside a savepoint.

        Raises:
            TransactionLost: SQLite has undone the whole transaction, the other requests' part too.

        """
        self._execute("SAVEPOINT request")
        request.result = request.error = None
        try:
            request.result = request.work(self._tx)
        except Exception as error:  # noqa: BLE001: whatever the outcome is, it belongs to the request
            request.error = fault(error) if isinstance(error, apsw.Error) else error
            if not self._tx.connection.in_transaction:
                raise TransactionLost from error
            self._execute("ROLLBACK TO request")
        self._execute("RELEASE request")


def deliver(requests: list[Request]) -> None:
    """Hand outcomes to the event loop that waits for them, waking it once."""
    if requests and not (loop := requests[0].loop).is_closed():
        loop.call_soon_threadsafe(_resolve, requests)


def _resolve(requests: list[Request]) -> None:
    for request in requests:
        if request.future.done():  # the client has gone
            continue
        if request.error is not None:
            request.future.set_exception(request.error)
        else:
            request.future.set_result(request.result)
