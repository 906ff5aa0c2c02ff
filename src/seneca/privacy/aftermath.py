"""What follows an erasure in a server: the id goes to the file outside, and what was erased out of the database's files."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from seneca.database import Database
from seneca.errors import Unavailable, Unusable
from seneca.privacy import outside, scouring

LOOK_EVERY: Final = 30.0  # seconds
AGAIN: Final = 5.0  # seconds until what failed is tried again
ANSWER_WITHIN: Final = 2.0  # seconds that an answer waits for it

log = structlog.get_logger()


class Aftermath:
    """Cares for what follows erasures: this worker's at once, and whatever another one, or a crash, left undone.

    Args:
        database: where accounts are erased.
        file: outside it, the ids of those that were.

    """

    def __init__(self, database: Database, file: Path) -> None:
        self._database = database
        self._file = file
        self._is_complete = True
        self._asked = 0
        self._done = 0
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()

    async def of(self, account_id: str, erased_at: int) -> None:
        """Finish an erasure that is committed. Returns when that is done, or has taken two seconds and goes on."""
        try:
            await asyncio.to_thread(outside.append, self._file, [(account_id, erased_at)])
        except OSError as error:
            self._is_complete = False
            log.warning("erased accounts not noted outside the database", reason=error.strerror)
        self._asked += 1
        mine = self._asked
        self._wake.set()
        try:
            async with asyncio.timeout(ANSWER_WITHIN), self._changed:
                await self._changed.wait_for(lambda: self._done >= mine)
        except TimeoutError:
            log.warning("what was erased is still in the database's files; it goes on")

    async def watch(self) -> None:
        """Finish what is unfinished, again and again, until cancelled."""
        while True:
            self._wake.clear()
            asked = self._asked
            try:
                await self._finish()
            except (Unavailable, Unusable) as fault:
                log.warning("what was erased is still in the database's files, or not noted", reason=fault.detail)
            except Exception:  # whatever it was: the next erasure must not wait for nobody
                log.exception("bug")
            else:
                async with self._changed:
                    self._done = asked
                    self._changed.notify_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY if self._done == asked else AGAIN):
                    await self._wake.wait()

    async def _finish(self) -> None:
        if not self._is_complete:
            await asyncio.to_thread(outside.complete, self._database, self._file)
            self._is_complete = True
        await scouring.scour(self._database)
