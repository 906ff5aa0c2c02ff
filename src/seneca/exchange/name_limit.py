"""Enforce the limit on the distinct module names of a course, over all batches of an import."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from seneca.database import Transaction
from seneca.exchange.session_lines import SessionRecord
from seneca.stats import course_names
from seneca.stats.course_names import MAX_NAMES

LIMIT_MESSAGE: Final = f"modulesStats: a course holds results under at most {MAX_NAMES:,} distinct module names"


class CourseNameLimit:
    """The number of module names of each course during an import, which has exclusive write access."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._counts: dict[str, int] = {}

    def enforce(self, sessions: Sequence[SessionRecord], reject: Callable[[int, str], object]) -> list[SessionRecord]:
        """Return the sessions that keep their course within the limit, and reject the others."""
        names_by_course: defaultdict[str, set[str]] = defaultdict(set)
        for session in sessions:
            names_by_course[session.row.course_id].update(result.module_name for result in session.results)
        full = {
            course_id: course_names.all_of(self._tx, course_id)
            for course_id, names in names_by_course.items()
            if self._count(course_id) + len(names) > MAX_NAMES
        }
        return [session for session in sessions if self._fits(session, full.get(session.row.course_id), reject)]

    @staticmethod
    def _fits(session: SessionRecord, known: set[str] | None, reject: Callable[[int, str], object]) -> bool:
        """Whether the course stays within the limit with a session's names; if so, add them to ``known``."""
        if known is None:
            return True
        new = {result.module_name for result in session.results} - known
        if new and len(known) + len(new) > MAX_NAMES:
            reject(session.number, LIMIT_MESSAGE)
            return False
        known |= new
        return True

    def _count(self, course_id: str) -> int:
        if course_id not in self._counts:
            self._counts[course_id] = course_names.count(self._tx, course_id)
        return self._counts[course_id]

    def add(self, new: Mapping[str, int]) -> None:
        """Add the numbers of names that were new to their courses."""
        for course_id, count in new.items():
            self._counts[course_id] = self._count(course_id) + count
