"""Stored totals and module names, updated incrementally in the transaction that changes what they count.

docs/statistics.md defines each total, ``tables`` declares them; ``verification`` recomputes them all from the recorded rows.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import add, sub
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict, astuple

from seneca.database import PendingResult, Transaction
from seneca.errors import TooManyLearnerNames
from seneca.sessions.rows import SessionRow
from seneca.stats import course_names, learner_counts
from seneca.stats.learner_counts import LearnerDay
from seneca.stats.tables import (
    COURSE_NAMES,
    COURSE_TOTALS,
    LEARNER_NAMES,
    LEARNER_TOTALS,
    SUMMING_TABLES,
    TOTALS_TABLES,
    TotalsTable,
)

MAX_LEARNER_NAMES: Final = 2000


def check_learner_names(names: int) -> None:
    """Check the number of module names that a learner would have in a course.

    Raises:
        TooManyLearnerNames: there would be too many.

    """
    if names > MAX_LEARNER_NAMES:
        raise TooManyLearnerNames(
            f"A learner has results under at most {MAX_LEARNER_NAMES:,} module names in one course."
        )


class LearnerCourse(Struct, frozen=True):
    """A learner and a course: the key of the learner's totals."""

    bucket: int
    learner_id: str
    course_id: str

    @classmethod
    def of(cls, session: SessionRow) -> "LearnerCourse":
        """The learner and the course of a session."""
        return cls(session.bucket, session.learner_id, session.course_id)


class TotalsChange:
    """A change of tables of totals, summed up by key until it is written."""

    def __init__(self, tables: Sequence[TotalsTable] = TOTALS_TABLES) -> None:
        self._tables = tables
        self._rows: dict[str, dict[tuple[object, ...], list[int]]] = {table.name: {} for table in tables}
        self._sessions: Counter[LearnerDay] = Counter()
        """By how much the number of sessions changes."""

    def add(self, session: SessionRow) -> None:
        """Add what a session contributes."""
        self._combine(add, session)
        self._sessions[_learner_day(session)] += 1

    def subtract(self, session: SessionRow) -> None:
        """Subtract what a session contributes."""
        self._combine(sub, session)
        self._sessions[_learner_day(session)] -= 1

    def _combine(self, operator: Callable[[int, int], int], session: SessionRow) -> None:
        for table in self._tables:
            row = self._row(table, table.key_of(session))
            row[: len(table.sums)] = map(operator, row, table.values_of(session))

    def add_names(self, table: TotalsTable, key: Mapping[str, object], *, names: int, changes: int) -> None:
        """Add to the number of distinct module names of a row, and to the number of their changes."""
        row = self._row(table, tuple(key[column] for column in table.key_columns))
        row[-2] += names
        row[-1] += changes

    def count_learners(self, tx: Transaction, *, is_stored: bool) -> None:
        """Add by how much the numbers of distinct learners change. The caller has locked the learners' accounts.

        Args:
            tx: the transaction.
            is_stored: whether the change of the sessions is stored already.

        """
        for table, key, difference in learner_counts.differences(tx, self._sessions, is_stored=is_stored):
            self._row(table, key)[len(table.sums)] += difference

    def _row(self, table: TotalsTable, key: tuple[Any, ...]) -> list[int]:
        """The change of a row: the sums, and the numbers of learners, of names and of their changes if the table has them."""
        rows = self._rows[table.name]
        row = rows.get(key)
        if row is None:
            row = rows[key] = [0] * len(table.added_columns)
        return row

    def write(self, tx: Transaction) -> None:
        """Write the change."""
        with tx.pipeline():
            self.write_later(tx)

    def write_later(self, tx: Transaction) -> None:
        """Write the change without waiting for the outcome, in a fixed order, so that two transactions do not deadlock."""
        for table in self._tables:
            changed = sorted((key, values) for key, values in self._rows[table.name].items() if any(values))
            tx.insert_values_later(table.add, [(*key, *values) for key, values in changed])
            if table.delete_zeros:
                for key, values in changed:
                    if values[0] < 0:
                        tx.execute_later(table.delete_zeros, **dict(zip(table.key_columns, key, strict=True)))


def _learner_day(session: SessionRow) -> LearnerDay:
    return session.bucket, session.learner_id, session.course_id, session.study_day


