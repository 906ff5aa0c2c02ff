"""Stored totals and module names, updated incrementally in the transaction that changes what they count.

docs/statistics.md defines each total; ``verification`` recomputes them all from the recorded rows.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import asdict

from seneca.database import PendingResult, Transaction
from seneca.sessions.rows import SessionRow
from seneca.stats import course_names


class LearnerCourse(Struct, frozen=True):
    """A learner and a course: the key of the learner's totals."""

    bucket: int
    learner_id: str
    course_id: str


class TotalsDelta(Struct, frozen=True):
    """A change of totals. Negative values subtract."""

    sessions: int = 0
    results: int = 0
    points: int = 0  # thousandths
    milliseconds: int = 0

    @classmethod
    def of(cls, session: SessionRow) -> "TotalsDelta":
        """What a session contributes to the totals."""
        return cls(sessions=1, results=session.results, points=session.points, milliseconds=session.duration_ms)

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


def apply(tx: Transaction, learner_course: LearnerCourse, delta: TotalsDelta, new_names: int = 0) -> None:
    """Add a delta to the totals of the learner and of the course, and ``new_names`` to the learner's number of module names."""
    parameters = {
        "bucket": learner_course.bucket,
        "course_id": learner_course.course_id,
        "sessions": delta.sessions,
        "results": delta.results,
        "points": delta.points,
        "milliseconds": delta.milliseconds,
    }
    tx.execute_later(
        ADD_TO_LEARNER, learner_id=learner_course.learner_id, names=new_names, name_changes=new_names, **parameters
    )
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
    """Looks up how many module names the learner of a session has in its course, and which of some names.

    The learner's totals are locked first, so that a name that is new in two concurrent sessions is counted once.
    """

    def __init__(self, tx: Transaction, names: Sequence[str], **key: object) -> None:
        self._count = tx.select_for_update(NAMES_IN_COURSE_OF_SESSION, **key)
        self._known = tx.send(KNOWN_IN_COURSE_OF_SESSION, values=names, **key)

    def new(self, names: Iterable[str]) -> list[str]:
        """Find the names under which the learner has no result in the course."""
        known = {row[0] for row in self._known.fetchall()}
        return [name for name in names if name not in known]

    def count(self) -> int:
        """Return the number of names under which the learner has results in the course."""
        row = self._count.fetchone()
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
    tx: Transaction,
    learner_course: LearnerCourse,
    names: Sequence[str],
    new: Sequence[str],
    new_to_bucket: Sequence[str],
) -> None:
    """Add one result of the learner under each name. ``new`` are new to the learner, and ``new_to_bucket`` also to the bucket."""
    course_names.add(tx, learner_course.bucket, learner_course.course_id, new_to_bucket)
    key = {
        "bucket": learner_course.bucket,
        "learner_id": learner_course.learner_id,
        "course_id": learner_course.course_id,
    }
    tx.insert_many_later(ADD_LEARNER_NAMES, [{**key, "module_name": name, "results": 1} for name in names])
    if new:
        in_order = sorted(new)  # a fixed order, so that two learners do not deadlock
        course = {"bucket": learner_course.bucket, "course_id": learner_course.course_id}
        tx.insert_many_later(ADD_COURSE_NAMES, [{**course, "module_name": name, "learners": 1} for name in in_order])


# -- subtracting -------------------------------------------------------------------------------

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
# Rows stay when they reach zero: name_changes is the version of cached names and must never restart.
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


def subtract(tx: Transaction, learner_course: LearnerCourse, delta: TotalsDelta, names: Mapping[str, int]) -> None:
    """Subtract deleted sessions from the totals. The caller has locked the learner's totals.

    Args:
        tx: the transaction that deletes the sessions.
        learner_course: the key of the totals.
        delta: what the sessions had added.
        names: the number of the sessions' results under each name.

    """
    course = {"bucket": learner_course.bucket, "course_id": learner_course.course_id}
    learner = {"learner_id": learner_course.learner_id, **course}
    in_order = sorted(names)
    tx.insert_many_later(
        ADD_LEARNER_NAMES, [{**learner, "module_name": name, "results": -names[name]} for name in in_order]
    )
    lost = sorted(row[0] for row in tx.fetch_in(DELETE_LEARNER_NAMES, in_order, **learner))
    tx.execute_later(SUBTRACT_FROM_LEARNER, lost=len(lost), **asdict(-delta), **learner)
    tx.insert_many_later(ADD_COURSE_NAMES, [{**course, "module_name": name, "learners": -1} for name in lost])
    gone = [row[0] for row in tx.fetch_in(DELETE_COURSE_NAMES, lost, **course)]
    names_gone = course_names.count_gone(tx, learner_course.bucket, learner_course.course_id, gone)
    tx.execute_later(ADD_TO_COURSE, names=-names_gone, name_changes=len(gone), **asdict(-delta), **course)


DELETE_TOTALS = "DELETE FROM learner_totals WHERE bucket = :bucket AND learner_id = :learner_id"


def delete(tx: Transaction, bucket: int, learner_id: str) -> None:
    """Delete the totals of a learner whose sessions are all deleted, and whose account is being erased."""
    tx.execute_later(DELETE_TOTALS, bucket=bucket, learner_id=learner_id)


# -- in bulk -----------------------------------------------------------------------------------

NAME_COUNTS_OF_LEARNERS = """
SELECT learner_id, course_id, names FROM learner_totals WHERE bucket = :bucket AND learner_id IN (:values)
"""


def send_name_counts(tx: Transaction, bucket: int, learners: Sequence[str]) -> PendingResult:
    """Send the query for the number of module names of each learner of a bucket in each course.

    Its rows are: learner id, course id, number of names.
    """
    return tx.send(NAME_COUNTS_OF_LEARNERS, bucket=bucket, values=learners)


RESULTS_BY_NAME = """
SELECT module_name, results FROM learner_names
WHERE bucket = :bucket AND learner_id = :learner_id AND course_id = :course_id
"""


def results_by_name(tx: Transaction, learner_course: LearnerCourse) -> Counter[str]:
    """Count the learner's results in this course under each module name."""
    return Counter(dict(tx.fetch_all(RESULTS_BY_NAME, **asdict(learner_course))))
