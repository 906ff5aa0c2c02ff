"""Remove deleted data from SQLite's files.

This takes three measures. ``secure_delete`` overwrites deleted rows in place. VACUUM rewrites the file: rows may have moved to
other pages before their deletion, and SQLite does not overwrite their old location (about one account in a hundred, measured:
docs/privacy.md). A checkpoint empties the write-ahead log, which holds old pages, into the file. The time of VACUUM grows with
the file; large files are left to ``seneca vacuum``.
"""

import time
from collections.abc import Callable
from typing import Final

import apsw

from seneca.errors import ServiceUnavailable

MAX_AUTOMATIC_BYTES: Final = 64 * 1024 * 1024  # rewritten in one or two seconds, during which writes wait
MAX_WAIT_SECONDS: Final = 1.0  # for concurrent readers and writers, per step
RETRY_SECONDS: Final = 0.02

SIZE = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
EMPTY_LOG = "PRAGMA wal_checkpoint(TRUNCATE)"


def vacuum(connection: apsw.Connection, *, thoroughly: bool) -> None:
    """Rewrite the file if it is small, or ``thoroughly``.

    The file itself changes only when the log is emptied.

    Raises:
        ServiceUnavailable: there is a concurrent write.
        apsw.Error: it failed, for example because the disk is full.

    """
    ((size,),) = connection.execute(SIZE).fetchall()
    if thoroughly or int(str(size)) <= MAX_AUTOMATIC_BYTES:
        _retry(lambda: _rewrite(connection), "The database file cannot be rewritten during a concurrent write.")


def empty_log(connection: apsw.Connection) -> None:
    """Empty the write-ahead log.

    Raises:
        ServiceUnavailable: a concurrent reader needs it.
        apsw.Error: it failed, for example because the disk is full.

    """
    _retry(
        lambda: connection.execute(EMPTY_LOG).fetchall()[0][0] == 0,
        "The write-ahead log cannot be emptied while a concurrent reader needs it.",
    )


def _rewrite(connection: apsw.Connection) -> bool:
    try:
        connection.execute("VACUUM")
    except apsw.BusyError:
        return False
    return True


def _retry(step: Callable[[], bool], error: str) -> None:
    """Retry a step until it succeeds. Each attempt is short, so that others can write in between."""
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while not step():
        if time.monotonic() > deadline:
            raise ServiceUnavailable(error, retry_after=5)
        time.sleep(RETRY_SECONDS)
