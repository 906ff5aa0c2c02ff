"""Store checked sessions, batch by batch: what they refer to must be there, what is there must be equal."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from seneca.database import Transaction, Values
from seneca.errors import InvalidInput
from seneca.exchange.accounts_and_courses import differs
from seneca.exchange.name_limit import CourseNameLimit
from seneca.exchange.records import Session
from seneca.exchange.report import Report
from seneca.exchange.spool import Spool
from seneca.exchange.stored_sessions import (
    Key,
    StoredSession,
    find_differences,
    milliseconds,
    parameters,
    read_module_names,
    read_sessions,
)
from seneca.sessions import deletion
from seneca.sessions.commands import MAX_LEARNER_NAMES
from seneca.stats import totals
from seneca.stats.totals import LearnerCourse, TotalsDelta
from seneca.stats.totals_batch import DeltaBatch

MAX_SESSIONS_PER_BATCH: Final = 4000  # sessions
MAX_BYTES_PER_BATCH: Final = 4 * 1024 * 1024
ROW_BYTES: Final = 500  # about what a result takes here beside its text

LEARNERS = "SELECT id FROM accounts WHERE erased_at IS NULL AND id IN (:values)"
NUMBERS = "SELECT id, number FROM imported_accounts WHERE id IN (:values)"
COURSES = "SELECT id, title FROM courses"
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
            if key in batch or len(batch) == MAX_SESSIONS_PER_BATCH or size > MAX_BYTES_PER_BATCH:
                yield bucket, list(batch.values())
                batch.clear()
                size = 0
            batch[key] = session
            size += session.bytes + ROW_BYTES * len(session.results)
        yield bucket, list(batch.values())


Courses = dict[str, tuple[int, str]]
"""By id: the line of a course (0: it was there before), and its title."""


def courses_in(tx: Transaction, numbers: Mapping[str, int]) -> Courses:
    """Every course; few, beside sessions.

    Args:
        tx: the transaction.
        numbers: the lines of the courses that this import makes.

    """
    return {id_: (numbers.get(id_, 0), title) for id_, title in tx.fetch_all(COURSES)}


class Batch:
    """What it takes to store sessions of one bucket's learners.

    Args:
        tx: the transaction, in which courses and accounts are stored.
        courses: all that there are.
        bucket: the bucket of the learners.
        report: where each session is counted, or refused.
        update: a line that differs from the stored session replaces it.
        name_limit: how many module names each course has.

    """

    def __init__(
        self,
        tx: Transaction,
        courses: Courses,
        bucket: int,
        report: Report,
        name_limit: CourseNameLimit,
        *,
        update: bool,
    ) -> None:
        self._tx = tx
        self._courses = courses
        self._bucket = bucket
        self._report = report
        self._name_limit = name_limit
        self._update = update

    def store(self, sessions: list[Session]) -> None:
        """Store these, of which none is there twice."""
        found = StoredRows(self._tx, self._courses, self._bucket, sessions)
        fitting = {(s.learner_id, s.id): s for s in self._fitting(sessions, found)}
        studied = [key for key in fitting if key[0] in found.studied]
        stored = read_sessions(self._tx, self._bucket, studied)
        differences = find_differences(self._tx, self._bucket, fitting, stored)
        self._report.sessions.skipped += len(stored) - len(differences)
        for key, member in differences.items() if not self._update else ():
            self._report.refuse(fitting[key].number, differs(member).detail)
        changed = [s for key, s in fitting.items() if key not in stored or (self._update and key in differences)]
        replaced = {key: stored[key] for key in differences}
        for portion in portions(changed, replaced):
            self._write(portion, replaced, found)

    def _write(self, sessions: list[Session], stored: Mapping[Key, StoredSession], found: "StoredRows") -> None:
        """Store sessions of which each is new or replaces a stored one."""
        names = read_module_names(self._tx, self._bucket, [key_of(s) for s in sessions if key_of(s) in stored])
        sessions = self._with_room(sessions, stored, names, found)
        sessions = self._name_limit.fitting(sessions, self._report.refuse)
        sessions.sort(key=key_of)  # in the tables' order: half the time
        batch = DeltaBatch(self._bucket)
        replaced = [key for session in sessions if (key := key_of(session)) in names]
        for key in replaced:
            batch.subtract(stored[key].study(self._bucket, key[0]), stored[key].difference, names[key])
        with self._tx.pipeline():
            for of_learner in parameters(self._bucket, replaced):
                self._tx.execute_later(deletion.DELETE_RESULTS, **of_learner)
                self._tx.execute_later(deletion.DELETE_SESSIONS, **of_learner)
        self._tx.copy_rows(INSERT_SESSION, (self._row(session, stored.get(key_of(session))) for session in sessions))
        self._tx.copy_rows(INSERT_RESULT, (row for session in sessions for row in self._counted(session, batch)))
        self._name_limit.add(batch.write(self._tx))
        self._report.sessions.stored += len(sessions) - len(replaced)
        self._report.sessions.updated += len(replaced)

    def _fitting(self, sessions: list[Session], found: "StoredRows") -> list[Session]:
        """Those whose learner and course are on lines before them, and whose id is no course's; the others are refused."""
        fitting = []
        for session in sessions:
            try:
                found.check(session)
                fitting.append(session)
            except InvalidInput as invalid:
                self._report.refuse(session.number, invalid.detail)
        return fitting

    def _with_room(
        self,
        sessions: list[Session],
        stored: Mapping[Key, StoredSession],
        names: Mapping[Key, Sequence[str]],
        found: "StoredRows",
    ) -> list[Session]:
        """Those that leave the learner with no more module names than a course may have; the others are refused."""
        new: defaultdict[LearnerCourse, set[str]] = defaultdict(set)
        for session in sessions:
            new[self._study(session)].update(result[0] for result in session.results)
        tight = {}
        for study, of_study in new.items():
            found.names[study.learner_id, study.course_id] += len(of_study)
            if found.names[study.learner_id, study.course_id] > MAX_LEARNER_NAMES:
                tight[study] = totals.results_by_name(self._tx, study)
        if not tight:
            return sessions
        fitting = []
        for session in sessions:
            key = key_of(session)
            before = tight.get(stored[key].study(self._bucket, key[0])) if key in stored else None
            if before is not None:
                before.subtract(names[key])
            results = tight.get(self._study(session))
            if results is None or self._fits(session, results):
                fitting.append(session)
            elif before is not None:
                before.update(names[key])
        return fitting

    def _fits(self, session: Session, results: Counter[str]) -> bool:
        """Whether the session's names fit beside those under which the learner has results, which they then join."""
        names = [result[0] for result in session.results]
        if len(set(+results).union(names)) > MAX_LEARNER_NAMES:
            reason = (
                f"modulesStats: a learner has results under at most {MAX_LEARNER_NAMES:,} module names in one course"
            )
            self._report.refuse(session.number, reason)
            return False
        results.update(names)
        return True

    def _study(self, session: Session) -> LearnerCourse:
        return LearnerCourse(self._bucket, session.learner_id, session.course_id)

    def _row(self, session: Session, stored: StoredSession | None) -> Values:
        """A row of sessions, as ``INSERT_SESSION`` has it. Without a title on the line, that of the stored session of the same course."""
        title = session.course_title
        if title is None and stored is not None and stored.course_id == session.course_id:
            title = stored.course_title
        return (
            self._bucket,
            session.learner_id,
            session.id,
            session.course_id,
            title or self._courses[session.course_id][1],
            session.topic,
            session.started_at,
            session.ended_at,
            len(session.results),
            session.points,
            session.bytes,
        )

    def _counted(self, session: Session, batch: DeltaBatch) -> Iterator[Values]:
        """Its rows of results, as ``INSERT_RESULT`` has them; counted here, while a server stores those before."""
        difference = TotalsDelta(1, len(session.results), session.points, milliseconds(session))
        batch.add(self._study(session), difference, [result[0] for result in session.results])
        for result in sorted(session.results):
            yield self._bucket, session.learner_id, session.id, *result


