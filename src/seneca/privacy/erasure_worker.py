"""What follows an erasure in a server.

The rest of what was recorded goes, the id goes to the file outside, and what was erased goes out of the database's files.
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

POLL_SECONDS: Final = 30.0  # seconds
FIRST_PAUSE_SECONDS: Final = 5.0  # seconds until what failed is tried again; then twice as long each time
MAX_PAUSE_SECONDS: Final = 600.0
MAX_WAIT_SECONDS: Final = 2.0  # seconds that an answer waits for the files

log = structlog.get_logger()


class ErasureWorker:
    """Cares for what follows erasures: this worker's at once, and whatever another one, or a crash, left undone.

    Args:
        database: where accounts are erased.
        file: outside it, the ids of those that were.
        vacuum_interval: seconds between two times that the database's file is rewritten.

    """

    def __init__(self, database: Database, file: Path, vacuum_interval: int) -> None:
        self._database = database
        self._file = file
        self._vacuum_interval = vacuum_interval * 1000
        self._is_complete = True
        self._under_way: set[str] = set()
        self._asked = 0
        self._done = 0
        self._pause = 0.0
        self._retry_at = 0.0
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()

    async def of(self, account_id: str, erased_at: int, *, is_complete: bool) -> None:
        """Finish an erasure that has begun, and is committed.

        Returns when nothing of the account is left in the database, and it is out of the files, too, or that has taken two
        seconds and goes on, or is put off since it has failed lately.

        Raises:
            ServiceUnavailable: the database has been busy for a minute. It goes on by itself.

        """
        try:
            await asyncio.to_thread(erasure_log.append, self._file, [(account_id, erased_at)])
        except OSError as error:
            self._is_complete = False
            log.warning("erased accounts not noted outside the database", reason=error.strerror)
        if not is_complete:
            self._under_way.add(account_id)
            try:
                await erasure.finish(self._database, account_id)
            finally:
                self._under_way.discard(account_id)
        self._asked += 1
        mine = self._asked
        self._wake.set()
        if time.monotonic() < self._retry_at:
            return
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._done >= mine)
        except TimeoutError:
            log.warning("what was erased is still in the database's files; it goes on")

    async def run(self) -> None:
        """Finish what is unfinished, again and again, until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._finish()
            except (ServiceUnavailable, CommandError) as fault:
                log.warning("what was erased is still in the database's files, or not noted", reason=fault.detail)
            except Exception:  # whatever it was: the next erasure must not wait for nobody
                log.exception("unhandled exception")
            delay = POLL_SECONDS
            if self._pause:
                delay = min(delay, max(0.0, self._retry_at - time.monotonic()) + 0.01)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wake.wait()

    async def _finish(self) -> None:
        asked = self._asked
        if not self._is_complete:
            await asyncio.to_thread(erasure_log.complete, self._database, self._file)
            self._is_complete = True
        for account_id in await self._database.scan(erasure.unfinished):
            if account_id not in self._under_way:
                await erasure.finish(self._database, account_id)
        if time.monotonic() < self._retry_at:
            return
        self._put_off()
        await vacuum.run_vacuum(self._database, interval=self._vacuum_interval, now=time.time_ns() // 1_000_000)
        self._pause = self._retry_at = 0.0
        async with self._changed:
            self._done = asked
            self._changed.notify_all()

    def _put_off(self) -> None:
        """Say when the files are to be tried again, if that fails now."""
        self._pause = min(max(2 * self._pause, FIRST_PAUSE_SECONDS), MAX_PAUSE_SECONDS)
        self._retry_at = time.monotonic() + self._pause
