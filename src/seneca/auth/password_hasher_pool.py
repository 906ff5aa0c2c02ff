"""A worker's pool of threads that hash passwords, with a bounded, fair queue.

The queue serves addresses in round-robin order, and the accounts of one address too: a client that sends many sign-ins delays
only its own.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

from seneca.auth import passwords
from seneca.errors import ServiceUnavailable, TooManyRequests

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

MAX_THREADS: Final = 2
MAX_WAITING: Final = 256
MAX_OF_ACCOUNT: Final = 4  # at one address
MAX_OF_ADDRESS: Final = MAX_WAITING // 2  # enough for several classes behind one address; half stays for all others
MAX_HASHES_OF_ADDRESS: Final = MAX_WAITING // 4  # of new passwords: together with sign-ins they do not fill the queue
RETRY_MS: Final = 1000


class FairQueue:
    """Queued jobs, served round-robin by address, and within an address round-robin by account."""

    def __init__(self) -> None:
        self._addresses: dict[str, dict[str, deque[Any]]] = {}

    def __bool__(self) -> bool:
        return bool(self._addresses)

    def push(self, address: str, account: str, job: object) -> None:
        """Append a job to the queue of its account."""
        self._addresses.setdefault(address, {}).setdefault(account, deque()).append(job)

    def pop(self) -> Any:
        """Remove and return the next job; its account and its address move to the end of the order."""
        address = next(iter(self._addresses))
        accounts = self._addresses.pop(address)
        account = next(iter(accounts))
        jobs = accounts.pop(account)
        job = jobs.popleft()
        if jobs:
            accounts[account] = jobs
        if accounts:
            self._addresses[address] = accounts
        return job


class PasswordHasherPool:
    """Hashes and verifies passwords on threads.

    Args:
        threads: their number. A busy thread uses a core and 19 MiB.

    """

    def __init__(self, threads: int = MAX_THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="seneca-hash")
        self._idle = threads
        self._queue = FairQueue()
        self._waiting = 0
        self._of_account: Counter[tuple[str, str]] = Counter()
        """Counted for each address, so that a flood from elsewhere cannot take the owner's slots."""
        self._of_address: Counter[str] = Counter()
        self._permits: Counter[tuple[str, str]] = Counter()
        self._hashes: Counter[str] = Counter()
        self._dummy_hash = passwords.hash_password("nobody's")

    @contextmanager
    def slot(self, address: str, account: str) -> Iterator["HashingSlot"]:
        """Reserve a slot for a sign-in whose password is to be verified.

        Args:
            address: the client's network address.
            account: the comparison key of the name.

        Raises:
            TooManyRequests: too many sign-ins of this account at this address, or of this address, are in progress.
            ServiceUnavailable: too many sign-ins are in progress in all.

        """
        if self._of_account[address, account] >= MAX_OF_ACCOUNT or self._of_address[address] >= MAX_OF_ADDRESS:
            raise TooManyRequests(RETRY_MS)
        with self._counted(address, account):
            yield HashingSlot(self, address, account)

    @contextmanager
    def permit(self, address: str, account: str) -> Iterator[None]:
        """Limit how many sign-ins of an account at an address the database counts at the same time, before they get a slot.

        The accounts of one address do not affect each other here.

        Raises:
            TooManyRequests: too many sign-ins of this account at this address are being counted.

        """
        if self._permits[address, account] >= MAX_OF_ACCOUNT:
            raise TooManyRequests(RETRY_MS)
        _change(self._permits, (address, account), 1)
        try:
            yield
        finally:
            _change(self._permits, (address, account), -1)

    async def hash(self, password: str, address: str = "", account: str = "") -> str:
        """Hash a new password on a thread.

        Raises:
            ServiceUnavailable: too many are waiting, of this address or in all.

        """
        self._check_waiting()
        if self._hashes[address] >= MAX_HASHES_OF_ADDRESS:
            raise ServiceUnavailable("Too many new passwords from this address are waiting. Try again.", retry_after=5)
        self._waiting += 1
        _change(self._hashes, address, 1)
        try:
            return await self.run(address, account, passwords.hash_password, password)
        finally:
            self._waiting -= 1
            _change(self._hashes, address, -1)

    async def verify(self, address: str, account: str, stored: str | None, password: str) -> bool:
        """Verify a password on a thread. Without a stored hash, take as long and return False."""
        matches = await self.run(address, account, passwords.verify, stored or self._dummy_hash, password)
        return matches and stored is not None

    async def run(self, address: str, account: str, work: Callable[..., T], *args: str) -> T:
        """Queue a function call, and run it on a thread."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.push(address, account, (future, work, args))
        self._start_next()
        return await future

    def _start_next(self) -> None:
        while self._idle and self._queue:
            future, work, args = self._queue.pop()
            if future.done():  # the client has disconnected
                continue
            self._idle -= 1
            running = future.get_loop().run_in_executor(self._threads, work, *args)
            running.add_done_callback(partial(self._finish, future))

    def _finish(self, future: "asyncio.Future[Any]", running: "asyncio.Future[Any]") -> None:
        self._idle += 1
        self._start_next()
        if running.cancelled():
            future.cancel()
        elif error := running.exception():
            if not future.done():
                future.set_exception(error)
        elif not future.done():
            future.set_result(running.result())

    def _check_waiting(self) -> None:
        if self._waiting >= MAX_WAITING:
            raise ServiceUnavailable("Too many sign-ins are waiting. Try again.", retry_after=5)

    @contextmanager
    def _counted(self, address: str, account: str) -> Iterator[None]:
        self._check_waiting()
        self._add(address, account, 1)
        try:
            yield
        finally:
            self._add(address, account, -1)

    def _add(self, address: str, account: str, number: int) -> None:
        self._waiting += number
        _change(self._of_account, (address, account), number)
        _change(self._of_address, address, number)

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(cancel_futures=True)


def _change(counter: "Counter[K]", key: K, number: int) -> None:
    counter[key] += number
    if not counter[key]:
        del counter[key]


class HashingSlot:
    """A reserved slot of a ``PasswordHasherPool``, for one call at a time."""

    def __init__(self, pool: PasswordHasherPool, address: str, account: str) -> None:
        self._pool = pool
        self._address = address
        self._account = account

    async def hash(self, password: str) -> str:
        """Hash a password on a thread."""
        return await self._pool.run(self._address, self._account, passwords.hash_password, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Verify a password, as ``PasswordHasherPool.verify`` does."""
        return await self._pool.verify(self._address, self._account, stored, password)
