"""Keep the figures true: totals and module names, changed by differences beside what they count.

Every function here runs inside the transaction that records the thing itself. What each figure means is
said in ``docs/statistics.md``; ``verification`` recomputes them all from the recorded rows.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import asdict

from seneca.database import PendingResult, Transaction
from seneca.stats import course_names


class LearnerCourse(Struct, frozen=True):
    """One learner's study of one course: what totals are kept of."""

    bucket: int
    learner_id: str
    course_id: str


class TotalsDelta(Struct, frozen=True):
    """What a change adds to the totals (less than zero: takes away)."""

    sessions: int = 0
    results: int = 0
    points: int = 0  # thousandths
    milliseconds: int = 0

    def __neg__(self) -> "TotalsDelta":
        return TotalsDelta(-self.sessions, -self.results, -self.points, -self.milliseconds)

    def __add__(self, other: "TotalsDelta") -> "TotalsDelta":
        return TotalsDelta(
            self.sessions + other.sessions,
            self.results + other.results,
            self.points + other.points,
            self.milliseconds + other.milliseconds,
        )


ADD_TO_LEARNER = """
INSERT INTO learner_totals (bucket, learner_id, course_id, sessions, results, points, milliseconds, names, name_changes)
VALUES (:bucket, :learner_id, :course_id, :sessions, :results, :points, :milliseconds, :names, :name_changes)
ON CONFLICT (bucket, learner_id, course_id) DO UPDATE SET
    sessions = learner_totals.sessions + excluded.sessions,
    results = learner_totals.results + excluded.results,
    points = learner_totals.points + excluded.points,
    milliseconds = learner_totals.milliseconds + excluded.milliseconds,
    names = learner_totals.names + excluded.names,
    name_changes = learner_totals.name_changes + excluded.name_changes
"""
ADD_TO_COURSE = """
INSERT INTO course_totals (course_id, bucket, sessions, results, points, milliseconds, names, name_changes)
VALUES (:course_id, :bucket, :sessions, :results, :points, :milliseconds, :names, :name_changes)
ON CONFLICT (course_id, bucket) DO UPDATE SET
    sessions = course_totals.sessions + excluded.sessions,
    results = course_totals.results + excluded.results,
    points = course_totals.points + excluded.points,
    milliseconds = course_totals.milliseconds + excluded.milliseconds,
    names = course_totals.names + excluded.names,
    name_changes = course_totals.name_changes + excluded.name_changes
"""


def apply(tx: Transaction, study: LearnerCourse, difference: TotalsDelta, new_names: int = 0) -> None:
    """Add a difference to the learner's totals and the course's; to the learner's, how many module names are new there."""
    parameters = {
        "bucket": study.bucket,
        "course_id": study.course_id,
        "sessions": difference.sessions,
        "results": difference.results,
        "points": difference.points,
        "milliseconds": difference.milliseconds,
    }
    tx.execute_later(ADD_TO_LEARNER, learner_id=study.learner_id, names=new_names, name_changes=new_names, **parameters)
    tx.execute_later(ADD_TO_COURSE, names=0, name_changes=0, **parameters)


NAMES_IN_COURSE_OF_SESSION = """
SELECT names FROM learner_totals
WHERE bucket = :bucket AND learner_id = :learner_id AND course_id = (
    SELECT course_id FROM sessions WHERE bucket = :bucket AND learner_id = :learner_id AND id = :session_id)
"""
KNOWN_IN_COURSE_OF_SESSION = """
SELECT module_name FROM learner_names
WHERE bucket = :bucket AND learner_id = :learner_id AND module_name IN (:values) AND course_id = (
    SELECT course_id FROM sessions WHERE bucket = :bucket AND learner_id = :learner_id AND id = :session_id)
"""


class ModuleNameLookup:
    """Asked of a session's course: how many module names its learner has there, and which of these.

    The learner's totals are locked first, so that of two sessions in which a name is new only one counts it.
    """

    def __init__(self, tx: Transaction, names: Sequence[str], **key: object) -> None:
        self._kept = tx.select_for_update(NAMES_IN_COURSE_OF_SESSION, **key)
        self._known = tx.send(KNOWN_IN_COURSE_OF_SESSION, values=names, **key)

    def new(self, names: Iterable[str]) -> list[str]:
        """Those under which the learner has no result in the course."""
        known = {row[0] for row in self._known.fetchall()}
        return [name for name in names if name not in known]

    def kept(self) -> int:
        """Under how many the learner has results in the course."""
        row = self._kept.fetchone()
        return 0 if row is None else int(row[0])


