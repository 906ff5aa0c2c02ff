"""Hold an import to the bound on a course's distinct module names, over all of its batches."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from seneca.database import Transaction
from seneca.exchange.records import Session
from seneca.stats import course_names
from seneca.stats.course_names import MAX_NAMES

REASON: Final = f"modulesStats: a course holds results under at most {MAX_NAMES:,} distinct module names"


class CourseNameLimit:
    """How many names each course has while an import runs, beside which nobody else writes."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._counts: dict[str, int] = {}

    def fitting(self, sessions: Sequence[Session], refuse: Callable[[int, str], object]) -> list[Session]:
        """Those of a batch that leave their course with no more names than it may have; the others are refused."""
        given: defaultdict[str, set[str]] = defaultdict(set)
        for session in sessions:
            given[session.course_id].update(result[0] for result in session.results)
        full = {
            course_id: course_names.all_of(self._tx, course_id)
            for course_id, names in given.items()
            if self._count(course_id) + len(names) > MAX_NAMES
        }
        return [session for session in sessions if self._fits(session, full.get(session.course_id), refuse)]

    @staticmethod
    def _fits(session: Session, known: set[str] | None, refuse: Callable[[int, str], object]) -> bool:
        """Whether a session's names fit beside those that its course has, which they then join."""
        if known is None:
            return True
        new = {result[0] for result in session.results} - known
        if new and len(known) + len(new) > MAX_NAMES:
            refuse(session.number, REASON)
            return False
        known |= new
        return True

    def _count(self, course_id: str) -> int:
        if course_id not in self._counts:
            self._counts[course_id] = course_names.count(self._tx, course_id)
        return self._counts[course_id]

    def add(self, new: Mapping[str, int]) -> None:
        """Count names that were new to their courses."""
        for course_id, count in new.items():
            self._counts[course_id] = self._count(course_id) + count
