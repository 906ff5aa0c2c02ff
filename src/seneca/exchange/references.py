"""The accounts, courses and voided ids to which sessions refer: where they are in the file, or that they are stored."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from seneca.database import Transaction
from seneca.errors import InvalidInput
from seneca.exchange.session_lines import SessionRecord
from seneca.exchange.stored_sessions import Key, key_of
from seneca.stats import totals

ACCOUNT_IDS = "SELECT id FROM accounts WHERE erased_at IS NULL AND id IN (:values)"
LINE_NUMBERS = "SELECT id, number FROM imported_accounts WHERE id IN (:values)"
VOIDED = "SELECT learner_id, id FROM voided_sessions WHERE bucket = :bucket AND learner_id IN (:values)"
COURSES = "SELECT id, title FROM courses"

Courses = dict[str, tuple[int, str]]
"""The line number (0: already stored) and the title of each course, by id."""


def read_courses(tx: Transaction, numbers: Mapping[str, int]) -> Courses:
    """Read every course; there are few of them.

    Args:
        tx: the transaction.
        numbers: the line numbers of the courses that this import creates.

    """
    return {id_: (numbers.get(id_, 0), title) for id_, title in tx.fetch_all(COURSES)}


class LearnerLines:
    """Which of some accounts exist, and the lines of those that this import creates.

    Args:
        tx: the transaction.
        ids: the accounts.

    """

    def __init__(self, tx: Transaction, ids: Collection[str]) -> None:
        self._accounts = tx.send(ACCOUNT_IDS, values=list(ids))
        self._numbers = tx.send(LINE_NUMBERS, values=list(ids))
        self._lines: dict[str, int] = {}

    def receive(self) -> None:
        """Read the results of the queries, before the transaction's next write."""
        self._lines = dict.fromkeys((row[0] for row in self._accounts.fetchall()), 0) | dict(self._numbers.fetchall())

    def check(self, learner_id: str, number: int) -> None:
        """Check that an account exists, on a line before ``number`` if it is in the file. Raises InvalidInput."""
        line = self._lines.get(learner_id)
        if line is None:
            raise InvalidInput.field("userId", "does not exist")
        if line > number:
            raise InvalidInput.field("userId", f"is on a later line, {line:,}")


class BatchReferences:
    """What a batch's sessions refer to, read in one round trip.

    Args:
        tx: the transaction.
        courses: every course.
        bucket: the bucket of the sessions.
        sessions: the batch.

    """

    def __init__(self, tx: Transaction, courses: Courses, bucket: int, sessions: Sequence[SessionRecord]) -> None:
        ids = list({session.row.learner_id for session in sessions})
        with tx.pipeline():
            self._learners = LearnerLines(tx, ids)
            name_counts = totals.send_name_counts(tx, bucket, ids)
            voided = tx.send(VOIDED, bucket=bucket, values=ids)
            self._learners.receive()
            self.names: Counter[Key] = Counter(
                {(learner, course): names for learner, course, names in name_counts.fetchall()}
            )
            """Upper bounds of the numbers of module names with results, by learner and course."""
            self._voided: set[Key] = {(row[0], row[1]) for row in voided.fetchall()}
        self._courses = courses
        self.learners_with_sessions = {learner for learner, _ in self.names}
        """Every learner with a session has totals."""

    def check(self, session: SessionRecord) -> None:
        """Check a session's learner, course and id; what is in the file is on an earlier line. Raises InvalidInput."""
        row = session.row
        self._learners.check(row.learner_id, session.number)
        course = self._courses.get(row.course_id)
        if course is None:
            raise InvalidInput.field("courseId", "does not exist")
        if course[0] > session.number:
            raise InvalidInput.field("courseId", f"is on a later line, {course[0]:,}")
        if row.id in self._courses:
            raise InvalidInput.field("id", "is in use by a course")
        if key_of(row) in self._voided:
            raise InvalidInput.field("id", "is that of a session that an administrator deleted")
