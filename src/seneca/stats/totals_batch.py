"""Bulk updates of totals and module names: the changes by many sessions are summed up and written together."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import asdict

from seneca.database import Transaction
from seneca.sessions.rows import SessionRow
from seneca.stats import course_names
from seneca.stats.tables import COURSE_NAMES, COURSE_TOTALS, LEARNER_NAMES, LEARNER_TOTALS
from seneca.stats.totals import LearnerCourse, TotalsChange


class TotalsBatch:
    """The change of totals by added and removed sessions of one bucket's learners.

    Args:
        bucket: the learners' bucket.

    """

    def __init__(self, bucket: int) -> None:
        self._bucket = bucket
        self._change = TotalsChange()
        self._names: defaultdict[LearnerCourse, Counter[str]] = defaultdict(Counter)

    def add(self, session: SessionRow, names: Iterable[str]) -> None:
        """Add a session, and one more result under each name."""
        self._change.add(session)
        self._names[LearnerCourse.of(session)].update(names)

    def subtract(self, session: SessionRow, names: Iterable[str]) -> None:
        """Subtract a session, and one result under each name."""
        self._change.subtract(session)
        self._names[LearnerCourse.of(session)].subtract(Counter(names))

    def write(self, tx: Transaction) -> dict[str, int]:
        """Write the change of the sessions, which is stored already; returns the change in each course's number of names."""
        learners = self._write_learner_names(tx)
        gained, lost = self._write_course_names(tx, learners)
        growth = course_names.count_new(tx, self._bucket, gained)
        for course_id, names in lost.items():
            growth[course_id] = growth.get(course_id, 0) - course_names.count_gone(tx, self._bucket, course_id, names)
        for learner_course in self._names:
            gains, losses = len(learners.gained[learner_course]), len(learners.lost[learner_course])
            key = asdict(learner_course)
            self._change.add_names(LEARNER_TOTALS, key, names=gains - losses, changes=gains + losses)
        for course_id in {*gained, *lost}:
            key = {"course_id": course_id, "bucket": self._bucket}
            changes = len(gained[course_id]) + len(lost[course_id])
            self._change.add_names(COURSE_TOTALS, key, names=growth.get(course_id, 0), changes=changes)
        self._change.count_learners(tx, is_stored=True)
        self._change.write(tx)
        return growth

    def _write_learner_names(self, tx: Transaction) -> "_LearnerNames":
        """Update the learners' numbers of results under each name, and delete names without results."""
        gained: defaultdict[LearnerCourse, list[str]] = defaultdict(list)
        lost: defaultdict[LearnerCourse, list[str]] = defaultdict(list)
        deltas = [(key, name, delta) for key, names in self._names.items() for name, delta in names.items() if delta]
        stored = tx.insert_many(
            LEARNER_NAMES.add_and_return,
            [
                {**asdict(learner_course), "module_name": name, "results": delta}
                for learner_course, name, delta in deltas
            ],
        )
        for (learner_course, name, delta), row in zip(deltas, stored, strict=True):
            if row[0] == 0:
                lost[learner_course].append(name)
            elif row[0] == delta:  # there were none before
                gained[learner_course].append(name)
        with tx.pipeline():
            for learner_course, names in lost.items():
                tx.execute_later(LEARNER_NAMES.delete_zeros, values=names, **asdict(learner_course))
        return _LearnerNames(gained, lost)

    def _write_course_names(
        self, tx: Transaction, learners: "_LearnerNames"
    ) -> tuple[defaultdict[str, list[str]], defaultdict[str, list[str]]]:
        """Update the numbers of the bucket's learners with each name of a course, and delete names without learners.

        Returns:
            The names that each course gained in this bucket, and those that it lost.

        """
        counts: Counter[tuple[str, str]] = Counter()
        for learner_course, names in learners.gained.items():
            counts.update((learner_course.course_id, name) for name in names)
        for learner_course, names in learners.lost.items():
            counts.subtract((learner_course.course_id, name) for name in names)
        gained: defaultdict[str, list[str]] = defaultdict(list)
        lost: defaultdict[str, list[str]] = defaultdict(list)
        deltas = [(course_id, name, delta) for (course_id, name), delta in counts.items() if delta]
        stored = tx.insert_many(
            COURSE_NAMES.add_and_return,
            [
                {"course_id": course_id, "bucket": self._bucket, "module_name": name, "learners": delta}
                for course_id, name, delta in deltas
            ],
        )
        for (course_id, name, delta), row in zip(deltas, stored, strict=True):
            if row[0] == 0:
                lost[course_id].append(name)
            elif row[0] == delta:
                gained[course_id].append(name)
        with tx.pipeline():
            for course_id, names in lost.items():
                tx.execute_later(COURSE_NAMES.delete_zeros, values=names, course_id=course_id, bucket=self._bucket)
        return gained, lost


class _LearnerNames(Struct, frozen=True):
    """The names under which learners gained their first result, and those under which they lost their last."""

    gained: defaultdict[LearnerCourse, list[str]]
    lost: defaultdict[LearnerCourse, list[str]]
