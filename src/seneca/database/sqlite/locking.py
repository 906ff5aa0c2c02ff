"""Locks of a SQLite file: how long one waits for what another connection holds, and how one takes them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import apsw

BUSY_SLICE: Final = 0.05  # seconds that a statement waits for a lock before it gives up
ASK_AGAIN: Final = 0.00025  # seconds; SQLite's own waiting grows to 25 ms, too long beside another worker's writer
START_PATIENCE: Final = 30.0  # seconds that a start waits for others that start


def wait_for_locks(connection: apsw.Connection, seconds: float) -> None:
    """Let statements wait so long for a lock that another connection holds."""
    deadline = 0.0

    def wait(earlier_calls: int) -> bool:
        nonlocal deadline
        if earlier_calls == 0:  # SQLite begins to wait for another lock
            deadline = time.monotonic() + seconds
        time.sleep(ASK_AGAIN)
        return time.monotonic() < deadline

    connection.set_busy_handler(wait)


def write_ahead(connection: apsw.Connection) -> None:
    """Switch to the write-ahead log. Of several processes that do so at once SQLite lets some wait and not others."""
    if connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]:
        return
    deadline = time.monotonic() + START_PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def immediate(connection: apsw.Connection) -> Iterator[None]:
    """A transaction that has the lock for writing from its beginning: committed at the end, undone if the block raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
