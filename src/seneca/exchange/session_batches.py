"""Store checked sessions in batches: check their references, and compare them with stored sessions."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final

from msgspec.structs import astuple, replace

from seneca.database import Transaction, Values
from seneca.errors import InvalidInput
from seneca.exchange.accounts_and_courses import difference_error
from seneca.exchange.name_limit import CourseNameLimit
from seneca.exchange.references import BatchReferences, Courses
from seneca.exchange.report import Report
from seneca.exchange.session_lines import SessionRecord
from seneca.exchange.spool import Spool
from seneca.exchange.stored_sessions import (
    Key,
    find_differences,
    key_of,
    params_by_learner,
    read_results,
    read_sessions,
    replace_stored,
)
from seneca.sessions import deletion
from seneca.sessions.rows import INSERT_RESULT, INSERT_SESSION, ResultRow, SessionRow
from seneca.stats import totals
from seneca.stats.totals import MAX_LEARNER_NAMES, LearnerCourse
from seneca.stats.totals_batch import TotalsBatch

MAX_SESSIONS_PER_BATCH: Final = 4000
MAX_BYTES_PER_BATCH: Final = 4 * 1024 * 1024
MAX_STORED_BYTES: Final = 16 * 1024 * 1024  # of the stored results that are replaced at a time
RESULT_OVERHEAD_BYTES: Final = 500  # approximate memory of a result without its text


def read_batches(spool: Spool) -> Iterator[tuple[int, list[SessionRecord]]]:
    """Iterate over batches of checked sessions: a bucket, and sessions of its learners without duplicates."""
    for bucket, sessions in spool.by_bucket():
        batch: dict[tuple[str, str], SessionRecord] = {}
        size = 0
        for session in sessions:
            key = key_of(session.row)
            if key in batch or len(batch) == MAX_SESSIONS_PER_BATCH or size > MAX_BYTES_PER_BATCH:
                yield bucket, list(batch.values())
                batch.clear()
                size = 0
            batch[key] = session
            size += session.row.bytes + RESULT_OVERHEAD_BYTES * len(session.results) + len(session.row.activity or "")
        yield bucket, list(batch.values())


class Batch:
    """Stores a batch of sessions of one bucket's learners.

    Args:
        tx: the transaction, in which courses, accounts and voided ids are already stored.
        courses: every course.
        bucket: the bucket of the learners.
        report: counts each session, or rejects it.
        update: whether a line that differs from the stored session replaces it.
        name_limit: enforces the limit on the module names of each course.
        now: the time of the import, in milliseconds since 1970.

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
        now: int,
    ) -> None:
        self._now = now
        self._tx = tx
        self._courses = courses
        self._bucket = bucket
        self._report = report
        self._name_limit = name_limit
        self._update = update

    def store(self, sessions: list[SessionRecord]) -> None:
        """Store sessions without duplicates."""
        references = BatchReferences(self._tx, self._courses, self._bucket, sessions)
        valid = {key_of(session.row): session for session in self._check_references(sessions, references)}
        candidates = [key for key in valid if key[0] in references.learners_with_sessions]
        stored = read_sessions(self._tx, self._bucket, candidates)
        differences = find_differences(self._tx, self._bucket, valid, stored)
        self._report.sessions.skipped += len(stored) - len(differences)
        for key, member in differences.items() if not self._update else ():
            self._report.reject(valid[key].number, difference_error(member).detail)
        changed = [s for key, s in valid.items() if key not in stored or (self._update and key in differences)]
        replaced = {key: stored[key] for key in differences}
        for part in split_by_results(changed, replaced):
            self._write(part, replaced, references)

    def _write(
        self, sessions: list[SessionRecord], stored: Mapping[Key, SessionRow], references: BatchReferences
    ) -> None:
        """Write sessions, each of which is new or replaces a stored one."""
        keys = [key for session in sessions if (key := key_of(session.row)) in stored]
        stored_results = read_results(self._tx, self._bucket, keys)
        names = {key: [result.module_name for result in results] for key, results in stored_results.items()}
        sessions = [self._complete(session, stored, stored_results) for session in sessions]
        sessions = self._enforce_learner_limit(sessions, stored, names, references)
        sessions = self._name_limit.enforce(sessions, self._report.reject)
        sessions.sort(key=lambda session: key_of(session.row))  # the tables' order: twice as fast
        batch = TotalsBatch(self._bucket)
        replaced = [key for session in sessions if (key := key_of(session.row)) in names]
        for key in replaced:
            batch.subtract(stored[key], names[key])
        with self._tx.pipeline():
            for params in params_by_learner(self._bucket, replaced):
                self._tx.execute_later(deletion.DELETE_RESULTS, **params)
                self._tx.execute_later(deletion.DELETE_SESSIONS, **params)
        self._tx.copy_rows(INSERT_SESSION, (astuple(session.row) for session in sessions))
        self._tx.copy_rows(INSERT_RESULT, (row for session in sessions for row in self._result_rows(session, batch)))
        self._name_limit.add(batch.write(self._tx))
        self._report.sessions.stored += len(sessions) - len(replaced)
        self._report.sessions.updated += len(replaced)

    def _check_references(self, sessions: list[SessionRecord], references: BatchReferences) -> list[SessionRecord]:
        """Return the sessions whose references are valid, and reject the others."""
        valid = []
        for session in sessions:
            try:
                references.check(session)
                valid.append(session)
            except InvalidInput as error:
                self._report.reject(session.number, error.detail)
        return valid

    def _enforce_learner_limit(
        self,
        sessions: list[SessionRecord],
        stored: Mapping[Key, SessionRow],
        names: Mapping[Key, Sequence[str]],
        references: BatchReferences,
    ) -> list[SessionRecord]:
        """Return the sessions that keep their learner within the limit on module names in a course, and reject the others."""
        new: defaultdict[LearnerCourse, set[str]] = defaultdict(set)
        for session in sessions:
            new[LearnerCourse.of(session.row)].update(result.module_name for result in session.results)
        near_limit = {}
        for learner_course, new_names in new.items():
            key = learner_course.learner_id, learner_course.course_id
            references.names[key] += len(new_names)
            if references.names[key] > MAX_LEARNER_NAMES:
                near_limit[learner_course] = totals.results_by_name(self._tx, learner_course)
        if not near_limit:
            return sessions
        valid = []
        for session in sessions:
            key = key_of(session.row)
            previous = near_limit.get(LearnerCourse.of(stored[key])) if key in stored else None
            if previous is not None:
                previous.subtract(names[key])
            results = near_limit.get(LearnerCourse.of(session.row))
            if results is None or self._fits(session, results):
                valid.append(session)
            elif previous is not None:
                previous.update(names[key])
        return valid

    def _fits(self, session: SessionRecord, results: Counter[str]) -> bool:
        """Whether the learner stays within the limit with the session's names; if so, add them to ``results``."""
        names = [result.module_name for result in session.results]
        if len(set(+results).union(names)) > MAX_LEARNER_NAMES:
            reason = (
                f"modulesStats: a learner has results under at most {MAX_LEARNER_NAMES:,} module names in one course"
            )
            self._report.reject(session.number, reason)
            return False
        results.update(names)
        return True

    def _complete(
        self,
        session: SessionRecord,
        stored: Mapping[Key, SessionRow],
        stored_results: Mapping[Key, Sequence[ResultRow]],
    ) -> SessionRecord:
        """The record with all that its line omits."""
        key = key_of(session.row)
        if key in stored:
            session = replace_stored(session, stored[key], stored_results[key], self._now, self._tx.idle_ms)
        if session.row.course_title:
            return session
        return replace(session, row=replace(session.row, course_title=self._courses[session.row.course_id][1]))

    def _result_rows(self, session: SessionRecord, batch: TotalsBatch) -> Iterator[Values]:
        """Add the session to the totals, and return the values of ``INSERT_RESULT``.

        Both happen in one pass, while the server stores the preceding rows.
        """
        row = session.row
        batch.add(row, [result.module_name for result in session.results])
        for result in sorted(session.results, key=attrgetter("module_name")):
            yield row.bucket, row.learner_id, row.id, *astuple(result)


def split_by_results(
    sessions: Sequence[SessionRecord], stored: Mapping[Key, SessionRow]
) -> Iterator[list[SessionRecord]]:
    """Split sessions so that the results of the stored sessions that they replace take bounded memory."""
    part: list[SessionRecord] = []
    size = 0
    for session in sessions:
        row = stored.get(key_of(session.row))
        row_size = row.bytes + RESULT_OVERHEAD_BYTES * row.results if row else 0
        size += row_size
        if part and size > MAX_STORED_BYTES:
            yield part
            part, size = [], row_size
        part.append(session)
    if part:
        yield part
