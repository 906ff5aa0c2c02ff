"""Verification of access tokens from memory, including whether their sign-in has ended.

No request queries the database for this. Instead each worker polls the revocations: every two seconds the recent ones,
overlapping the previous poll because a commit may become visible late, and every minute, on another thread, all within a
token's lifetime. It rejects the tokens of those sign-ins, and tokens of another generation than the database's (a restore
starts a new one). A worker that could not poll for five seconds rejects every token until it can.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from seneca.auth import access_tokens, sign_ins
from seneca.auth.access_tokens import VerifiedToken
from seneca.auth.caller import ACCESS_TOKEN_TTL_SECONDS, Caller
from seneca.auth.signing_keys import SigningKeys
from seneca.database import Database
from seneca.errors import ServiceUnavailable, Unauthenticated

POLL_SECONDS: Final = 2.0
MAX_STALENESS_SECONDS: Final = 5.0
OVERLAP_MS: Final = 60_000  # of successive polls: a commit may become visible late, and servers' clocks differ
RELOAD_SECONDS: Final = 60.0
MAX_VERIFIED_TOKENS: Final = 20_000  # in each worker's cache

log = structlog.get_logger()


class TokenVerifier:
    """One worker's caches of verified tokens and of ended sign-ins."""

    def __init__(self, database: Database, keys: SigningKeys, buckets: int) -> None:
        self.keys = keys
        self._database = database
        self._buckets = buckets
        self._verified: dict[str, VerifiedToken] = {}
        self._ended: list[set[str]] = [set()]  # the result of the last reload, and what was added since it began
        self._read_until: int | None = None  # milliseconds since 1970
        self._generation = ""
        self._newer: dict[str, float] = {}
        """Generations newer than this worker's, and when the first token of each arrived."""
        self._wake = asyncio.Event()
        self._fresh_at = self._polled_at = time.monotonic()

    def verify(self, token: str) -> Caller:
        """Verify a token, and that its sign-in has not ended.

        Raises:
            Unauthenticated: the token is invalid or expired, or its sign-in has ended.
            ServiceUnavailable: this worker's list of ended sign-ins is out of date.

        """
        verified = self._verified.get(token)
        if verified is None:
            verified = access_tokens.verify(self.keys, token, self._buckets)
            if len(self._verified) >= MAX_VERIFIED_TOKENS:
                self._verified.clear()
            self._verified[token] = verified
        caller = verified.caller
        if time.time() >= verified.expires:
            del self._verified[token]
            raise Unauthenticated("token-expired", account=caller.id)
        if self._has_ended(caller.sign_in) or not self._is_current(verified.generation):
            raise Unauthenticated("signed-out", account=caller.id)
        if time.monotonic() - self._fresh_at > MAX_STALENESS_SECONDS:
            raise ServiceUnavailable(
                "Sign-ins cannot be checked right now. Try again.", retry_after=2, account=caller.id
            )
        return caller

    def _is_current(self, generation: str) -> bool:
        """Whether this is the database's token generation.

        Raises:
            ServiceUnavailable: it is newer than this worker's, which has not polled since and now does so at once.

        """
        if generation > self._generation:
            first_seen = self._newer.setdefault(generation, time.monotonic())
            if first_seen >= self._polled_at:
                self._wake.set()
                raise ServiceUnavailable("Sign-ins cannot be checked right now. Try again.", retry_after=1)
        return generation == self._generation

    def accept_generation(self, generation: str) -> None:
        """Accept tokens of this generation, with which the database has just started or refreshed a sign-in."""
        self._generation = max(self._generation, generation)

    def revoke(self, sign_in_ids: list[str]) -> None:
        """Reject the tokens of these sign-ins from now on."""
        self._ended[-1].update(sign_in_ids)

    def _has_ended(self, sign_in: str) -> bool:
        return any(sign_in in ended for ended in self._ended)

    async def refresh_revocations(self) -> None:
        """Read the sign-ins that ended since the last poll; the first time, all of them."""
        if self._read_until is None:
            await self.reload_revocations()
            return
        started_at, now = time.monotonic(), _now_ms()
        since = min(self._read_until, now) - OVERLAP_MS  # the earlier of the two, in case the clock was set back
        ended, self._generation = await self._database.poll(sign_ins.ended, since)
        self._ended[-1].update(ended)
        self._read_until = now
        self._fresh_at = self._polled_at = started_at

    def load_revocations(self) -> None:
        """Do what ``reload_revocations`` does, synchronously, before this worker accepts requests.

        Raises:
            ServiceUnavailable: the database is not available.

        """
        started_at, now = time.monotonic(), _now_ms()
        with self._database.read_transaction() as tx:
            ended, generation = sign_ins.stream_ended(tx, _since(now))
        self._replace(ended, generation, 0, started_at, now)

    async def reload_revocations(self) -> None:
        """Read all ended sign-ins that may still have an unexpired token, and drop all others from memory."""
        started_at, now = time.monotonic(), _now_ms()
        superseded = len(self._ended)
        self._ended.append(set())
        ended, generation = await self._database.scan(sign_ins.stream_ended, _since(now))
        self._replace(ended, generation, superseded, started_at, now)

    def _replace(self, ended: set[str], generation: str, superseded: int, started_at: float, now: int) -> None:
        self._ended = [ended, *self._ended[superseded:]]
        self._generation = max(self._generation, generation)
        self._read_until = max(self._read_until or 0, now)
        self._fresh_at = max(self._fresh_at, started_at)

    async def run(self) -> None:
        """Poll until cancelled; immediately, when a token of a newer generation has arrived."""
        await _repeat(self.refresh_revocations, POLL_SECONDS, self._wake)

    async def run_reload(self) -> None:
        """Reload everything periodically, until cancelled."""
        await _repeat(self.reload_revocations, RELOAD_SECONDS, asyncio.Event())


def _since(now: int) -> int:
    """The time since which a sign-in must have ended to still have an unexpired token."""
    return now - (ACCESS_TOKEN_TTL_SECONDS + 60) * 1000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _repeat(read: Callable[[], Awaitable[None]], seconds: float, wake: asyncio.Event) -> None:
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()
        wake.clear()
        try:
            await read()
        except ServiceUnavailable as error:
            log.warning("sign-ins not checked", reason=error.detail)
        except Exception:  # the loop must go on: a worker that stops polling rejects every token
            log.exception("unhandled exception")
