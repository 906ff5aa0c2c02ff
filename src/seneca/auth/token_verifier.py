"""Whose token is it, and is it still good? Answered from memory.

No request asks the database whether its token is still good. Each worker reads, every two seconds, which sign-ins have
ended since it last did so, and some before that, since a commit may be late; every minute, on another thread, all that have
ended in a token's lifetime. It refuses those, and tokens of another generation than the database's (a restore begins one).
A worker that could not read for five seconds refuses every token until it can.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from seneca.auth import sign_ins as auth_sign_ins
from seneca.auth.access_tokens import ACCESS_TOKEN_TTL_SECONDS, Caller, SigningKeys, VerifiedToken
from seneca.database import Database
from seneca.errors import ServiceUnavailable, Unauthenticated

POLL_SECONDS: Final = 2.0  # seconds
MAX_STALENESS_SECONDS: Final = 5.0  # seconds
OVERLAP_MS: Final = 60_000  # read again each time: a commit may be late, and servers' clocks differ
READ_ALL_SECONDS: Final = 60.0
MAX_VERIFIED_TOKENS: Final = 20_000  # verified tokens a worker

log = structlog.get_logger()


class TokenVerifier:
    """What one worker knows of sign-ins: tokens it has verified, and sign-ins that have ended."""

    def __init__(self, database: Database, keys: SigningKeys, buckets: int) -> None:
        self.keys = keys
        self._database = database
        self._buckets = buckets
        self._verified: dict[str, VerifiedToken] = {}
        self._ended: list[set[str]] = [set()]  # what the last reading of all found, what was added since
        self._read_until: int | None = None  # milliseconds since 1970
        self._generation = ""
        self._newer: dict[str, float] = {}
        """Generations that are newer than this worker's, and when a token of each came first."""
        self._wake = asyncio.Event()
        self._looked = self._began_to_look = time.monotonic()

    def verify(self, token: str) -> Caller:
        """Whose token it is.

        Raises:
            Unauthenticated: it is not valid (any more).
            ServiceUnavailable: this worker cannot tell which sign-ins have ended.

        """
        known = self._verified.get(token)
        if known is None:
            known = self.keys.verify(token, self._buckets)
            if len(self._verified) >= MAX_VERIFIED_TOKENS:
                self._verified.clear()
            self._verified[token] = known
        caller = known.caller
        if time.time() >= known.expires:
            del self._verified[token]
            raise Unauthenticated("token-expired", account=caller.id)
        if self._has_ended(caller.sign_in) or not self._is_current(known.generation):
            raise Unauthenticated("signed-out", account=caller.id)
        if time.monotonic() - self._looked > MAX_STALENESS_SECONDS:
            raise ServiceUnavailable(
                "Sign-ins cannot be checked right now. Try again.", retry_after=2, account=caller.id
            )
        return caller

    def _is_current(self, generation: str) -> bool:
        """Whether tokens of this generation are good.

        Raises:
            ServiceUnavailable: it is newer than this worker's, which has not looked since: it does so at once.

        """
        if generation > self._generation:
            first_seen = self._newer.setdefault(generation, time.monotonic())
            if first_seen >= self._began_to_look:
                self._wake.set()
                raise ServiceUnavailable("Sign-ins cannot be checked right now. Try again.", retry_after=1)
        return generation == self._generation

    def accept_generation(self, generation: str) -> None:
        """Accept tokens of this generation, of which the database has just begun or refreshed a sign-in."""
        self._generation = max(self._generation, generation)

    def revoke(self, sign_ins: list[str]) -> None:
        """Refuse these sign-ins' tokens from now on."""
        self._ended[-1].update(sign_ins)

    def _has_ended(self, sign_in: str) -> bool:
        return any(sign_in in ended for ended in self._ended)

    async def refresh_revocations(self) -> None:
        """Read which sign-ins have ended since the last time; the first time, all that have."""
        if self._read_until is None:
            await self.reload_revocations()
            return
        began, now = time.monotonic(), _now()
        since = min(self._read_until, now) - OVERLAP_MS  # the earlier of both: the clock may have been set
        ended, self._generation = await self._database.poll(auth_sign_ins.ended, since)
        self._ended[-1].update(ended)
        self._read_until = now
        self._looked = self._began_to_look = began

    def load_revocations(self) -> None:
        """As ``read_all``, before this worker answers anybody.

        Raises:
            ServiceUnavailable: the database cannot be used now.

        """
        began, now = time.monotonic(), _now()
        with self._database.read_transaction() as tx:
            ended, generation = auth_sign_ins.ended_in_all(tx, _since(now))
        self._replace(ended, generation, 0, began, now)

    async def reload_revocations(self) -> None:
        """Read which sign-ins have ended of which a token may still be good, and let go of all others."""
        began, now = time.monotonic(), _now()
        superseded = len(self._ended)
        self._ended.append(set())
        ended, generation = await self._database.scan(auth_sign_ins.ended_in_all, _since(now))
        self._replace(ended, generation, superseded, began, now)

    def _replace(self, ended: set[str], generation: str, superseded: int, began: float, now: int) -> None:
        self._ended = [ended, *self._ended[superseded:]]
        self._generation = max(self._generation, generation)
        self._read_until = max(self._read_until or 0, now)
        self._looked = max(self._looked, began)

    async def run(self) -> None:
        """Look again and again, until cancelled; at once where a token of a newer generation has come."""
        await _repeat(self.refresh_revocations, POLL_SECONDS, self._wake)

    async def run_reload(self) -> None:
        """Read all again and again, until cancelled."""
        await _repeat(self.reload_revocations, READ_ALL_SECONDS, asyncio.Event())


def _since(now: int) -> int:
    """The moment since when a sign-in must have ended for one of its tokens to be good otherwise."""
    return now - (ACCESS_TOKEN_TTL_SECONDS + 60) * 1000


def _now() -> int:
    return time.time_ns() // 1_000_000


async def _repeat(read: Callable[[], Awaitable[None]], seconds: float, wake: asyncio.Event) -> None:
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()
        wake.clear()
        try:
            await read()
        except ServiceUnavailable as fault:
            log.warning("sign-ins not checked", reason=fault.detail)
        except Exception:  # whatever it was: who stops reading refuses every token from then on
            log.exception("unhandled exception")
