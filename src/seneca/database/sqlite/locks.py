"""Locks of a SQLite file: take them, with time limits."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import apsw

T = TypeVar("T")

BUSY_SECONDS: Final = 0.05  # that a statement waits for a lock
RETRY_SECONDS: Final = 0.00025  # SQLite's own busy handler backs off to 25 ms, too slow beside another worker's writer
MAX_START_SECONDS: Final = 30.0  # that a start waits for other processes that start


def wait_for_locks(connection: apsw.Connection, seconds: float) -> None:
    """Let statements wait up to this many seconds for another connection's lock."""
    deadline = 0.0

    def wait(earlier_calls: int) -> bool:
        nonlocal deadline
        if earlier_calls == 0:  # SQLite begins to wait for a lock
            deadline = time.monotonic() + seconds
        time.sleep(RETRY_SECONDS)
        return time.monotonic() < deadline

    connection.set_busy_handler(wait)


def retry_at_start(step: Callable[[], T]) -> T:
    """Run a step of a start, and retry while the file is locked.

    SQLite does not always call the busy handler while another process switches to the write-ahead log.
    """
    deadline = time.monotonic() + MAX_START_SECONDS
    while True:
        try:
            return step()
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def write_ahead(connection: apsw.Connection) -> None:
    """Switch to the write-ahead log."""
    if connection.execute("PRAGMA journal_mode").fetchall() != [("wal",)]:
        retry_at_start(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchall())


@contextmanager
def immediate(connection: apsw.Connection) -> Iterator[None]:
    """A transaction that takes the write lock first: committed at the end of the block, rolled back if it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
