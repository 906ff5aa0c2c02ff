"""The module names of many new results of one learner in one course: which are new, and whether the limits allow them."""

from collections import Counter
from collections.abc import Collection, Sequence

from msgspec.structs import asdict

from seneca.database import Transaction
from seneca.stats import course_names, totals
from seneca.stats.tables import LEARNER_TOTALS
from seneca.stats.totals import LearnerCourse, TotalsChange

LEARNER_NAME_COUNT = """
SELECT names FROM learner_totals WHERE bucket = :bucket AND learner_id = :learner_id AND course_id = :course_id
"""
KNOWN_TO_LEARNER = """
SELECT module_name FROM learner_names
WHERE bucket = :bucket AND learner_id = :learner_id AND course_id = :course_id AND module_name IN (:values)
"""


class NameBatch:
    """The names under which a transaction adds results for a learner in a course.

    The learner's totals are locked first, so that a name that is new in two concurrent transactions is counted once.

    Args:
        tx: the transaction.
        learner_course: the learner and the course.
        names: all names that may be added.

    """

    def __init__(self, tx: Transaction, learner_course: LearnerCourse, names: Collection[str]) -> None:
        self._learner_course = learner_course
        key = asdict(learner_course)
        row = tx.select_for_update(LEARNER_NAME_COUNT, **key).fetchone()
        self._learner_count = 0 if row is None else int(row[0])
        self._known = {row[0] for row in tx.fetch_in(KNOWN_TO_LEARNER, list(names), **key)}
        unknown = sorted(name for name in names if name not in self._known)
        self._in_course = course_names.StoredNames(tx, learner_course.bucket, learner_course.course_id, unknown)
        self._results: Counter[str] = Counter()
        self._new: dict[str, None] = {}

    def add(self, names: Sequence[str]) -> None:
        """Add one result under each of some distinct names, or none if a limit does not allow all of them.

        Raises:
            TooManyLearnerNames: the learner would have results under too many names in the course.
            TooManyNames: the course's learners together would have results under too many names.

        """
        new = [name for name in names if name not in self._known and name not in self._new]
        if new:
            totals.check_learner_names(self._learner_count + len(self._new) + len(new))
            self._in_course.add(new)
        self._new |= dict.fromkeys(new)
        self._results.update(names)

    def write(self, tx: Transaction, change: TotalsChange) -> None:
        """Store the added names and their numbers of results, and add the number of new ones to a change of the totals."""
        if self._results:
            new = list(self._new)
            totals.add_names(tx, self._learner_course, self._results, new, self._in_course.new_to_bucket(new))
            change.add_names(LEARNER_TOTALS, asdict(self._learner_course), names=len(new), changes=len(new))