def key_of(session: Session) -> Key:
    """Its learner's id, and its own."""
    return session.learner_id, session.id


def portions(sessions: Sequence[Session], stored: Mapping[Key, StoredSession]) -> Iterator[list[Session]]:
    """Sessions, so many together that the module names of the stored ones that they replace take bounded memory."""
    portion: list[Session] = []
    results = 0
    for session in sessions:
        row = stored.get(key_of(session))
        results += row.results if row else 0
        if portion and results > deletion.MAX_RESULTS_PER_BATCH:
            yield portion
            portion, results = [], row.results if row else 0
        portion.append(session)
    if portion:
        yield portion


class StoredRows:
    """What is stored of that to which a batch's sessions refer: all asked together.

    Args:
        tx: the transaction.
        courses: all that there are.
        bucket: the bucket of the sessions.
        sessions: the batch.

    """

    def __init__(self, tx: Transaction, courses: Courses, bucket: int, sessions: Sequence[Session]) -> None:
        learners = list({session.learner_id for session in sessions})
        with tx.pipeline():
            asked = (
                tx.send(LEARNERS, values=learners),
                tx.send(NUMBERS, values=learners),
                totals.send_name_counts(tx, bucket, learners),
            )
            people, numbers, studies = (answer.fetchall() for answer in asked)
        self._learners = dict.fromkeys((row[0] for row in people), 0) | dict(numbers)
        self.courses = courses
        self.names: Counter[Key] = Counter({(learner, course): names for learner, course, names in studies})
        """By learner and course: under at most how many module names there are results."""
        self.studied = {learner for learner, _ in self.names}
        """Who has sessions: nobody has one without totals."""

    def check(self, session: Session) -> None:
        """Check that what a session refers to is there, on a line before it. Raises InvalidInput."""
        learner_on, course = self._learners.get(session.learner_id), self.courses.get(session.course_id)
        if learner_on is None:
            raise InvalidInput.field("userId", "is no account's")
        if course is None:
            raise InvalidInput.field("courseId", "is no course's")
        if learner_on > session.number:
            raise InvalidInput.field("userId", f"is on a later line, {learner_on:,}")
        if course[0] > session.number:
            raise InvalidInput.field("courseId", f"is on a later line, {course[0]:,}")
        if session.id in self.courses:
            raise InvalidInput.field("id", "is a course's")
