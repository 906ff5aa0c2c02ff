"""Record many sessions of one learner in one transaction, with few statements.

Each item is a start, an update and an end in one. It is applied whole or not at all, and a bad item does not affect the others.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import astuple

from seneca import accounts
from seneca.accounts import Learner
from seneca.courses import topics
from seneca.courses.topics import CourseHead
from seneca.database import Transaction
from seneca.errors import (
    ApiError,
    CourseNotFound,
    SessionEnded,
    SessionFull,
    SessionIdTaken,
    SessionVoided,
    TooManyLearnerNames,
    TooManyNames,
    TopicNotFound,
    Unauthenticated,
)
from seneca.sessions import time_zone, voided
from seneca.sessions.commands import check_same_start
from seneca.sessions.rows import (
    INSERT_SESSION,
    RESULT_UPSERT,
    RESULTS_OF_MODULES,
    SESSION_COLUMNS,
    SESSION_UPSERT,
    RecordedResult,
    ResultRow,
    SessionRow,
)
from seneca.sessions.state import SessionState, new_row
from seneca.stats.name_batch import NameBatch
from seneca.stats.totals import LearnerCourse, TotalsChange

MAX_STORED_BYTES: Final = 16 * 1024 * 1024  # of stored results that are read at a time


ITEM_ERRORS: Final = (
    CourseNotFound,
    TopicNotFound,
    SessionIdTaken,
    SessionVoided,
    SessionEnded,
    SessionFull,
    TooManyLearnerNames,
    TooManyNames,
)
"""Errors that concern one item only."""


class BatchItem(Struct, frozen=True):
    """A session to record, with times in milliseconds since 1970; None: the device did not say."""

    session_id: str
    course_identifier: str
    topic: str
    started_at: int | None
    ended_at: int | None
    results: list[RecordedResult]

    @property
    def bytes(self) -> int:
        """The bytes of the results."""
        return sum(result.row.bytes for result in self.results)


class ItemOutcome(Struct, frozen=True, tag=True):
    """What became of a recorded item: 201 for a new session, 200 for a known one; and its points in thousandths."""

    status: Literal[200, 201]
    points: int


class ItemError(Struct, frozen=True, tag=True):
    """What is wrong with an item that was not recorded."""

    error: ApiError


LOCK_SESSIONS = f"""
SELECT {SESSION_COLUMNS} FROM sessions
WHERE bucket = :bucket AND learner_id = :learner_id AND id IN (:values)
ORDER BY id
"""
COURSE_IDS = "SELECT id FROM courses WHERE id IN (:values)"


def record(tx: Transaction, learner: Learner, items: Sequence[BatchItem], now: int) -> list[ItemOutcome | ItemError]:
    """Record sessions, in order; returns what became of each, or what is wrong with it.

    Args:
        tx: the transaction.
        learner: the learner.
        items: the sessions. The same one may occur several times.
        now: the time, in milliseconds since 1970.

    Raises:
        Unauthenticated: the account no longer exists.

    """
    batch = Batch(tx, learner, items, now)
    outcomes: list[ItemOutcome | ItemError] = []
    for chunk in batch.chunks(items):
        outcomes += batch.apply(chunk)
    batch.save_totals()
    return outcomes


class Batch:
    """The stored sessions, courses and names to which a batch refers, and its changes.

    Args:
        tx: the transaction.
        learner: the learner.
        items: all items of the batch.
        now: the time, in milliseconds since 1970.

    Raises:
        Unauthenticated: the account no longer exists.

    """

    def __init__(self, tx: Transaction, learner: Learner, items: Sequence[BatchItem], now: int) -> None:
        self._tx = tx
        self._learner = learner
        self._now = now
        self._key = {"bucket": learner.bucket, "learner_id": learner.id}
        ids = sorted({item.session_id for item in items})
        identifiers = sorted({item.course_identifier for item in items})
        account = tx.select_for_update(accounts.ACCOUNT, id=learner.id)  # before the sessions, as an erasure does
        heads = [topics.send_get_head(tx, identifier) for identifier in identifiers]
        course_ids = tx.send(COURSE_IDS, values=ids)
        rows = tx.select_for_update(LOCK_SESSIONS, values=ids, **self._key)
        zone = time_zone.send_get(tx)
        voided_ids = voided.send_find(tx, learner, ids)  # after the lock, which may have waited for an administrator
        if account.fetchone() is None:
            raise Unauthenticated("signed-out", "This account no longer exists.", account=learner.id)
        head_rows = [head.fetchone() for head in heads]
        self._courses = {name: CourseHead(*row) for name, row in zip(identifiers, head_rows, strict=True) if row}
        self._course_ids = {row[0] for row in course_ids.fetchall()}
        self._voided = {row[0] for row in voided_ids.fetchall()}
        self._rows = {row.id: row for row in (SessionRow(*columns) for columns in rows.fetchall())}
        self._zone = time_zone.of_result(zone)
        self._names = self._lock_names(items)
        self._change = TotalsChange()

    def _lock_names(self, items: Sequence[BatchItem]) -> dict[str, NameBatch]:
        """Lock the learner's totals in each course of the items, in order, and look up the names of the items' results."""
        names: dict[str, set[str]] = {}
        for item in items:
            if (course_id := self._course_id(item)) is not None:
                names.setdefault(course_id, set()).update(result.row.module_name for result in item.results)
        return {
            course_id: NameBatch(
                self._tx, LearnerCourse(self._learner.bucket, self._learner.id, course_id), names[course_id]
            )
            for course_id in sorted(names)
        }

    def _course_id(self, item: BatchItem) -> str | None:
        """The course to which an item would add results; None if it will fail."""
        if row := self._rows.get(item.session_id):
            return row.course_id
        course = self._courses.get(item.course_identifier)
        return None if course is None else course.id

    def chunks(self, items: Sequence[BatchItem]) -> Iterator[Sequence[BatchItem]]:
        """Divide the items into chunks whose stored results take bounded memory."""
        chunk: list[BatchItem] = []
        size = 0
        for item in items:
            row = self._rows.get(item.session_id)
            size += row.bytes if row else 0
            if chunk and size > MAX_STORED_BYTES:
                yield chunk
                chunk, size = [], row.bytes if row else 0
            chunk.append(item)
        yield chunk

    def apply(self, items: Sequence[BatchItem]) -> list[ItemOutcome | ItemError]:
        """Apply some items in order, and store the changed sessions and results."""
        states = self._read_states(items)
        outcomes: list[ItemOutcome | ItemError] = []
        for item in items:
            try:
                outcomes.append(self._apply(states, item))
            except ITEM_ERRORS as error:
                outcomes.append(ItemError(error))
        self._save(list(states.values()))
        return outcomes

    def _read_states(self, items: Sequence[BatchItem]) -> dict[str, SessionState]:
        """Read the stored results of the modules that the items update."""
        names: dict[str, dict[str, None]] = {}
        for item in items:
            if item.session_id in self._rows:
                modules = names.setdefault(item.session_id, {})
                modules.update(dict.fromkeys(result.row.module_name for result in item.results))
        with_results = [id_ for id_, modules in names.items() if modules and self._rows[id_].results]
        stored = self._tx.fetch_each(
            RESULTS_OF_MODULES, [{**self._key, "session_id": id_, "values": list(names[id_])} for id_ in with_results]
        )
        results = {
            id_: {row[0]: ResultRow(*row) for row in rows} for id_, rows in zip(with_results, stored, strict=True)
        }
        return {id_: SessionState(self._rows[id_], results.get(id_, {}), self._tx.idle_ms) for id_ in names}

    def _apply(self, states: dict[str, SessionState], item: BatchItem) -> ItemOutcome:
        stored = states.get(item.session_id)
        course = self._courses.get(item.course_identifier)
        if stored is None:
            state = SessionState(self._new_row(item, course), {}, self._tx.idle_ms, is_new=True)
        else:
            check_same_start(item, stored.row, None if course is None else course.id)
            state = stored.copy()
        if item.results:
            state.record(item.results, self._now, item.ended_at)
        if item.ended_at is not None:
            with suppress(SessionEnded):
                state.end(item.ended_at, self._now)
        self._names[state.row.course_id].add(state.added[len(stored.added) if stored else 0 :])
        states[item.session_id] = state
        return ItemOutcome(201 if stored is None else 200, state.row.points)

    def _new_row(self, item: BatchItem, course: CourseHead | None) -> SessionRow:
        """The row of a session that an item starts.

        Raises:
            SessionVoided: an administrator deleted the learner's session with this id.
            CourseNotFound: no course has this id or title.
            TopicNotFound: the course has no topic of this name.
            SessionIdTaken: the id is a course's.

        """
        if item.session_id in self._voided:
            raise SessionVoided
        if course is None:
            raise CourseNotFound
        if not topics.has_topic(self._tx, course, item.topic):
            raise TopicNotFound
        if item.session_id in self._course_ids:
            raise SessionIdTaken("The session id is a course's.")
        started_at = self._now if item.started_at is None else item.started_at
        return new_row(self._learner, item.session_id, course, item.topic, started_at=started_at, zone=self._zone)

    def _save(self, states: Sequence[SessionState]) -> None:
        """Store new and changed sessions and results, and add them to the change of the totals."""
        # Results can change while every sum of theirs stays the same, and so the row.
        changed = [state for state in states if state.changed or state.row != state.stored]
        new = [astuple(state.row) for state in changed if state.stored is None]
        self._tx.insert_values_later(INSERT_SESSION, new)
        updated = [astuple(state.row) for state in changed if state.stored is not None]
        self._tx.insert_values_later(SESSION_UPSERT, updated)
        self._tx.insert_values_later(
            RESULT_UPSERT,
            [
                (self._learner.bucket, self._learner.id, state.row.id, *astuple(result))
                for state in changed
                for result in state.changed.values()
            ],
        )
        for state in changed:
            self._rows[state.row.id] = state.row
            self._change.add(state.row)
            if state.stored is not None:
                self._change.subtract(state.stored)

    def save_totals(self) -> None:
        """Apply the changes of all items to the totals."""
        for names in self._names.values():  # by course in order, so that two learners do not deadlock
            names.write(self._tx, self._change)
        self._change.count_learners(self._tx, is_stored=True)
        self._change.write_later(self._tx)
