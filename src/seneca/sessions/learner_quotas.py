"""Hourly quotas for each learner: writes, and bytes of results.

The database keeps the count for all workers and servers. To avoid an extra statement for each write, a worker reserves a
hundredth of the quota at a time and spends it in memory (docs/decisions/0009-learner-quotas.md).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from msgspec import Struct

from seneca import accounts
from seneca.accounts import Learner
from seneca.database import Database, Transaction
from seneca.errors import ApiError, QuotaExceeded, ServiceUnavailable, Unauthenticated

WINDOW_MS: Final = 3_600_000
MAX_CLOCK_SKEW_MS: Final = 60_000  # between servers; with a larger difference, a new hour starts
CHUNKS: Final = 100  # in which a quota is reserved
EVICTION_THRESHOLD: Final = 10_000  # learners in memory, above which allowances of past hours are evicted


class Amount(Struct, frozen=True):
    """A number of writes, and a number of bytes."""

    writes: int
    bytes: int


class Allowance(Struct):
    """The remainder of a worker's reservation for a learner, and what was unreserved in the database after it."""

    writes: int
    bytes: int
    unreserved_writes: int
    unreserved_bytes: int
    ends_at: int

    def is_current(self, now: int) -> bool:
        """Whether its hour is not over, and the clock was not set back."""
        return 0 < self.ends_at - now <= WINDOW_MS + MAX_CLOCK_SKEW_MS


# -- in the database ---------------------------------------------------------------------------

INSERT = """
INSERT INTO learner_quotas (bucket, learner_id, window_start, writes, bytes)
VALUES (:bucket, :learner_id, :now, 0, 0)
ON CONFLICT (bucket, learner_id) DO NOTHING
"""
QUOTA = "SELECT window_start, writes, bytes FROM learner_quotas WHERE bucket = :bucket AND learner_id = :learner_id"
UPDATE = """
UPDATE learner_quotas SET window_start = :window_start, writes = :writes, bytes = :bytes
WHERE bucket = :bucket AND learner_id = :learner_id
"""


def reserve(
    tx: Transaction, learner: Learner, needed: Amount, wanted: Amount, limits: Amount, *, now: int
) -> Allowance:
    """Reserve a part of a learner's hourly quota, of writes and of bytes.

    It is the larger of ``needed`` and ``wanted``; if less is left, what is left, provided that it covers ``needed``.

    Raises:
        Unauthenticated: the account no longer exists.

    """
    key = {"bucket": learner.bucket, "learner_id": learner.id}
    # The lock makes sure that a concurrent erasure leaves no row of the learner behind.
    account = tx.select_for_update(accounts.ACCOUNT, id=learner.id)
    if account.fetchone() is None:
        raise Unauthenticated("signed-out", "This account no longer exists.")
    tx.execute_later(INSERT, now=now, **key)
    row = tx.select_for_update(QUOTA, **key).fetchone()
    assert row is not None
    start, used_writes, used_bytes = row
    if not -MAX_CLOCK_SKEW_MS <= now - start < WINDOW_MS:
        start, used_writes, used_bytes = now, 0, 0
    more_writes = _grant(needed.writes, wanted.writes, limits.writes - used_writes)
    more_bytes = _grant(needed.bytes, wanted.bytes, limits.bytes - used_bytes)
    used_writes += more_writes
    used_bytes += more_bytes
    tx.execute_later(UPDATE, window_start=start, writes=used_writes, bytes=used_bytes, **key)
    return Allowance(
        more_writes,
        more_bytes,
        max(0, limits.writes - used_writes),
        max(0, limits.bytes - used_bytes),
        start + WINDOW_MS,
    )


def _grant(needed: int, wanted: int, left: int) -> int:
    return min(left, max(needed, wanted)) if 0 < left >= needed else 0


# -- in a worker -------------------------------------------------------------------------------


