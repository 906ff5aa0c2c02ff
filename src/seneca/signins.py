"""Signing in: a row for each, tokens that name it, and how it ends everywhere within seconds.

No request asks the database whether its token is still good. Each worker reads, every two seconds,
which sign-ins have ended in the last token's lifetime (all of them, since a commit may be late), and
refuses those. A worker that could not look for five seconds refuses every token until it can.
"""

import asyncio
import time
from typing import Final

import structlog

from seneca import accounts, units
from seneca.accounts import Credentials
from seneca.database import Database, Transaction
from seneca.errors import NotSignedIn, Unavailable
from seneca.tokens import LIFETIME, Caller, Keys

LOOK_EVERY: Final = 2.0  # seconds
BLIND_AFTER: Final = 5.0  # seconds
REMEMBERED: Final = 20_000  # verified tokens a worker

log = structlog.get_logger()

START = """
INSERT INTO sign_ins (bucket, account_id, id, started_at) VALUES (:bucket, :account_id, :id, :now)
"""


def start(
    tx: Transaction, verified: Credentials, name: str, new_hash: str | None, now: int
) -> tuple[str, Credentials] | None:
    """Record a sign-in whose password was verified a moment ago; returns its id and the account as it is now.

    Args:
        tx: the transaction.
        verified: the credentials against which the password was verified.
        name: the name that was given.
        new_hash: the password's renewed hash, where the stored one is of an older kind.
        now: milliseconds since 1970.

    Returns:
        None if meanwhile the password was changed, its hash renewed, or the name is gone: verify again.

    """
    current = accounts.credentials(tx, name)
    if current is None or (current.id, current.password_hash) != (
        verified.id,
        verified.password_hash,
    ):
        return None
    if new_hash is not None:
        tx.run(accounts.PUT_HASH, bucket=current.bucket, id=current.id, hash=new_hash)
    id_ = units.new_id()
    tx.run(START, bucket=current.bucket, account_id=current.id, id=id_, now=now)
    return id_, current


END_ALL = """
UPDATE sign_ins SET ended_at = :now WHERE bucket = :bucket AND account_id = :account_id AND ended_at IS NULL
RETURNING id
"""


def end_all(tx: Transaction, account_id: str, now: int) -> list[str]:
    """End every sign-in of an account; returns their ids, for ``SignIns.forget``."""
    bucket = units.bucket_of(account_id, tx.buckets)
    return [row[0] for row in tx.all(END_ALL, bucket=bucket, account_id=account_id, now=now)]


ENDED = "SELECT id FROM sign_ins WHERE ended_at >= :since"


def ended(tx: Transaction, since: int) -> set[str]:
    """The sign-ins that have ended since then (milliseconds since 1970)."""
    return {row[0] for row in tx.all(ENDED, since=since)}


class SignIns:
    """What one worker knows of sign-ins: tokens it has verified, and sign-ins that have ended."""

    def __init__(self, database: Database, keys: Keys, buckets: int) -> None:
        self.keys = keys
        self._database = database
        self._buckets = buckets
        self._verified: dict[str, tuple[Caller, int]] = {}
        self._ended: set[str] = set()
        self._looked = time.monotonic()

    def caller(self, token: str) -> Caller:
        """Whose token it is.

        Raises:
            NotSignedIn: it is not valid (any more).
            Unavailable: this worker cannot tell which sign-ins have ended.

        """
        known = self._verified.get(token)
        if known is None:
            known = self.keys.verify(token, self._buckets)
            if len(self._verified) >= REMEMBERED:
                self._verified.clear()
            self._verified[token] = known
        caller, expires = known
        if time.time() >= expires:
            del self._verified[token]
            raise NotSignedIn("The token has expired. Sign in again.")
        if caller.sign_in in self._ended:
            raise NotSignedIn("This sign-in has ended. Sign in again.")
        if time.monotonic() - self._looked > BLIND_AFTER:
            raise Unavailable("Sign-ins cannot be checked right now. Try again.", retry_after=2)
        return caller

    def forget(self, sign_ins: list[str]) -> None:
        """Refuse these sign-ins' tokens from now on."""
        self._ended.update(sign_ins)

    async def look(self) -> None:
        """Read which sign-ins have ended."""
        since = int(time.time() * 1000) - (LIFETIME + 60) * 1000
        before = set(self._ended)
        found = await self._database.read(ended, since)
        self._ended = found | (self._ended - before)  # what was forgotten while we looked stays
        self._looked = time.monotonic()

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self.look()
            except Unavailable as fault:
                log.warning("sign-ins not checked", reason=fault.detail)
