"""How much one learner may store in an hour: writes, and bytes of results.

The database counts, for all workers and servers. So that a write costs no statement more, a worker reserves a hundredth of
the bounds at a time, and spends that in memory (docs/decisions/0009-learner-quotas.md).
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
CLOCK_SKEW_MS: Final = 60_000  # by which servers' clocks may differ before an hour begins again
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
        return 0 < self.ends_at - now <= WINDOW_MS + CLOCK_SKEW_MS


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


def reserve(
    tx: Transaction, learner: Learner, needed: Amount, wanted: Amount, limits: Amount, *, now: int
) -> Allowance:
    """Reserve some of a learner's hour: what is wanted, or as much of it as there is, if that is what is needed.

    Raises:
        Unauthenticated: the account is gone.

    """
    key = {"bucket": learner.bucket, "learner_id": learner.id}
    account = tx.select_for_update(
        accounts.ACCOUNT, id=learner.id
    )  # so that an erasure leaves no row of its learner behind
    if account.fetchone() is None:
        raise Unauthenticated("signed-out", "This account does not exist any more.")
    tx.execute_later(MAKE, now=now, **key)
    row = tx.select_for_update(STORED, **key).fetchone()
    assert row is not None
    start, used_writes, used_bytes = row
    if not -CLOCK_SKEW_MS <= now - start < WINDOW_MS:
        start, used_writes, used_bytes = now, 0, 0
    more_writes = _grant(needed.writes, wanted.writes, limits.writes - used_writes)
    more_bytes = _grant(needed.bytes, wanted.bytes, limits.bytes - used_bytes)
    used_writes += more_writes
    used_bytes += more_bytes
    tx.execute_later(SET, window_start=start, writes=used_writes, bytes=used_bytes, **key)
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
    """The allowances of the learners who store something through this worker.

    Args:
        database: where all workers count.
        limits: the most for each learner and hour.

    """

    def __init__(self, database: Database, limits: Amount) -> None:
        self._database = database
        self._limits = limits
        self._allowances: dict[str, Allowance] = {}
        self._chunk = Amount(limits.writes // CHUNKS, limits.bytes // CHUNKS)
        self._pending: dict[str, asyncio.Task[None]] = {}
        self._sweep_at = SWEEP_AT

    @asynccontextmanager
    async def charge(self, learner: Learner, size: int, now: int) -> AsyncIterator[None]:
        """Count the write that the block makes, and its bytes; one that is refused there is not counted.

        Raises:
            QuotaExceeded: the learner has stored too much in this hour.
            Unauthenticated: the account is gone.

        """
        allowance = await self._covering(learner, size, now)
        allowance.writes -= 1
        allowance.bytes -= size
        try:
            yield
        except ApiError as refusal:
            if not isinstance(refusal, ServiceUnavailable):  # after that one nobody knows whether it was stored
                allowance.writes += 1
                allowance.bytes += size
            raise

    async def _covering(self, learner: Learner, size: int, now: int) -> Allowance:
        """An allowance that covers a write of so many bytes."""
        while True:
            held = self._allowances.get(learner.id)
            if held is not None and held.is_current(now):
                if held.writes >= 1 and held.bytes >= size:
                    return held
                self._check(held, size, now)
            pending = self._pending.get(learner.id)
            if pending is None:  # who comes while it is under way waits for the same one, and fails with it
                pending = asyncio.create_task(self._reserve(learner, size, now))
                self._pending[learner.id] = pending
                pending.add_done_callback(partial(self._finish, learner.id))
            await asyncio.shield(pending)

    async def _reserve(self, learner: Learner, size: int, now: int) -> None:
        """Reserve what a write of so many bytes needs, and a chunk of what there is none of."""
        held = self._allowances.get(learner.id)
        writes, bytes_ = (held.writes, held.bytes) if held is not None and held.is_current(now) else (0, 0)
        needed = Amount(max(0, 1 - writes), max(0, size - bytes_))
        wanted = Amount(
            self._chunk.writes if needed.writes else 0,
            self._chunk.bytes if needed.bytes or not bytes_ else 0,
        )
        more = await self._database.write(reserve, learner, needed, wanted, self._limits, now=now)
        self._add(learner.id, more, now)

    def _finish(self, learner_id: str, reserved: "asyncio.Task[None]") -> None:
        self._pending.pop(learner_id)
        if not reserved.cancelled():
            reserved.exception()  # looked at, for the case that every client has gone

    def _check(self, allowance: Allowance, size: int, now: int) -> None:
        """Refuse what the database cannot cover. Raises QuotaExceeded."""
        wait = allowance.ends_at - now
        if 1 - allowance.writes > allowance.unreserved_writes:
            raise QuotaExceeded(f"A learner stores at most {self._limits.writes:,} writes an hour.", wait)
        if size - allowance.bytes > allowance.unreserved_bytes:
            raise QuotaExceeded(f"A learner stores at most {self._limits.bytes:,} bytes of results an hour.", wait)

    def _add(self, learner_id: str, more: Allowance, now: int) -> None:
        """Add what was reserved to what is held of the same hour."""
        held = self._allowances.get(learner_id)
        if held is not None and held.ends_at == more.ends_at:
            held.writes += more.writes
            held.bytes += more.bytes
            held.unreserved_writes, held.unreserved_bytes = more.unreserved_writes, more.unreserved_bytes
            return
        if len(self._allowances) >= self._sweep_at:
            self._allowances = {id_: kept for id_, kept in self._allowances.items() if kept.is_current(now)}
            self._sweep_at = max(SWEEP_AT, 2 * len(self._allowances))
        self._allowances[learner_id] = more


# -- for those who look --------------------------------------------------------------------------


class Quota(Struct, frozen=True):
    """What a learner's latest hour was charged with; a worker charges some in advance."""

    window_start: int
    writes: int
    bytes: int


def of(tx: Transaction, learner: Learner) -> Quota | None:
    """What a learner's latest hour was charged with, or None: they have stored nothing yet."""
    row = tx.fetch_one(STORED, bucket=learner.bucket, learner_id=learner.id)
    return None if row is None else Quota(*row)