class LearnerQuotas:
    """The allowances of the learners who write through this worker.

    Args:
        database: the database, where all workers count.
        limits: the hourly quota of each learner.

    """

    def __init__(self, database: Database, limits: Amount) -> None:
        self._database = database
        self._limits = limits
        self._allowances: dict[str, Allowance] = {}
        self._chunk = Amount(limits.writes // CHUNKS, limits.bytes // CHUNKS)
        self._pending: dict[str, asyncio.Task[None]] = {}
        self._evict_at = EVICTION_THRESHOLD

    @asynccontextmanager
    async def charge(self, learner: Learner, size: int, now: int, writes: int = 1) -> AsyncIterator[None]:
        """Charge the writes in the block and their bytes. What fails with an error is not charged.

        Args:
            learner: the learner.
            size: the bytes of results.
            now: the time, in milliseconds since 1970.
            writes: the number of writes.

        Raises:
            QuotaExceeded: the learner's hourly quota is used up.
            Unauthenticated: the account no longer exists.

        """
        needed = Amount(writes, size)
        allowance = await self._get_allowance(learner, needed, now)
        allowance.writes -= writes
        allowance.bytes -= size
        try:
            yield
        except ApiError as error:
            if not isinstance(error, ServiceUnavailable):  # after which the write may have been stored
                allowance.writes += writes
                allowance.bytes += size
            raise

    async def _get_allowance(self, learner: Learner, needed: Amount, now: int) -> Allowance:
        """Get an allowance that covers an amount, after reserving more if necessary."""
        while True:
            allowance = self._allowances.get(learner.id)
            if allowance is not None and allowance.is_current(now):
                if allowance.writes >= needed.writes and allowance.bytes >= needed.bytes:
                    return allowance
                self._check(allowance, needed, now)
            pending = self._pending.get(learner.id)
            if pending is None:  # concurrent requests wait for the same reservation, and fail with it
                pending = asyncio.create_task(self._reserve(learner, needed, now))
                self._pending[learner.id] = pending
                pending.add_done_callback(partial(self._finish, learner.id))
            await asyncio.shield(pending)

    async def _reserve(self, learner: Learner, needed: Amount, now: int) -> None:
        """Reserve what is missing of an amount, as a whole chunk where possible."""
        allowance = self._allowances.get(learner.id)
        is_current = allowance is not None and allowance.is_current(now)
        writes, bytes_ = (allowance.writes, allowance.bytes) if allowance is not None and is_current else (0, 0)
        missing = Amount(max(0, needed.writes - writes), max(0, needed.bytes - bytes_))
        wanted = Amount(
            self._chunk.writes if missing.writes else 0,
            self._chunk.bytes if missing.bytes or not bytes_ else 0,
        )
        reservation = await self._database.write(reserve, learner, missing, wanted, self._limits, now=now)
        self._add(learner.id, reservation, now)

    def _finish(self, learner_id: str, task: "asyncio.Task[None]") -> None:
        self._pending.pop(learner_id)
        if not task.cancelled():
            task.exception()  # retrieved in case all clients have disconnected: asyncio would log it otherwise

    def _check(self, allowance: Allowance, needed: Amount, now: int) -> None:
        """Raise QuotaExceeded if not even the unreserved rest in the database would cover an amount."""
        wait = allowance.ends_at - now
        if needed.writes - allowance.writes > allowance.unreserved_writes:
            raise QuotaExceeded(f"A learner stores at most {self._limits.writes:,} writes an hour.", wait)
        if needed.bytes - allowance.bytes > allowance.unreserved_bytes:
            raise QuotaExceeded(f"A learner stores at most {self._limits.bytes:,} bytes of results an hour.", wait)

    def _add(self, learner_id: str, reservation: Allowance, now: int) -> None:
        """Add a reservation to the allowance of the same hour, or replace that of an earlier hour."""
        allowance = self._allowances.get(learner_id)
        if allowance is not None and allowance.ends_at == reservation.ends_at:
            allowance.writes += reservation.writes
            allowance.bytes += reservation.bytes
            allowance.unreserved_writes = reservation.unreserved_writes
            allowance.unreserved_bytes = reservation.unreserved_bytes
            return
        if len(self._allowances) >= self._evict_at:
            self._allowances = {id_: kept for id_, kept in self._allowances.items() if kept.is_current(now)}
            self._evict_at = max(EVICTION_THRESHOLD, 2 * len(self._allowances))
        self._allowances[learner_id] = reservation


# -- for data exports ----------------------------------------------------------------------------


class Quota(Struct, frozen=True):
    """What a learner's latest hour was charged with, including the unspent reservations of workers."""

    window_start: int
    writes: int
    bytes: int


def of(tx: Transaction, learner: Learner) -> Quota | None:
    """Read what a learner's latest hour was charged with. None: the learner has never stored anything."""
    row = tx.fetch_one(QUOTA, bucket=learner.bucket, learner_id=learner.id)
    return None if row is None else Quota(*row)
