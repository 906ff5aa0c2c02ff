"""How far a backfill is, as lines of text for the operator: of how many rows, and how fast."""

import time
from collections.abc import Callable
from typing import Final

LINE_SECONDS: Final = 5.0


class ProgressLines:
    """A progress callback that emits a line from time to time, and one at the end.

    Args:
        emit: receives each line.
        seconds: at least this long after the line before.

    """

    def __init__(self, emit: Callable[[str], object], seconds: float = LINE_SECONDS) -> None:
        self._emit = emit
        self._seconds = seconds
        self._step = ""
        self._start = self._last = 0.0
        self._first = 0

    def __call__(self, step: str, done: int, total: int | None) -> None:
        """Report the name of the step, how much of it is done, and its total."""
        now = time.monotonic()
        if step != self._step:
            self._step, self._start, self._last, self._first = step, now, now, done
        if total and (done == total or now - self._last >= self._seconds):
            self._last = now
            rate = f", {(done - self._first) / (now - self._start):,.0f} per second" if done > self._first else ""
            self._emit(f"{step}: {done:,} of {total:,}{rate}.")
