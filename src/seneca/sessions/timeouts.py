"""Forgotten sessions: those without an event for hours are ended at their last event, by a background task of each worker.

The column ``idle_since`` is the latest known of a session's start, last event and reopening. Updates do not write it, since it has an
index: only when it is too long ago is the session read whole, and either ended or its ``idle_since`` moved to its last event.
"""

import asyncio
import time
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

import structlog
from msgspec.structs import asdict

from seneca.common.times import HOUR_MS
from seneca.database import Database, Transaction
from seneca.errors import ServiceUnavailable
from seneca.sessions.rows import SESSION_COLUMNS, UPDATE_END, SessionRow
from seneca.sessions.state import SessionState
from seneca.stats.totals import TotalsChange

POLL_SECONDS: Final = 30.0
MAX_CANDIDATES: Final = 1000  # read at a time
MAX_SESSIONS_PER_WRITE: Final = 100  # few, so that other writes do not wait long

log = structlog.get_logger()

CANDIDATES = """
SELECT bucket, learner_id, id FROM sessions
WHERE ended_at IS NULL AND idle_since < :before
ORDER BY idle_since
LIMIT :limit
"""


class Candidate(NamedTuple):
    """An open session that may be forgotten."""

    bucket: int
    learner_id: str
    id: str


def candidates(tx: Transaction, before: int) -> list[Candidate]:
    """Find open sessions that may have been without an event since a time, by bucket, learner and id."""
    return sorted(Candidate(*row) for row in tx.fetch_all(CANDIDATES, before=before, limit=MAX_CANDIDATES))


LOCK = f"""
SELECT {SESSION_COLUMNS} FROM sessions
WHERE bucket = :bucket AND learner_id = :learner_id AND id IN (:values) AND ended_at IS NULL AND idle_since < :before
ORDER BY id
"""


def end_forgotten(tx: Transaction, sessions: Sequence[Candidate], before: int) -> int:
    """End those of some sessions that have had no event since a time, at their last event.

    Another worker or the learner may have been faster: sessions that are no longer open and idle stay as they are.

    Args:
        tx: the transaction.
        sessions: sessions of learners of one bucket, in order.
        before: the time, in milliseconds since 1970.

    Returns:
        The number of ended sessions.

    """
    pending = [
        tx.select_for_update(
            LOCK, bucket=bucket, learner_id=learner_id, values=[session.id for session in group], before=before
        )
        for (bucket, learner_id), group in groupby(sessions, key=itemgetter(0, 1))
    ]
    rows = [SessionRow(*columns) for result in pending for columns in result.fetchall()]
    change = TotalsChange()
    ended = 0
    for row in rows:
        state = SessionState(row, {}, tx.idle_ms)
        state.end_forgotten(before)
        tx.execute_later(UPDATE_END, **asdict(state.row))
        if state.row.ended_at is not None:
            ended += 1
            change.subtract(row)
            change.add(state.row)
    change.write_later(tx)
    return ended


async def end_all_forgotten(database: Database, before: int) -> int:
    """End all sessions that have had no event since a time, in short transactions; returns their number.

    Raises:
        ServiceUnavailable: the database is busy, or its disk is full.

    """
    ended = 0
    while sessions := await database.scan(candidates, before):
        for _, group in groupby(sessions, key=itemgetter(0)):
            of_bucket = list(group)
            for start in range(0, len(of_bucket), MAX_SESSIONS_PER_WRITE):
                chunk = of_bucket[start : start + MAX_SESSIONS_PER_WRITE]
                ended += await database.write_bulk(end_forgotten, chunk, before)
    return ended


async def run(database: Database, timeout_hours: int) -> None:
    """End forgotten sessions from time to time, until cancelled.

    Args:
        database: the database.
        timeout_hours: after how many hours without an event a session is ended; 0: never.

    """
    while timeout_hours:
        try:
            ended = await end_all_forgotten(database, time.time_ns() // 1_000_000 - timeout_hours * HOUR_MS)
            if ended:
                log.info("forgotten sessions ended", sessions=ended)
        except ServiceUnavailable as error:
            log.warning("forgotten sessions not ended, retrying later", reason=error.detail)
        except Exception:  # the loop must go on
            log.exception("unhandled exception")
        await asyncio.sleep(POLL_SECONDS)
