"""Whose token is it, and is it still good? Answered from memory.

No request asks the database whether its token is still good. Each worker reads, every two seconds,
which sign-ins have ended in the last token's lifetime (all of them, since a commit may be late), and
refuses those, and tokens of another generation than the database's (a restore begins one). A worker that could not look for
five seconds refuses every token until it can.
"""

import asyncio
import time
from contextlib import suppress
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
        self._generation = ""
        self._newer: dict[str, float] = {}
        """Generations that are newer than this worker's, and when a token of each came first."""
        self._wake = asyncio.Event()
        self._looked = self._began_to_look = time.monotonic()

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
        if caller.sign_in in self._ended or not self._is_current(known.generation):
            raise Unauthenticated("signed-out", account=caller.id)
        if time.monotonic() - self._looked > BLIND_AFTER:
            refusal = Unavailable("Sign-ins cannot be checked right now. Try again.", retry_after=2)
            refusal.account = caller.id
            raise refusal
        return caller

    def _is_current(self, generation: str) -> bool:
        """Whether tokens of this generation are good.

        Raises:
            Unavailable: it is newer than this worker's, which has not looked since: it does so at once.

        """
        if generation > self._generation:
            first_seen = self._newer.setdefault(generation, time.monotonic())
            if first_seen >= self._began_to_look:
                self._wake.set()
                raise Unavailable("Sign-ins cannot be checked right now. Try again.", retry_after=1)
        return generation == self._generation

    def learn(self, generation: str) -> None:
        """Accept tokens of this generation, of which the database has just begun or refreshed a sign-in."""
        self._generation = max(self._generation, generation)

    def forget(self, sign_ins: list[str]) -> None:
        """Refuse these sign-ins' tokens from now on."""
        self._ended.update(sign_ins)

    async def look(self) -> None:
        """Read which sign-ins have ended."""
        since = int(time.time() * 1000) - (LIFETIME + 60) * 1000
        before, began = set(self._ended), time.monotonic()
        found, self._generation = await self._database.poll(recording.ended, since)
        self._ended = found | (self._ended - before)  # what was forgotten while we looked stays
        self._looked, self._began_to_look = time.monotonic(), began

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.look()
            except Unavailable as fault:
                log.warning("sign-ins not checked", reason=fault.detail)
            except Exception:  # whatever it was: who stops looking refuses every token for ever
                log.exception("bug")
