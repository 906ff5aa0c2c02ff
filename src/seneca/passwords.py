"""Passwords: which are acceptable, how they are hashed, how a hash is verified and renewed.

Argon2id with 19 MiB, two passes and one lane (OWASP Password Storage Cheat Sheet). Hashes that the
reference service made are bcrypt; they verify as they did there and are renewed at the next sign-in.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Annotated, Final, TypeVar

import bcrypt
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError
from msgspec import Meta

from seneca import text
from seneca.errors import Invalid, Unavailable

T = TypeVar("T")

NewPassword = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=128,
        pattern=text.NO_NUL,
        extra_json_schema={"format": "password"},
    ),
]
GivenPassword = Annotated[
    str,
    Meta(max_length=1024, pattern=text.NO_NUL, extra_json_schema={"format": "password"}),
]

MOST_THREADS: Final = 2
MOST_WAITING: Final = 256
MOST_KIBIBYTES: Final = 64 * 1024
MOST_PASSES: Final = 5
MOST_LANES: Final = 16
MOST_ROUNDS: Final = 14
BCRYPT_BYTES: Final = 72  # bcrypt never looked further; the library now refuses instead

_ARGON2: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)
_ARGON2ID: Final = re.compile(
    r"\$argon2id\$v=19\$m=[1-9]\d{0,9},t=[1-9]\d{0,9},p=[1-9]\d{0,7}\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{16,}", re.ASCII
)  # the PHC string format
_BCRYPT: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}", re.ASCII)  # 16 bytes of salt


@cache
def _common() -> frozenset[str]:
    """The 30,000 commonest passwords of leaked lists."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"])


def check(password: str, username: str, email: str, field: str = "password") -> None:
    """Refuse a new password that strangers would try first (NIST SP 800-63B, 3.1.1.2).

    Raises:
        Invalid: it is a common one, or the account's own name or address.

    """
    check_common(password, field)
    if text.key(password) in (text.key(username), text.key(email)):
        raise Invalid.field(field, "must not be the username or the email address")


def check_common(password: str, field: str = "password") -> None:
    """Refuse a new password that is a common one. Raises Invalid."""
    if text.key(password) in _common():
        raise Invalid.field(field, "is among the most common passwords")


def hash_password(password: str) -> str:
    """A new Argon2id hash, in the PHC string format."""
    return _ARGON2.hash(password)


def verify(stored: str, password: str) -> bool:
    """Whether the password is the one that was hashed."""
    if _BCRYPT.fullmatch(stored):
        return bcrypt.checkpw(password.encode()[:BCRYPT_BYTES], stored.encode())
    try:
        return _ARGON2.verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return False


def is_current(stored: str) -> bool:
    """Whether the hash was made as we make them today."""
    return stored.startswith("$argon2id$") and not _ARGON2.check_needs_rehash(stored)


def check_hash(stored: str) -> None:
    """Refuse a hash that is not ours to verify, or that would cost too much to.

    Raises:
        ValueError: with the rule that was broken.

    """
    if match := _BCRYPT.fullmatch(stored):
        if not 4 <= int(match[1]) <= MOST_ROUNDS:
            raise ValueError(f"bcrypt's cost must be from 4 to {MOST_ROUNDS}")
        return
    if not _ARGON2ID.fullmatch(stored):
        raise ValueError("must be an argon2id or a bcrypt ($2a$, $2b$, $2y$) hash")
    parameters = extract_parameters(stored)
    if parameters.memory_cost > MOST_KIBIBYTES or parameters.time_cost > MOST_PASSES:
        raise ValueError(f"argon2id may use at most 64 MiB and {MOST_PASSES} passes")
    if parameters.parallelism > MOST_LANES:
        raise ValueError(f"argon2id may use at most {MOST_LANES} lanes")


class Hashery:
    """The threads on which one worker hashes and verifies, and the bounded queue before them.

    Args:
        threads: how many. Each takes a core, and 19 MiB.

    """

    def __init__(self, threads: int = MOST_THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="seneca-hash")
        self._waiting = 0
        self._nobodys = _ARGON2.hash("nobody's")

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """Keep a place in the queue: to be taken before anything is looked up, so that a refusal costs nothing.

        Raises:
            Unavailable: too many wait.

        """
        if self._waiting >= MOST_WAITING:
            raise Unavailable("Too many sign-ins are waiting. Try again.", retry_after=5)
        self._waiting += 1
        try:
            yield Place(self._threads, self._nobodys)
        finally:
            self._waiting -= 1

    async def hash(self, password: str) -> str:
        """As ``hash_password``, on a thread. Raises Unavailable when too many wait."""
        with self.place() as place:
            return await place.hash(password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """As ``Place.verify``. Raises Unavailable when too many wait."""
        with self.place() as place:
            return await place.verify(stored, password)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)


class Place:
    """A place in the queue of a ``Hashery``, for one thing after the other."""

    def __init__(self, threads: ThreadPoolExecutor, nobodys: str) -> None:
        self._threads = threads
        self._nobodys = nobodys

    async def hash(self, password: str) -> str:
        """As ``hash_password``, on a thread."""
        return await self._run(hash_password, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """As ``verify``, on a thread. Without a stored hash it takes as long and says no."""
        matches = await self._run(verify, stored or self._nobodys, password)
        return matches and stored is not None

    async def _run(self, work: Callable[..., T], *given: str) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)
