"""Remove erased data from the database's files: rewrite the file (VACUUM), then empty its write-ahead log.

Erasures request both steps by rows in the table ``properties``, so that they also happen after a crash, by whichever server
polls next. The steps are requested separately: emptying the log may have to wait for a reader (Litestream always reads), and
rewriting the file again before that would only make the log grow.

The cost of rewriting is proportional to the size of the file, so there is a minimum interval. An account without sessions
leaves little data in the file: for such accounts the interval is ``DAILY`` times as long.
"""

from typing import Final

from seneca.common.ids import new_id
from seneca.database import Database, Transaction

DAILY: Final = 144  # intervals: of the usual ten minutes, a day

LOG: Final = "scouring-wanted"
VACUUM: Final = "vacuum-wanted"
VACUUM_DAILY: Final = "vacuum-wanted-daily"
VACUUMED_AT: Final = "vacuumed-at"

PUT = """
INSERT INTO properties (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
STATE = """
SELECT name, value FROM properties
WHERE name IN ('scouring-wanted', 'vacuum-wanted', 'vacuum-wanted-daily', 'vacuumed-at')
"""
DONE = "DELETE FROM properties WHERE name = :name AND value = :value"

State = dict[str, str]
"""The mark of the latest request of each step; and the time of the last rewrite (milliseconds since 1970)."""


def request_vacuum(tx: Transaction, *, had_sessions: bool) -> None:
    """Request that the data that this transaction deletes is vacuumed from the files after the commit."""
    mark = new_id()
    for name in (LOG, VACUUM if had_sessions else VACUUM_DAILY):
        tx.execute_later(PUT, name=name, value=mark)


def state(tx: Transaction) -> State:
    """Read the requests and the time of the last rewrite."""
    return dict(tx.fetch_all(STATE))


def is_vacuum_due(state: State, interval: int, now: int) -> bool:
    """Whether a rewrite is requested, and the interval since the last one is over.

    Args:
        state: from ``state``.
        interval: minimum milliseconds between rewrites.
        now: milliseconds since 1970.

    """
    elapsed = now - int(state.get(VACUUMED_AT, "0"))
    elapsed = max(elapsed, DAILY * interval if elapsed < 0 else 0)  # the clock was ahead at the last rewrite
    return (VACUUM in state and elapsed >= interval) or (VACUUM_DAILY in state and elapsed >= DAILY * interval)


def begin_vacuum(tx: Transaction, interval: int, now: int) -> State | None:
    """Record the start of a rewrite, unless another process has just started one; returns the requests that it fulfils."""
    requested = state(tx)
    if not is_vacuum_due(requested, interval, now):
        return None
    tx.execute_later(PUT, name=VACUUMED_AT, value=str(now))
    return requested


def end_vacuum(tx: Transaction, fulfilled: State, now: int) -> None:
    """Record the end of a rewrite, and request that the log, which now holds the rewritten file, is emptied.

    It locks rows in the same order as ``request_vacuum``.
    """
    tx.execute_later(PUT, name=LOG, value=new_id())
    for name in (VACUUM, VACUUM_DAILY):
        if name in fulfilled:
            tx.execute_later(DONE, name=name, value=fulfilled[name])
    tx.execute_later(PUT, name=VACUUMED_AT, value=str(now))


async def run_vacuum(database: Database, *, interval: int, now: int, thoroughly: bool = False) -> None:
    """Perform the steps that are requested and due; on an engine without ``files``, only record that nothing is left to do.

    Args:
        database: the database.
        interval: minimum milliseconds between rewrites.
        now: milliseconds since 1970.
        thoroughly: rewrite the file even if it is not requested, not due, or large.

    Raises:
        ServiceUnavailable: a step is not possible now. Steps that succeeded are not repeated.

    """
    requested = await database.read(state)
    fulfilled: State | None = requested
    if not thoroughly:
        is_due = is_vacuum_due(requested, interval, now)
        fulfilled = await database.write(begin_vacuum, interval, now) if is_due else None
    if fulfilled is not None:
        if database.files is not None:
            await database.files.vacuum(thoroughly=thoroughly)
        await database.write(end_vacuum, fulfilled, now)
        requested = await database.read(state)
    if LOG in requested:
        if database.files is not None:
            await database.files.empty_log()
        await database.write(_end_empty_log, requested[LOG])


def _end_empty_log(tx: Transaction, mark: str) -> None:
    tx.execute_later(DONE, name=LOG, value=mark)
