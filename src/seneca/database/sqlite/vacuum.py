"""See to it that what was deleted is in none of SQLite's files.

Three things together do it. ``secure_delete`` overwrites what is deleted where it stands. The file is rewritten (VACUUM):
before their deletion rows may have moved to other pages, and what they left there SQLite does not overwrite (about one
account in a hundred, measured: docs/privacy.md). The write-ahead log, which holds pages as they were, is emptied into the
file. The second costs more the more there is; files that are not small are left to ``seneca vacuum``.
"""

import time
from collections.abc import Callable
from typing import Final

import apsw

from seneca.errors import ServiceUnavailable

SMALL: Final = 64 * 1024 * 1024  # bytes: rewritten in a second or two, in which writes wait
PATIENCE: Final = 1.0  # seconds that a step waits for those who read or write
PAUSE: Final = 0.02  # seconds

SIZE = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
EMPTY_LOG = "PRAGMA wal_checkpoint(TRUNCATE)"


def vacuum(connection: apsw.Connection, *, thoroughly: bool) -> None:
    """Rewrite the file, if it is small; ``thoroughly``: even if it is not.

    What was there is in the file until the log is emptied.

    Raises:
        ServiceUnavailable: somebody writes.
        apsw.Error: the engine cannot: the disk is full.

    """
    ((size,),) = connection.execute(SIZE).fetchall()
    if thoroughly or int(str(size)) <= SMALL:
        _insist(lambda: _rewrite(connection), "The database's file cannot be rewritten while somebody writes.")


def empty_log(connection: apsw.Connection) -> None:
    """Empty the write-ahead log.

    Raises:
        ServiceUnavailable: somebody reads what was there before.
        apsw.Error: the engine cannot: the disk is full.

    """
    _insist(
        lambda: connection.execute(EMPTY_LOG).fetchall()[0][0] == 0,
        "The database's log cannot be emptied while somebody reads what was there before.",
    )


def _rewrite(connection: apsw.Connection) -> bool:
    try:
        connection.execute("VACUUM")
    except apsw.BusyError:
        return False
    return True


def _insist(step: Callable[[], bool], refusal: str) -> None:
    """Try until it is done, each time only for a moment: meanwhile others write."""
    deadline = time.monotonic() + PATIENCE
    while not step():
        if time.monotonic() > deadline:
            raise ServiceUnavailable(refusal, retry_after=5)
        time.sleep(PAUSE)
