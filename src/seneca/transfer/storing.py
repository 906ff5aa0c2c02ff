"""Store checked sessions, batch by batch: what they refer to must be there, what is there must be equal."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from seneca import figures
from seneca.accounts import Learner
from seneca.database import Transaction, Values
from seneca.errors import Invalid
from seneca.figures import Changes, Difference, Study
from seneca.sessions import reading
from seneca.sessions.recording import MOST_NAMES
from seneca.transfer.directory import check_same
from seneca.transfer.lines import Session
from seneca.transfer.name_limit import CourseNameLimit
from seneca.transfer.report import Report
from seneca.transfer.spool import Spool

MOST_TOGETHER: Final = 4000  # sessions
MOST_BYTES_TOGETHER: Final = 4 * 1024 * 1024
ROW_BYTES: Final = 500  # about what a result takes here beside its text

LEARNERS = """
SELECT a.id, coalesce(m.number, 0) FROM accounts a LEFT JOIN made m ON m.id = a.id WHERE a.id IN (:values)
"""
COURSES = """
SELECT c.id, coalesce(m.number, 0), c.title FROM courses c LEFT JOIN made m ON m.id = c.id
"""
KNOWN = "SELECT id FROM sessions WHERE bucket = :bucket AND learner_id = :learner_id AND id IN (:values)"
INSERT_SESSION = """
INSERT INTO sessions (bucket, learner_id, id, course_id, course_title, topic, started_at, ended_at,
                      results, points, bytes)
VALUES (:bucket, :learner_id, :id, :course_id, :course_title, :topic, :started_at, :ended_at,
        :results, :points, :bytes)
"""
INSERT_RESULT = """
INSERT INTO results (bucket, learner_id, session_id, module_name, position,
                     adaptive, quiz, wrong_answers, adaptive_score, quiz_score)
VALUES (:bucket, :learner_id, :session_id, :module_name, :position,
        :adaptive, :quiz, :wrong_answers, :adaptive_score, :quiz_score)
"""


def batches(spool: Spool) -> Iterator[tuple[int, list[Session]]]:
    """The checked sessions, many at a time: each time a bucket, and sessions of its learners, none twice."""
    for bucket, sessions in spool.by_bucket():
        batch: dict[tuple[str, str], Session] = {}
        size = 0
        for session in sessions:
            key = session.learner_id, session.id
            if key in batch or len(batch) == MOST_TOGETHER or size > MOST_BYTES_TOGETHER:
                yield bucket, list(batch.values())
                batch.clear()
                size = 0
            batch[key] = session
            size += session.bytes + ROW_BYTES * len(session.results)
        yield bucket, list(batch.values())


Courses = dict[str, tuple[int, str]]
"""By id: the line of a course (0: it was there before), and its title."""


def courses_in(tx: Transaction) -> Courses:
    """Every course; few, beside sessions."""
    return {id_: (number, title) for id_, number, title in tx.all(COURSES)}


class Batch:
    """What it takes to store sessions of one bucket's learners.

    Args:
        tx: the transaction, in which ``directory`` has stored courses and accounts.
        courses: all that there are.
        bucket: the bucket of the learners.
        report: where each session is counted, or refused.
        name_limit: how many module names each course has.

    """

    def __init__(
        self, tx: Transaction, courses: Courses, bucket: int, report: Report, name_limit: CourseNameLimit
    ) -> None:
        self._tx = tx
        self._courses = courses
        self._bucket = bucket
        self._report = report
        self._name_limit = name_limit

    def store(self, sessions: list[Session]) -> None:
        """Store these, of which none is there twice."""
        found = Found(self._tx, self._courses, self._bucket, sessions)
        new = self._with_room(self._unknown(self._fitting(sessions, found), found), found)
        new = self._name_limit.fitting(new, self._report.refuse)
        new.sort(key=lambda session: (session.learner_id, session.id))  # in the tables' order: half the time
        self._tx.load(INSERT_SESSION, (self._row(session, found) for session in new))
        changes = Changes(self._bucket)
        self._tx.load(INSERT_RESULT, (row for session in new for row in self._counted(session, changes)))
        self._name_limit.add(changes.write(self._tx))
        self._report.sessions.stored += len(new)

    def _fitting(self, sessions: list[Session], found: "Found") -> list[Session]:
        """Those whose learner and course are on lines before them, and whose id is no course's; the others are refused."""
        fitting = []
        for session in sessions:
            try:
                found.check(session)
                fitting.append(session)
            except Invalid as invalid:
                self._report.refuse(session.number, invalid.detail)
        return fitting

    def _unknown(self, sessions: list[Session], found: "Found") -> list[Session]:
        """Those that are not stored; of the others, those that differ are refused."""
        ids: defaultdict[str, list[str]] = defaultdict(list)
        for session in sessions:
            if session.learner_id in found.studied:
                ids[session.learner_id].append(session.id)
        stored = self._tx.each(
            KNOWN,
            [{"bucket": self._bucket, "learner_id": learner, "values": values} for learner, values in ids.items()],
        )
        known = {(learner_id, row[0]) for learner_id, rows in zip(ids, stored, strict=True) for row in rows}
        if not known:
            return sessions
        for session in sessions:
            if (session.learner_id, session.id) in known:
                try:
                    check_equal(self._tx, Learner(session.learner_id, self._bucket), session)
                except Invalid as invalid:
                    self._report.refuse(session.number, invalid.detail)
                else:
                    self._report.sessions.skipped += 1
        return [s for s in sessions if (s.learner_id, s.id) not in known]

    def _with_room(self, sessions: list[Session], found: "Found") -> list[Session]:
        """Those that leave the learner with no more module names than a course may have; the others are refused."""
        names: defaultdict[Study, set[str]] = defaultdict(set)
        for session in sessions:
            names[self._study(session)].update(result[0] for result in session.results)
        tight = {
            study: figures.names_in(self._tx, study)
            for study, given in names.items()
            if found.names.get((study.learner_id, study.course_id), 0) + len(given) > MOST_NAMES
        }
        return [s for s in sessions if self._fits(s, tight.get(self._study(s)))] if tight else sessions

    def _fits(self, session: Session, known: set[str] | None) -> bool:
        """Whether the session's names fit beside those that the learner has, which they then join."""
        if known is None:
            return True
        together = known.union(result[0] for result in session.results)
        if len(together) > MOST_NAMES:
            reason = f"modulesStats: a learner has results under at most {MOST_NAMES:,} module names in one course"
            self._report.refuse(session.number, reason)
            return False
        known |= together
        return True

    def _study(self, session: Session) -> Study:
        return Study(self._bucket, session.learner_id, session.course_id)

    def _row(self, session: Session, found: "Found") -> Values:
        """A row of sessions, as ``INSERT_SESSION`` has it."""
        return (
            self._bucket,
            session.learner_id,
            session.id,
            session.course_id,
            session.course_title or found.courses[session.course_id][1],
            session.topic,
            session.started_at,
            session.ended_at,
            len(session.results),
            session.points,
            session.bytes,
        )

    def _counted(self, session: Session, changes: Changes) -> Iterator[Values]:
        """Its rows of results, as ``INSERT_RESULT`` has them; counted here, while a server stores those before."""
        duration = 0 if session.ended_at is None else session.ended_at - session.started_at
        difference = Difference(1, len(session.results), session.points, duration)
        changes.add(self._study(session), difference, [result[0] for result in session.results])
        for result in sorted(session.results):
            yield self._bucket, session.learner_id, session.id, *result