def apply(tx: Transaction, before: SessionRow, after: SessionRow, new_names: int = 0) -> None:
    """Change all totals by the difference between two states of a session, which is stored already.

    Args:
        tx: the transaction.
        before: the previous state.
        after: the new state. On another study day the caller has locked the learner's account.
        new_names: the number of module names that are new to the learner in the course.

    """
    if before.study_day != after.study_day:
        change = TotalsChange()
        change.subtract(before)
        change.add(after)
        change.count_learners(tx, is_stored=True)
        change.write_later(tx)
        return
    values_of = LEARNER_TOTALS.values_of
    sums = tuple(map(sub, values_of(after), values_of(before)))
    if not (new_names or any(sums)):
        return
    for table in SUMMING_TABLES:
        rest = (new_names, new_names) if table is LEARNER_TOTALS else (0,) * (len(table.added_columns) - len(sums))
        tx.insert_values_later(table.add, [(*table.key_of(after), *sums, *rest)])


def add_new(tx: Transaction, session: SessionRow) -> None:
    """Add a session without results that is about to be stored. The caller has locked the learner's account."""
    for table in (LEARNER_TOTALS, COURSE_TOTALS):
        tx.insert_values_later(table.add, [(*table.key_of(session), *table.values_of(session), 0, 0)])
    learner_counts.add_new(tx, session)


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


def add_names(
    tx: Transaction,
    learner_course: LearnerCourse,
    results: Mapping[str, int],
    new: Sequence[str],
    new_to_bucket: Sequence[str],
) -> None:
    """Add a number of results of the learner under each name.

    Args:
        tx: the transaction.
        learner_course: the learner and the course.
        results: the number of added results under each name.
        new: the names that are new to the learner in the course.
        new_to_bucket: of these, the ones that are new to the learner's bucket.

    """
    course_names.add(tx, learner_course.bucket, learner_course.course_id, new_to_bucket)
    key = astuple(learner_course)
    tx.insert_values_later(LEARNER_NAMES.add, [(*key, name, number) for name, number in results.items()])
    if new:
        in_order = sorted(new)  # a fixed order, so that two learners do not deadlock
        bucket, course_id = learner_course.bucket, learner_course.course_id
        tx.insert_values_later(COURSE_NAMES.add, [(course_id, name, bucket, 1) for name in in_order])


# -- subtracting -------------------------------------------------------------------------------


def subtract(tx: Transaction, change: TotalsChange, names: Mapping[LearnerCourse, Mapping[str, int]]) -> None:
    """Subtract sessions that are about to be deleted from the totals. The caller has locked the learners' accounts and totals.

    The names of all courses come before the totals of any, as when sessions of several courses are recorded, so that both do not deadlock.

    Args:
        tx: the transaction that deletes the sessions.
        change: from which the sessions are subtracted; it is written.
        names: the number of the sessions' results under each name, for each learner and course, in order of the courses.

    """
    change.count_learners(tx, is_stored=False)
    gone = {
        learner_course: _subtract_names(tx, learner_course, results, change)
        for learner_course, results in names.items()
    }
    for learner_course, gone_names in gone.items():
        bucket, course_id = learner_course.bucket, learner_course.course_id
        number = course_names.count_gone(tx, bucket, course_id, gone_names)
        key = {"bucket": bucket, "course_id": course_id}
        change.add_names(COURSE_TOTALS, key, names=-number, changes=len(gone_names))
    change.write_later(tx)


def _subtract_names(
    tx: Transaction, learner_course: LearnerCourse, results: Mapping[str, int], change: TotalsChange
) -> list[str]:
    """Subtract a learner's results under each name; returns the names that no learner of the bucket has any more."""
    course = {"bucket": learner_course.bucket, "course_id": learner_course.course_id}
    learner = asdict(learner_course)
    in_order = sorted(results)
    tx.insert_many_later(
        LEARNER_NAMES.add, [{**learner, "module_name": name, "results": -results[name]} for name in in_order]
    )
    lost = sorted(row[0] for row in tx.fetch_in(LEARNER_NAMES.delete_zeros, in_order, **learner))
    change.add_names(LEARNER_TOTALS, learner, names=-len(lost), changes=len(lost))
    tx.insert_many_later(COURSE_NAMES.add, [{**course, "module_name": name, "learners": -1} for name in lost])
    return [row[0] for row in tx.fetch_in(COURSE_NAMES.delete_zeros, lost, **course)]


def delete(tx: Transaction, bucket: int, learner_id: str) -> None:
    """Delete the totals of a learner whose sessions are all deleted, and whose account is being erased."""
    for table in TOTALS_TABLES:
        if table.delete_learner is not None:
            tx.execute_later(table.delete_learner, bucket=bucket, learner_id=learner_id)


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
