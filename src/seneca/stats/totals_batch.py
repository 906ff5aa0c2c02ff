"""Change the totals and module names by the differences that many sessions make, summed up first and written together."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import asdict

from seneca.database import Transaction
from seneca.stats import course_names
from seneca.stats.totals import (
    ADD_COURSE_NAMES,
    ADD_LEARNER_NAMES,
    ADD_TO_COURSE,
    ADD_TO_LEARNER,
    DELETE_COURSE_NAMES,
    DELETE_LEARNER_NAMES,
    LearnerCourse,
    TotalsDelta,
)

COUNT_LEARNER_NAMES = f"{ADD_LEARNER_NAMES}RETURNING results"


class DeltaBatch:
    """Differences to totals, from sessions of one bucket's learners that are added and that are taken away.

    Args:
        bucket: the learners' bucket.

    """

    def __init__(self, bucket: int) -> None:
        self._bucket = bucket
        self._differences: defaultdict[LearnerCourse, TotalsDelta] = defaultdict(TotalsDelta)
        self._names: defaultdict[LearnerCourse, Counter[str]] = defaultdict(Counter)

    def add(self, study: LearnerCourse, difference: TotalsDelta, names: Iterable[str]) -> None:
        """Add a difference, and one more result under each name."""
        self._differences[study] += difference
        self._names[study].update(names)

    def subtract(self, study: LearnerCourse, difference: TotalsDelta, names: Iterable[str]) -> None:
        """Take a difference away, and one result under each name."""
        self._differences[study] += -difference
        self._names[study].subtract(Counter(names))

    def write(self, tx: Transaction) -> dict[str, int]:
        """Apply all of it to the stored totals; returns by how many names each course has grown (less than 0: shrunk)."""
        learners = self._write_learner_names(tx)
        gained, lost = self._write_course_names(tx, learners)
        growth = course_names.count_new(tx, self._bucket, gained)
        for course_id, names in lost.items():
            growth[course_id] = growth.get(course_id, 0) - course_names.count_gone(tx, self._bucket, course_id, names)
        courses: defaultdict[str, TotalsDelta] = defaultdict(TotalsDelta)
        for study, difference in self._differences.items():
            courses[study.course_id] += difference
        tx.insert_many(
            ADD_TO_LEARNER,
            [
                {
                    **asdict(study),
                    **asdict(difference),
                    "names": len(learners.gained[study]) - len(learners.lost[study]),
                    "name_changes": len(learners.gained[study]) + len(learners.lost[study]),
                }
                for study, difference in self._differences.items()
            ],
        )
        tx.insert_many(
            ADD_TO_COURSE,
            [
                {
                    "course_id": course_id,
                    "bucket": self._bucket,
                    **asdict(difference),
                    "names": growth.get(course_id, 0),
                    "name_changes": len(gained[course_id]) + len(lost[course_id]),
                }
                for course_id, difference in courses.items()
            ],
        )
        return growth

    def _write_learner_names(self, tx: Transaction) -> "_LearnerNames":
        """Change how many results learners have under each name; a name without results goes."""
        gained: defaultdict[LearnerCourse, list[str]] = defaultdict(list)
        lost: defaultdict[LearnerCourse, list[str]] = defaultdict(list)
        deltas = [(s, name, delta) for s, names in self._names.items() for name, delta in names.items() if delta]
        stored = tx.insert_many(
            COUNT_LEARNER_NAMES,
            [{**asdict(study), "module_name": name, "results": delta} for study, name, delta in deltas],
        )
        for (study, name, delta), row in zip(deltas, stored, strict=True):
            if row[0] == 0:
                lost[study].append(name)
            elif row[0] == delta:  # there were none before
                gained[study].append(name)
        with tx.pipeline():
            for study, names in lost.items():
                tx.execute_later(DELETE_LEARNER_NAMES, values=names, **asdict(study))
        return _LearnerNames(gained, lost)

    def _write_course_names(
        self, tx: Transaction, learners: "_LearnerNames"
    ) -> tuple[defaultdict[str, list[str]], defaultdict[str, list[str]]]:
        """Change how many of the bucket's learners have results under each name of a course; a name without learners goes.

        Returns:
            The names that each course gained in this bucket, and those that it lost.

        """
        counts: Counter[tuple[str, str]] = Counter()
        for study, names in learners.gained.items():
            counts.update((study.course_id, name) for name in names)
        for study, names in learners.lost.items():
            counts.subtract((study.course_id, name) for name in names)
        gained: defaultdict[str, list[str]] = defaultdict(list)
        lost: defaultdict[str, list[str]] = defaultdict(list)
        deltas = [(course_id, name, delta) for (course_id, name), delta in counts.items() if delta]
        stored = tx.insert_many(
            ADD_COURSE_NAMES,
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
                tx.execute_later(DELETE_COURSE_NAMES, values=names, course_id=course_id, bucket=self._bucket)
        return gained, lost


class _LearnerNames(Struct, frozen=True):
    """The names under which learners have their first results, and those under which they have none any more."""

    gained: defaultdict[LearnerCourse, list[str]]
    lost: defaultdict[LearnerCourse, list[str]]
