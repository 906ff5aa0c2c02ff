"""SQLite's one writer: a thread that commits all waiting requests with a single sync (group commit).

Each request has a savepoint of its own, so that one that is refused takes nothing of the others
with it. Nobody is answered before COMMIT has returned. The thread outlives every fault: of a request,
of the disk, and of its own connection, which it then replaces.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from seneca.database import Transaction
from seneca.database.sqlite.transaction import PATIENCE, SqliteTransaction, fault
from seneca.errors import ServiceUnavailable

P = ParamSpec("P")
T = TypeVar("T")

MOST_WAITING = 4096
MOST_TOGETHER = 128


class PendingWrite:
    """A write that waits: what to run, and where its outcome goes."""

    __slots__ = ("arrived", "error", "future", "loop", "result", "work")

    def __init__(self, work: Callable[[Transaction], Any]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.arrived = time.monotonic()
        self.result: Any = None
        self.error: Exception | None = None


class TransactionLost(Exception):
    """SQLite rolled the whole transaction back by itself (disk full, interrupt)."""


class Writer:
    """The thread, and the queue before it.

    Args:
        connect: makes a connection for the thread; called again when one has become unusable.

    """

    def __init__(self, connect: Callable[[], SqliteTransaction]) -> None:
        self._connect = connect
        self._tx: SqliteTransaction | None = None
        self._queue: SimpleQueue[PendingWrite | None] = SimpleQueue()
        self._gate = threading.Lock()  # nothing is queued behind the word to stop
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
            ServiceUnavailable: too many writes wait, or the server is stopping.

        """
        request = PendingWrite(lambda tx: f(tx, *args, **kwargs))
        with self._gate:
            if self._stopping or self._queue.qsize() >= MOST_WAITING:
                raise ServiceUnavailable("Too many writes are waiting. Try again.")
            self._queue.put(request)
        return request.future

    def stop(self) -> None:
        """Commit what waits, then end the thread."""
        with self._gate:
            self._stopping = True
            self._queue.put(None)
        self._thread.join()
        if self._tx is not None:
            self._tx.connection.close()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            self._commit(self._gather([first]))

    def _gather(self, batch: list[PendingWrite]) -> list[PendingWrite]:
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

    def _commit(self, batch: list[PendingWrite]) -> None:
        """Run a batch in one transaction; if that is lost on the way, each request in one of its own."""
        try:
            batch = self._begin(batch)
            tx = self._connected()
            for request in batch:
                attempt(tx, request)
            if batch:
                tx.connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - no fault may end the only writer
            self._undo()
            if len(batch) > 1:
                for request in batch:
                    self._commit([request])
                return
            for request in batch:
                request.error = request.error or meaning(error)
        deliver(batch)

    def _begin(self, batch: list[PendingWrite]) -> list[PendingWrite]:
        """Take the write lock. On the way others join, and who has waited too long is refused."""
        while batch:
            try:
                self._connected().connection.execute("BEGIN IMMEDIATE")
            except (apsw.Error, ServiceUnavailable) as error:
                oldest = time.monotonic() - PATIENCE
                is_busy = isinstance(error, apsw.BusyError)
                for request in batch:
                    request.error = None if is_busy and request.arrived > oldest else meaning(error)
                deliver([r for r in batch if r.error is not None])
                if not is_busy:
                    self._undo()
                batch = self._gather([r for r in batch if r.error is None])
            else:
                break
        return batch

    def _connected(self) -> SqliteTransaction:
        if self._tx is None:
            self._tx = self._connect()
        return self._tx

    def _undo(self) -> None:
        """Undo what the transaction holds; a connection that cannot even do that is given up."""
        if self._tx is None:
            return
        connection = self._tx.connection
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            connection.close(force=True)
            self._tx = None


def attempt(tx: SqliteTransaction, request: PendingWrite) -> None:
    """Run one request inside a savepoint.

    Raises:
        TransactionLost: SQLite has undone the whole transaction, the other requests' part too.

    """
    tx.connection.execute("SAVEPOINT request")
    request.result = request.error = None
    try:
        request.result = request.work(tx)
    except BaseException as error:  # whatever the outcome is, it belongs to the request
        request.error = meaning(error)
        if not tx.connection.in_transaction:
            raise TransactionLost from error
        tx.connection.execute("ROLLBACK TO request")
    tx.connection.execute("RELEASE request")


def meaning(error: BaseException) -> Exception:
    """What a request answers that ended in this error."""
    if isinstance(error, apsw.Error):
        return fault(error)
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"A write raised {type(error).__name__}, which no future can carry: {error}")


def deliver(requests: list[PendingWrite]) -> None:
    """Hand outcomes to the event loops that wait for them, waking each once."""
    for loop in {request.loop for request in requests}:
        outcomes = [(r.future, r.result, r.error) for r in requests if r.loop is loop]
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, outcomes)


def _resolve(outcomes: list[tuple["asyncio.Future[Any]", Any, Exception | None]]) -> None:
    for future, result, error in outcomes:
        if future.done():  # the client has gone
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