class Found:
    """What is stored of that to which a batch's sessions refer: all asked together.

    Args:
        tx: the transaction.
        courses: all that there are.
        bucket: the bucket of the sessions.
        sessions: the batch.

    """

    def __init__(self, tx: Transaction, courses: Courses, bucket: int, sessions: Sequence[Session]) -> None:
        learners = list({session.learner_id for session in sessions})
        with tx.together():
            asked = tx.ask(LEARNERS, values=learners), figures.ask_names_of(tx, bucket, learners)
            people, studies = (answer.fetchall() for answer in asked)
        self._learners: dict[str, int] = dict(people)
        self.courses = courses
        self.names: dict[tuple[str, str], int] = {(learner, course): names for learner, course, names in studies}
        self.studied = {learner for learner, _ in self.names}
        """Who has sessions: nobody has one without totals."""

    def check(self, session: Session) -> None:
        """Check that what a session refers to is there, on a line before it. Raises Invalid."""
        learner_on, course = self._learners.get(session.learner_id), self.courses.get(session.course_id)
        if learner_on is None:
            raise Invalid.field("userId", "is no account's")
        if course is None:
            raise Invalid.field("courseId", "is no course's")
        if learner_on > session.number:
            raise Invalid.field("userId", f"is on a later line, {learner_on:,}")
        if course[0] > session.number:
            raise Invalid.field("courseId", f"is on a later line, {course[0]:,}")
        if session.id in self.courses:
            raise Invalid.field("id", "is a course's")


def check_equal(tx: Transaction, learner: Learner, session: Session) -> None:
    """Check that a session is as it is stored. Raises Invalid."""
    row = reading.find(tx, learner, session.id)
    check_same("courseId", row.course_id, session.course_id)
    check_same("courseTitle", row.course_title, session.course_title)
    check_same("topic", row.topic, session.topic)
    check_same("sessionStart", row.started_at, session.started_at)
    check_same("sessionEnd", (row.ended_at,), (session.ended_at,))
    results = reading.results_of(tx, learner, [row.id])[row.id]
    stored = [msgspec.structs.astuple(result) for result in results]
    check_same("modulesStats", stored, session.results)
