"""Whose token is it, and is it still good? Answered from memory.

No request asks the database whether its token is still good. Each worker reads, every two seconds,
which sign-ins have ended in the last token's lifetime (all of them, since a commit may be late), and
refuses those. A worker that could not look for five seconds refuses every token until it can.
"""

import asyncio
import time
from typing import Final

import structlog

from seneca.database import Database
from seneca.errors import Unauthenticated, Unavailable
from seneca.signins import recording
from seneca.tokens import LIFETIME, Caller, Keys, Verified

LOOK_EVERY: Final = 2.0  # seconds
BLIND_AFTER: Final = 5.0  # seconds
REMEMBERED: Final = 20_000  # verified tokens a worker

log = structlog.get_logger()


class SignIns:
    """What one worker knows of sign-ins: tokens it has verified, and sign-ins that have ended."""

    def __init__(self, database: Database, keys: Keys, buckets: int) -> None:
        self.keys = keys
        self._database = database
        self._buckets = buckets
        self._verified: dict[str, Verified] = {}
        self._ended: set[str] = set()
        self._not_before = 0
        self._looked = time.monotonic()

    def caller(self, token: str) -> Caller:
        """Whose token it is.

        Raises:
            Unauthenticated: it is not valid (any more).
            Unavailable: this worker cannot tell which sign-ins have ended.

        """
        known = self._verified.get(token)
        if known is None:
            known = self.keys.verify(token, self._buckets)
            if len(self._verified) >= REMEMBERED:
                self._verified.clear()
            self._verified[token] = known
        caller = known.caller
        if time.time() >= known.expires:
            del self._verified[token]
            raise Unauthenticated("token-expired", account=caller.id)
        if caller.sign_in in self._ended or known.issued <= self._not_before:
            raise Unauthenticated("signed-out", account=caller.id)
        if time.monotonic() - self._looked > BLIND_AFTER:
            raise Unavailable("Sign-ins cannot be checked right now. Try again.", retry_after=2, account=caller.id)
        return caller

    def forget(self, sign_ins: list[str]) -> None:
        """Refuse these sign-ins' tokens from now on."""
        self._ended.update(sign_ins)

    async def look(self) -> None:
        """Read which sign-ins have ended."""
        since = int(time.time() * 1000) - (LIFETIME + 60) * 1000
        before = set(self._ended)
        found, self._not_before = await self._database.read(recording.ended, since)
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
            except Exception:  # whatever it was: who stops looking refuses every token for ever
                log.exception("bug")
