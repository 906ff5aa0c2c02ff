"""A server's background work after an erasure.

It appends the id to the erasure log, deletes the remaining sessions, and vacuums the database's files.
"""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from seneca.database import Database
from seneca.errors import CommandError, ServiceUnavailable
from seneca.privacy import erasure, erasure_log, vacuum

POLL_SECONDS: Final = 30.0
FIRST_BACKOFF_SECONDS: Final = 5.0  # before a failed vacuum is retried; doubled after each further failure
MAX_BACKOFF_SECONDS: Final = 600.0
MAX_WAIT_SECONDS: Final = 2.0  # for the vacuum, before a response is sent

log = structlog.get_logger()


class ErasureWorker:
    """Finishes erasures: those of this process at once, and those that another process or a crash left unfinished.

    Args:
        database: the database.
        file: the erasure log.
        vacuum_interval: minimum seconds between rewrites of the database's file.

    """

    def __init__(self, database: Database, file: Path, vacuum_interval: int) -> None:
        self._database = database
        self._file = file
        self._vacuum_interval_ms = vacuum_interval * 1000
        self._is_log_complete = True
        self._in_progress: set[str] = set()
        self._requested_vacuums = 0
        self._finished_vacuums = 0
        self._backoff = 0.0
        self._retry_at = 0.0
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()

    async def finish_erasure(self, account_id: str, erased_at: int, *, is_complete: bool) -> None:
        """Finish a committed erasure.

        Return once the account is deleted from the database and vacuumed from its files. If the vacuum takes longer than
        ``MAX_WAIT_SECONDS``, or has just failed, it happens in the background.

        Raises:
            ServiceUnavailable: the database was busy for a minute. The erasure goes on in the background.

        """
        try:
            await asyncio.to_thread(erasure_log.append, self._file, [(account_id, erased_at)])
        except OSError as error:
            self._is_log_complete = False
            log.warning("erasure log not written", reason=error.strerror)
        if not is_complete:
            self._in_progress.add(account_id)
            try:
                await erasure.finish(self._database, account_id)
            finally:
                self._in_progress.discard(account_id)
        self._requested_vacuums += 1
        request = self._requested_vacuums
        self._wake.set()
        if time.monotonic() < self._retry_at:
            return
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._finished_vacuums >= request)
        except TimeoutError:
            log.warning("vacuum not finished after 2 s, continuing in the background")

    async def run(self) -> None:
        """Finish erasures periodically and on request, until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._finish()
            except (ServiceUnavailable, CommandError) as error:
                log.warning("erasure not finished, retrying later", reason=error.detail)
            except Exception:  # the loop must go on, because later erasures wait for it
                log.exception("unhandled exception")
            delay = POLL_SECONDS
            if self._backoff:
                delay = min(delay, max(0.0, self._retry_at - time.monotonic()) + 0.01)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wake.wait()

    async def _finish(self) -> None:
        requested = self._requested_vacuums
        if not self._is_log_complete:
            await asyncio.to_thread(erasure_log.complete, self._database, self._file)
            self._is_log_complete = True
        for account_id in await self._database.scan(erasure.unfinished):
            if account_id not in self._in_progress:
                await erasure.finish(self._database, account_id)
        if time.monotonic() < self._retry_at:
            return
        self._set_backoff()  # reset below if the vacuum succeeds
        await vacuum.run_vacuum(self._database, interval=self._vacuum_interval_ms, now=time.time_ns() // 1_000_000)
        self._backoff = self._retry_at = 0.0
        async with self._changed:
            self._finished_vacuums = requested
            self._changed.notify_all()

    def _set_backoff(self) -> None:
        """Set the time before which a failed vacuum is not retried."""
        self._backoff = min(max(2 * self._backoff, FIRST_BACKOFF_SECONDS), MAX_BACKOFF_SECONDS)
        self._retry_at = time.monotonic() + self._backoff
