"""SQLite's single writer: it commits all waiting writes with one sync (group commit).

Each write has its own savepoint, so that a failed one does not affect the others. No caller gets a result before COMMIT has
returned. The writer survives every error: of a write, of the disk, and of its own connection, which it then replaces.

Where the writes come from is a ``WriteSource``: a queue of this process (``local_writer``) or sockets of workers (``writer_process``).
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import apsw

from seneca.database import Transaction
from seneca.database.sqlite.transaction import MAX_WRITE_WAIT_SECONDS, SqliteTransaction, translate_error
from seneca.errors import ServiceUnavailable

MAX_QUEUED: Final = 4096  # of one process
MAX_WRITES_PER_COMMIT: Final = 128


class PendingWrite:
    """A waiting write.

    Args:
        work: the function to run.
        is_bulk: whether it changes many rows: it is then committed alone.

    """

    __slots__ = ("error", "is_bulk", "queued_at", "result", "work")

    def __init__(self, work: Callable[[Transaction], Any], *, is_bulk: bool) -> None:
        self.work = work
        self.is_bulk = is_bulk
        self.queued_at = time.monotonic()
        self.result: Any = None
        self.error: Exception | None = None


class WriteSource(Protocol):
    """Where writes come from, and where their results go."""

    @property
    def has_ended(self) -> bool:
        """Whether no more writes will come."""

    def receive(self, *, wait: bool) -> Iterable[PendingWrite]:
        """The writes that have arrived. With ``wait``, waits until there may be one, or the source has ended."""

    def resolve(self, writes: Sequence[Any]) -> None:
        """Deliver the results and errors of writes that came from here."""


class TransactionLost(Exception):
    """SQLite has rolled back the whole transaction (disk full, interrupt)."""


class Writer:
    """Commits the writes of a source, on the thread that calls ``run``.

    Short writes that wait are committed together, a bulk write alone; while both wait they take turns. So a short write waits for at
    most one bulk write, and none of them waits without end.

    Args:
        connect: opens a connection; called again when the old one has become unusable.
        source: where the writes come from.

    """

    def __init__(self, connect: Callable[[], SqliteTransaction], source: WriteSource) -> None:
        self._connect = connect
        self._source = source
        self._tx: SqliteTransaction | None = None
        self._short: deque[PendingWrite] = deque()
        self._bulk: deque[PendingWrite] = deque()
        self._is_bulks_turn = False

    def run(self) -> None:
        """Commit writes until the source has ended."""
        while group := self._next_group():
            self._commit(group)
        if self._tx is not None:
            self._tx.connection.close()

    def _next_group(self) -> list[PendingWrite]:
        """The writes of the next transaction; none if the source has ended."""
        self._receive(wait=False)
        while not (self._short or self._bulk):
            if self._source.has_ended:
                return []
            self._receive(wait=True)
        if self._bulk and (self._is_bulks_turn or not self._short):
            self._is_bulks_turn = False
            return [self._bulk.popleft()]
        self._is_bulks_turn = True
        group: list[PendingWrite] = []
        self._add_short(group)
        return group

    def _receive(self, *, wait: bool) -> None:
        for write in self._source.receive(wait=wait):
            (self._bulk if write.is_bulk else self._short).append(write)

    def _add_short(self, group: list[PendingWrite]) -> None:
        while self._short and len(group) < MAX_WRITES_PER_COMMIT:
            group.append(self._short.popleft())

    def _commit(self, group: list[PendingWrite]) -> None:
        """Run a group in one transaction; if that is lost, run each write in a separate one."""
        try:
            group = self._begin(group)
            tx = self._transaction()
            for write in group:
                run_in_savepoint(tx, write)
            if group:
                tx.connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - no error may end the only writer
            self._roll_back()
            if len(group) > 1:
                for write in group:
                    self._commit([write])
                return
            for write in group:
                write.error = write.error or to_client_error(error)
        self._source.resolve(group)

    def _begin(self, group: list[PendingWrite]) -> list[PendingWrite]:
        """Take the write lock. In the meantime new writes join the group, and those that have waited too long fail."""
        while group:
            try:
                self._transaction().connection.execute("BEGIN IMMEDIATE")
            except (apsw.Error, ServiceUnavailable) as error:
                oldest = time.monotonic() - MAX_WRITE_WAIT_SECONDS
                is_busy = isinstance(error, apsw.BusyError)
                for write in group:
                    write.error = None if is_busy and write.queued_at > oldest else to_client_error(error)
                self._source.resolve([write for write in group if write.error is not None])
                if not is_busy:
                    self._roll_back()
                group = [write for write in group if write.error is None]
                self._receive(wait=False)
                if group and not group[0].is_bulk:
                    self._add_short(group)
            else:
                break
        return group

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
    """The error that a write's caller gets."""
    if isinstance(error, apsw.Error):
        return translate_error(error)
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"A write raised {type(error).__name__}, which a future cannot hold: {error}")
