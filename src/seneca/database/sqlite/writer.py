"""SQLite's single writer: a thread that commits all queued writes with one sync (group commit).

Each write has its own savepoint, so that a failed one does not affect the others. No caller gets a result before COMMIT has
returned. The thread survives every error: of a write, of the disk, and of its own connection, which it then replaces.
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
from seneca.database.sqlite.transaction import MAX_WRITE_WAIT_SECONDS, SqliteTransaction, translate_error
from seneca.errors import ServiceUnavailable

P = ParamSpec("P")
T = TypeVar("T")

MAX_QUEUED = 4096
MAX_WRITES_PER_COMMIT = 128


class PendingWrite:
    """A queued write: the function to run, and the future for its result."""

    __slots__ = ("error", "future", "loop", "queued_at", "result", "work")

    def __init__(self, work: Callable[[Transaction], Any]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.queued_at = time.monotonic()
        self.result: Any = None
        self.error: Exception | None = None


class TransactionLost(Exception):
    """SQLite has rolled back the whole transaction (disk full, interrupt)."""


class Writer:
    """The writer thread and its queue.

    Args:
        connect: opens a connection for the thread; called again when the old one has become unusable.

    """

    def __init__(self, connect: Callable[[], SqliteTransaction]) -> None:
        self._connect = connect
        self._tx: SqliteTransaction | None = None
        self._queue: SimpleQueue[PendingWrite | None] = SimpleQueue()
        self._stop_lock = threading.Lock()  # so that no write is queued after the stop marker
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
        """Queue ``f(tx, …)``; the future gets its result once that is on disk.

        Raises:
            ServiceUnavailable: the queue is full, or the server is stopping.

        """
        write = PendingWrite(lambda tx: f(tx, *args, **kwargs))
        with self._stop_lock:
            if self._stopping or self._queue.qsize() >= MAX_QUEUED:
                raise ServiceUnavailable("Too many writes are waiting. Retry later.")
            self._queue.put(write)
        return write.future

    def stop(self) -> None:
        """Commit the queued writes, then end the thread."""
        with self._stop_lock:
            self._stopping = True
            self._queue.put(None)
        self._thread.join()
        if self._tx is not None:
            self._tx.connection.close()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            self._commit(self._gather([first]))

    def _gather(self, batch: list[PendingWrite]) -> list[PendingWrite]:
        """Add the writes that are queued by now."""
        while len(batch) < MAX_WRITES_PER_COMMIT:
            try:
                write = self._queue.get_nowait()
            except Empty:
                break
            if write is None:
                self._queue.put(None)  # stop, but only after this batch
                break
            batch.append(write)
        return batch

    def _commit(self, batch: list[PendingWrite]) -> None:
        """Run a batch in one transaction; if that is lost, run each write in a separate one."""
        try:
            batch = self._begin(batch)
            tx = self._transaction()
            for write in batch:
                run_in_savepoint(tx, write)
            if batch:
                tx.connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - no error may end the only writer
            self._roll_back()
            if len(batch) > 1:
                for write in batch:
                    self._commit([write])
                return
            for write in batch:
                write.error = write.error or to_client_error(error)
        resolve_futures(batch)

    def _begin(self, batch: list[PendingWrite]) -> list[PendingWrite]:
        """Take the write lock. In the meantime new writes join the batch, and those that have waited too long fail."""
        while batch:
            try:
                self._transaction().connection.execute("BEGIN IMMEDIATE")
            except (apsw.Error, ServiceUnavailable) as error:
                oldest = time.monotonic() - MAX_WRITE_WAIT_SECONDS
                is_busy = isinstance(error, apsw.BusyError)
                for write in batch:
                    write.error = None if is_busy and write.queued_at > oldest else to_client_error(error)
                resolve_futures([r for r in batch if r.error is not None])
                if not is_busy:
                    self._roll_back()
                batch = self._gather([r for r in batch if r.error is None])
            else:
                break
        return batch

    def _transaction(self) -> SqliteTransaction:
        if self._tx is None:
            self._tx = self._connect()
        return self._tx

    def _roll_back(self) -> None:
        """Roll back; drop the connection if that fails."""
        if self._tx is None:
            return
        connection = self._tx.connection
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            connection.close(force=True)
            self._tx = None


def run_in_savepoint(tx: SqliteTransaction, write: PendingWrite) -> None:
    """Run one write inside a savepoint.

    Raises:
        TransactionLost: SQLite has rolled back the whole transaction, including the other writes.

    """
    tx.connection.execute("SAVEPOINT write")
    write.result = write.error = None
    try:
        write.result = write.work(tx)
    except BaseException as error:  # any error belongs to this write
        write.error = to_client_error(error)
        if not tx.connection.in_transaction:
            raise TransactionLost from error
        tx.connection.execute("ROLLBACK TO write")
    tx.connection.execute("RELEASE write")


def to_client_error(error: BaseException) -> Exception:
    """The error that a write's future gets."""
    if isinstance(error, apsw.Error):
        return translate_error(error)
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"A write raised {type(error).__name__}, which a future cannot hold: {error}")


def resolve_futures(writes: list[PendingWrite]) -> None:
    """Set the results of writes in their event loops, waking each loop once."""
    for loop in {write.loop for write in writes}:
        outcomes = [(r.future, r.result, r.error) for r in writes if r.loop is loop]
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
