"""Change the totals and module names by the differences that many sessions make, summed up first and written together."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from msgspec.structs import asdict

from seneca.database import Transaction
from seneca.figures import (
    ADD_COURSE_NAMES,
    ADD_LEARNER_NAMES,
    ADD_TO_COURSE,
    ADD_TO_LEARNER,
    FORGET_COURSE_NAMES,
    FORGET_LEARNER_NAMES,
    Difference,
    Study,
)

COUNT_LEARNER_NAMES = f"{ADD_LEARNER_NAMES}RETURNING results"

CourseBucket = tuple[str, int]
"""A course's id and a bucket: the key of ``course_totals``."""


class DeltaBatch:
    """Differences to totals, from sessions that are added and sessions that are taken away."""

    def __init__(self) -> None:
        self._differences: defaultdict[Study, Difference] = defaultdict(Difference)
        self._names: defaultdict[Study, Counter[str]] = defaultdict(Counter)

    def add(self, study: Study, difference: Difference, names: Iterable[str]) -> None:
        """Add a difference, and one more result under each name."""
        self._differences[study] += difference
        self._names[study].update(names)

    def subtract(self, study: Study, difference: Difference, names: Iterable[str]) -> None:
        """Take a difference away, and one result under each name."""
        self._differences[study] += -difference
        self._names[study].subtract(Counter(names))

    def write(self, tx: Transaction) -> None:
        """Apply all of it to the stored totals."""
        gained, lost, in_courses = self._write_learner_names(tx)
        course_name_changes = _write_course_names(tx, in_courses)
        courses: defaultdict[CourseBucket, Difference] = defaultdict(Difference)
        for study, difference in self._differences.items():
            courses[study.course_id, study.bucket] += difference
        tx.insert(
            ADD_TO_LEARNER,
            [
                {
                    **asdict(study),
                    **asdict(difference),
                    "names": gained[study] - lost[study],
                    "name_changes": gained[study] + lost[study],
                }
                for study, difference in self._differences.items()
            ],
        )
        tx.insert(
            ADD_TO_COURSE,
            [
                {"course_id": key[0], "bucket": key[1], **asdict(difference), "name_changes": course_name_changes[key]}
                for key, difference in courses.items()
            ],
        )

    def _write_learner_names(
        self, tx: Transaction
    ) -> tuple[Counter[Study], Counter[Study], Counter[tuple[str, int, str]]]:
        """Change how many results learners have under each name; a name without results goes.

        Returns:
            How many names each learner gained, and lost, in a course; how many learners each name of a course gained in
            a bucket (less than zero: lost).

        """
        gained: Counter[Study] = Counter()
        lost: Counter[Study] = Counter()
        in_courses: Counter[tuple[str, int, str]] = Counter()
        unused: defaultdict[Study, list[str]] = defaultdict(list)
        deltas = [(s, name, delta) for s, names in self._names.items() for name, delta in names.items() if delta]
        stored = tx.insert(
            COUNT_LEARNER_NAMES,
            [{**asdict(study), "module_name": name, "results": delta} for study, name, delta in deltas],
        )
        for (study, name, delta), row in zip(deltas, stored, strict=True):
            if row[0] == 0:
                lost[study] += 1
                unused[study].append(name)
                in_courses[study.course_id, study.bucket, name] -= 1
            elif row[0] == delta:  # there were none before
                gained[study] += 1
                in_courses[study.course_id, study.bucket, name] += 1
        with tx.together():
            for study, names in unused.items():
                tx.put(FORGET_LEARNER_NAMES, values=names, **asdict(study))
        return gained, lost, in_courses


def _write_course_names(tx: Transaction, in_courses: Counter[tuple[str, int, str]]) -> Counter[CourseBucket]:
    """Change how many learners have results under each name; returns how many names each course gained or lost in a bucket."""
    changes: Counter[CourseBucket] = Counter()
    unused: defaultdict[CourseBucket, list[str]] = defaultdict(list)
    deltas = [(*key, delta) for key, delta in in_courses.items() if delta]
    stored = tx.insert(
        ADD_COURSE_NAMES,
        [
            {"course_id": course_id, "bucket": bucket, "module_name": name, "learners": delta}
            for course_id, bucket, name, delta in deltas
        ],
    )
    for (course_id, bucket, name, delta), row in zip(deltas, stored, strict=True):
        if row[0] in (0, delta):
            changes[course_id, bucket] += 1
        if row[0] == 0:
            unused[course_id, bucket].append(name)
    with tx.together():
        for (course_id, bucket), names in unused.items():
            tx.put(FORGET_COURSE_NAMES, values=names, course_id=course_id, bucket=bucket)
    return changes