ADD_LEARNER_NAMES = """
INSERT INTO learner_names (bucket, learner_id, course_id, module_name, results)
VALUES (:bucket, :learner_id, :course_id, :module_name, :results)
ON CONFLICT (bucket, learner_id, course_id, module_name) DO UPDATE SET
    results = learner_names.results + excluded.results
"""
ADD_COURSE_NAMES = """
INSERT INTO course_names (course_id, module_name, bucket, learners)
VALUES (:course_id, :module_name, :bucket, :learners)
ON CONFLICT (course_id, module_name, bucket) DO UPDATE SET learners = course_names.learners + excluded.learners
RETURNING learners
"""


def add_names(
    tx: Transaction, study: LearnerCourse, names: Sequence[str], new: Sequence[str], new_to_bucket: Sequence[str]
) -> None:
    """Count one more result of the learner under each name; some are new to the learner, of those some to the bucket."""
    course_names.add(tx, study.bucket, study.course_id, new_to_bucket)
    key = {"bucket": study.bucket, "learner_id": study.learner_id, "course_id": study.course_id}
    tx.insert_many_later(ADD_LEARNER_NAMES, [{**key, "module_name": name, "results": 1} for name in names])
    if new:
        in_order = sorted(new)  # two learners who wait for each other's names would wait for ever
        course = {"bucket": study.bucket, "course_id": study.course_id}
        tx.insert_many_later(ADD_COURSE_NAMES, [{**course, "module_name": name, "learners": 1} for name in in_order])


# -- taking away -------------------------------------------------------------------------------

DELETE_LEARNER_NAMES = """
DELETE FROM learner_names
WHERE bucket = :bucket AND learner_id = :learner_id AND course_id = :course_id AND results = 0 AND module_name IN (:values)
RETURNING module_name
"""
DELETE_COURSE_NAMES = """
DELETE FROM course_names
WHERE course_id = :course_id AND bucket = :bucket AND learners = 0 AND module_name IN (:values)
RETURNING module_name
"""
# Rows that fall to nothing stay: names are remembered by name_changes, which must never start again.
SUBTRACT_FROM_LEARNER = """
UPDATE learner_totals SET
    sessions = sessions + :sessions,
    results = results + :results,
    points = points + :points,
    milliseconds = milliseconds + :milliseconds,
    names = names - :lost,
    name_changes = name_changes + :lost
WHERE bucket = :bucket AND learner_id = :learner_id AND course_id = :course_id
"""


def subtract(tx: Transaction, study: LearnerCourse, difference: TotalsDelta, names: Mapping[str, int]) -> None:
    """Take away what removed sessions had added. The learner's totals are locked.

    Args:
        tx: the transaction that removes them.
        study: whose totals.
        difference: what they had added.
        names: how many results they had under each name.

    """
    course = {"bucket": study.bucket, "course_id": study.course_id}
    learner = {"learner_id": study.learner_id, **course}
    in_order = sorted(names)
    tx.insert_many_later(
        ADD_LEARNER_NAMES, [{**learner, "module_name": name, "results": -names[name]} for name in in_order]
    )
    lost = sorted(row[0] for row in tx.fetch_in(DELETE_LEARNER_NAMES, in_order, **learner))
    tx.execute_later(SUBTRACT_FROM_LEARNER, lost=len(lost), **asdict(-difference), **learner)
    tx.insert_many_later(ADD_COURSE_NAMES, [{**course, "module_name": name, "learners": -1} for name in lost])
    gone = [row[0] for row in tx.fetch_in(DELETE_COURSE_NAMES, lost, **course)]
    names_gone = course_names.count_gone(tx, study.bucket, study.course_id, gone)
    tx.execute_later(ADD_TO_COURSE, names=-names_gone, name_changes=len(gone), **asdict(-difference), **course)


DELETE_TOTALS = "DELETE FROM learner_totals WHERE bucket = :bucket AND learner_id = :learner_id"


def delete(tx: Transaction, bucket: int, learner_id: str) -> None:
    """Forget the totals of a learner whose sessions are all removed, and who will not come back."""
    tx.execute_later(DELETE_TOTALS, bucket=bucket, learner_id=learner_id)


# -- many at once ------------------------------------------------------------------------------

NAME_COUNTS_OF_LEARNERS = """
SELECT learner_id, course_id, names FROM learner_totals WHERE bucket = :bucket AND learner_id IN (:values)
"""


def send_name_counts(tx: Transaction, bucket: int, learners: Sequence[str]) -> PendingResult:
    """Ask in which courses learners of a bucket have sessions, and under how many module names they have results there.

    Rows are of learner, course, and names.
    """
    return tx.send(NAME_COUNTS_OF_LEARNERS, bucket=bucket, values=learners)


RESULTS_BY_NAME = """
SELECT module_name, results FROM learner_names
WHERE bucket = :bucket AND learner_id = :learner_id AND course_id = :course_id
"""


def results_by_name(tx: Transaction, study: LearnerCourse) -> Counter[str]:
    """How many results the learner has in this course under each module name."""
    return Counter(dict(tx.fetch_all(RESULTS_BY_NAME, **asdict(study))))
