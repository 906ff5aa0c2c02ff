"""Have what was erased removed from the database's files, too: the file rewritten (VACUUM), then its log emptied.

The erasure asks for both in the database: so they are done after a crash, too, and by whichever server looks next. Each is
remembered for itself. The log may have to wait for somebody who reads (Litestream always does), and to rewrite the file
again meanwhile would only make it grow.

Rewriting costs as much as the file is large, so it is done at most once in an interval. An account that had no session
leaves little that could be left over: for such it is done at most once in ``DAILY`` intervals.
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
"""Of each wish that is there the mark of the latest; when the file was rewritten last (milliseconds since 1970)."""


def request_vacuum(tx: Transaction, *, had_sessions: bool) -> None:
    """Ask for the files to be rid of what this transaction deletes, once it is committed."""
    mark = new_id()
    for name in (LOG, VACUUM if had_sessions else VACUUM_DAILY):
        tx.execute_later(PUT, name=name, value=mark)


def state(tx: Transaction) -> State:
    """What is wanted."""
    return dict(tx.fetch_all(STATE))


def is_vacuum_due(state: State, interval: int, now: int) -> bool:
    """Whether the file is to be rewritten now.

    Args:
        state: what is wanted.
        interval: milliseconds that lie between two times.
        now: milliseconds since 1970.

    """
    since = now - int(state.get(VACUUMED_AT, "0"))
    since = max(since, DAILY * interval if since < 0 else 0)  # the clock was ahead
    return (VACUUM in state and since >= interval) or (VACUUM_DAILY in state and since >= DAILY * interval)


def begin_vacuum(tx: Transaction, interval: int, now: int) -> State | None:
    """Note that the file is about to be rewritten, unless another process did so a moment ago; returns what that fulfils."""
    wanted = state(tx)
    if not is_vacuum_due(wanted, interval, now):
        return None
    tx.execute_later(PUT, name=VACUUMED_AT, value=str(now))
    return wanted


def end_vacuum(tx: Transaction, fulfilled: State, now: int) -> None:
    """Note that the file is rewritten, and that the log, which is full of it, is to be emptied. In the order of ``request_vacuum``."""
    tx.execute_later(PUT, name=LOG, value=new_id())
    for name in (VACUUM, VACUUM_DAILY):
        if name in fulfilled:
            tx.execute_later(DONE, name=name, value=fulfilled[name])
    tx.execute_later(PUT, name=VACUUMED_AT, value=str(now))


async def run_vacuum(database: Database, *, interval: int, now: int, thoroughly: bool = False) -> None:
    """Do what is wanted and due.

    Args:
        database: whose files.
        interval: milliseconds between two times that the file is rewritten.
        now: milliseconds since 1970.
        thoroughly: rewrite the file even if nobody asked for it, it was just done, or it is large.

    Raises:
        ServiceUnavailable: not now; what is done already is not done again.
        CommandError: ``thoroughly``, and this engine has a tool of its own for that.

    """
    wanted = await database.read(state)
    fulfilled: State | None = wanted
    if not thoroughly:
        is_due = is_vacuum_due(wanted, interval, now)
        fulfilled = await database.write(begin_vacuum, interval, now) if is_due else None
    if fulfilled is not None:
        await database.vacuum(thoroughly=thoroughly)
        await database.write(end_vacuum, fulfilled, now)
        wanted = await database.read(state)
    if LOG in wanted:
        await database.empty_log()
        await database.write(_log_is_empty, wanted[LOG])


def _log_is_empty(tx: Transaction, mark: str) -> None:
    tx.execute_later(DONE, name=LOG, value=mark)
