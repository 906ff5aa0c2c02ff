"""How much one learner may store in an hour: writes, and bytes of results.

The database counts, for all workers and servers. So that a write costs no statement more, a worker reserves a hundredth of
the bounds at a time, and spends that in memory (docs/decisions/0009-learner-quotas.md).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from msgspec import Struct

from seneca import accounts
from seneca.accounts import Learner
from seneca.database import Database, Transaction
from seneca.errors import QuotaExceeded, Refusal, Unauthenticated, Unavailable

WINDOW_MS: Final = 3_600_000
CHUNKS: Final = 100
SWEEP_AT: Final = 10_000  # learners in memory: then those whose hour is over are dropped


class Amount(Struct, frozen=True):
    """So many writes, and so many bytes."""

    writes: int
    bytes: int


class Allowance(Struct):
    """What a worker may still let a learner store, and what the database had left when the worker last looked."""

    writes: int
    bytes: int
    unreserved_writes: int
    unreserved_bytes: int
    ends_at: int

    def is_current(self, now: int) -> bool:
        """Whether its hour is going on (and the clock was not set back)."""
        return 0 < self.ends_at - now <= WINDOW_MS


# -- in the database ---------------------------------------------------------------------------

MAKE = """
INSERT INTO learner_quotas (bucket, learner_id, window_start, writes, bytes)
VALUES (:bucket, :learner_id, :now, 0, 0)
ON CONFLICT (bucket, learner_id) DO NOTHING
"""
STORED = "SELECT window_start, writes, bytes FROM learner_quotas WHERE bucket = :bucket AND learner_id = :learner_id"
SET = """
UPDATE learner_quotas SET window_start = :window_start, writes = :writes, bytes = :bytes
WHERE bucket = :bucket AND learner_id = :learner_id
"""


def reserve(tx: Transaction, learner: Learner, needed: Amount, limits: Amount, now: int) -> Allowance:
    """Reserve what is needed of a learner's hour, and as a rule a chunk of it more, if there is so much.

    What there is not is told by the allowance, which then has less than was asked for.

    Raises:
        Unauthenticated: the account is gone.

    """
    key = {"bucket": learner.bucket, "learner_id": learner.id}
    account = tx.lock(accounts.ACCOUNT, id=learner.id)  # so that an erasure leaves no row of its learner behind
    if account.fetchone() is None:
        raise Unauthenticated("signed-out", "This account does not exist any more.")
    tx.put(MAKE, now=now, **key)
    row = tx.lock(STORED, **key).fetchone()
    assert row is not None
    start, used_writes, used_bytes = row
    if not 0 <= now - start < WINDOW_MS:
        start, used_writes, used_bytes = now, 0, 0
    more_writes = _grant(needed.writes, limits.writes, used_writes)
    more_bytes = _grant(needed.bytes, limits.bytes, used_bytes)
    used_writes += more_writes
    used_bytes += more_bytes
    tx.put(SET, window_start=start, writes=used_writes, bytes=used_bytes, **key)
    return Allowance(
        more_writes,
        more_bytes,
        max(0, limits.writes - used_writes),
        max(0, limits.bytes - used_bytes),
        start + WINDOW_MS,
    )


def _grant(needed: int, limit: int, used: int) -> int:
    """How much to reserve: nothing if that is needed, else a chunk or what is needed, as far as there is so much."""
    left = max(0, limit - used)
    return min(left, max(needed, limit // CHUNKS)) if 0 < needed <= left else 0


# -- in a worker -------------------------------------------------------------------------------


class LearnerQuotas:
    """The allowances of the learners who store something through this worker.

    Args:
        database: where all workers count.
        limits: the most for each learner and hour.

    """

    def __init__(self, database: Database, limits: Amount) -> None:
        self._database = database
        self._limits = limits
        self._allowances: dict[str, Allowance] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._sweep_at = SWEEP_AT

    @asynccontextmanager
    async def charge(self, learner: Learner, size: int, now: int) -> AsyncIterator[None]:
        """Count the write that the block makes, and its bytes; one that is refused there is not counted.

        Raises:
            QuotaExceeded: the learner has stored too much in this hour.
            Unauthenticated: the account is gone.

        """
        allowance = self._allowances.get(learner.id)
        if allowance is None or not _covers(allowance, size, now):
            lock = self._locks.setdefault(learner.id, asyncio.Lock())
            async with lock:
                allowance = await self._covering(learner, size, now)
        allowance.writes -= 1
        allowance.bytes -= size
        try:
            yield
        except Refusal as refusal:
            if not isinstance(refusal, Unavailable):  # after that one nobody knows whether it was stored
                allowance.writes += 1
                allowance.bytes += size
            raise

    async def _covering(self, learner: Learner, size: int, now: int) -> Allowance:
        """An allowance that covers a write of so many bytes."""
        held = self._allowances.get(learner.id)
        while held is None or not _covers(held, size, now):
            writes, bytes_ = 0, 0
            if held is not None and held.is_current(now):
                self._check(held, size, now)
                writes, bytes_ = held.writes, held.bytes
            needed = Amount(max(0, 1 - writes), max(0, size - bytes_))
            more = await self._database.write(reserve, learner, needed, self._limits, now)
            held = self._add(learner.id, more, now)
            self._check(held, size, now)
        return held

    def _check(self, allowance: Allowance, size: int, now: int) -> None:
        """Refuse what the database cannot cover. Raises QuotaExceeded."""
        wait = allowance.ends_at - now
        if 1 - allowance.writes > allowance.unreserved_writes:
            raise QuotaExceeded(f"A learner stores at most {self._limits.writes:,} writes an hour.", wait)
        if size - allowance.bytes > allowance.unreserved_bytes:
            raise QuotaExceeded(f"A learner stores at most {self._limits.bytes:,} bytes of results an hour.", wait)

    def _add(self, learner_id: str, more: Allowance, now: int) -> Allowance:
        """Add what was reserved to what is held of the same hour."""
        held = self._allowances.get(learner_id)
        if held is not None and held.ends_at == more.ends_at:
            held.writes += more.writes
            held.bytes += more.bytes
            held.unreserved_writes, held.unreserved_bytes = more.unreserved_writes, more.unreserved_bytes
            return held
        if len(self._allowances) >= self._sweep_at:
            self._allowances = {id_: kept for id_, kept in self._allowances.items() if kept.is_current(now)}
            self._sweep_at = max(SWEEP_AT, 2 * len(self._allowances))
        self._allowances[learner_id] = more
        return more


def _covers(allowance: Allowance, size: int, now: int) -> bool:
    return allowance.writes >= 1 and allowance.bytes >= size and allowance.is_current(now)


# -- for those who look --------------------------------------------------------------------------


class Quota(Struct, frozen=True):
    """What a learner's latest hour was charged with; a worker charges some in advance."""

    window_start: int
    writes: int
    bytes: int


def of(tx: Transaction, learner: Learner) -> Quota | None:
    """What a learner's latest hour was charged with, or None: they have stored nothing yet."""
    row = tx.one(STORED, bucket=learner.bucket, learner_id=learner.id)
    return None if row is None else Quota(*row)
