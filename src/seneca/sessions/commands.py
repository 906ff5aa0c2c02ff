"""Start sessions, record results and activity in them, end them: one session at a time (see ``batch`` for many)."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import UNSET, Struct
from msgspec.structs import asdict

from seneca import accounts
from seneca.accounts import Learner
from seneca.common import text_types
from seneca.common.ids import new_id
from seneca.courses import topics
from seneca.courses.topics import CourseHead
from seneca.database import Transaction
from seneca.errors import (
    CourseNotFound,
    SessionIdTaken,
    SessionNotFound,
    SessionVoided,
    TopicNotFound,
    Unauthenticated,
)
from seneca.sessions import storage, time_zone, voided
from seneca.sessions.requests import StartSession
from seneca.sessions.results import ModuleResult, to_response
from seneca.sessions.rows import (
    INSERT_SESSION,
    RESULTS_OF_MODULES,
    SESSION,
    RecordedResult,
    ResultRow,
    SessionRow,
)
from seneca.sessions.state import SessionState, new_row
from seneca.stats import course_names, totals


class UpdatedSession(Struct, frozen=True):
    """The result of an update: the session's points in thousandths, and the updated modules as stored."""

    points: int
    modules: list[ModuleResult]


# -- starting ----------------------------------------------------------------------------------

COURSE_WITH_ID = "SELECT 1 FROM courses WHERE id = :id"


def start(tx: Transaction, learner: Learner, payload: StartSession, started_at: int) -> tuple[str, bool]:
    """Start a session; returns its id, and whether it is new. With an id from the client this is idempotent.

    Args:
        tx: the transaction.
        learner: the session's learner.
        payload: the request.
        started_at: the start of a new session, in milliseconds since 1970.

    Raises:
        CourseNotFound: no course has this id or title.
        TopicNotFound: the course has no topic of this name.
        SessionIdTaken: the id from the client is a course's, or belongs to a session of the learner with another course or topic.
        SessionVoided: an administrator deleted the learner's session with this id.
        Unauthenticated: the account no longer exists.

    """
    id_ = new_id() if payload.session_id is UNSET else payload.session_id.lower()
    existing = voided_id = course_with_id = None
    if payload.session_id is not UNSET:  # nothing has a new id
        existing = tx.send(SESSION, bucket=learner.bucket, learner_id=learner.id, session_id=id_)
        voided_id = voided.send_find(tx, learner, [id_])
        course_with_id = tx.send(COURSE_WITH_ID, id=id_)
    course_head = topics.send_get_head(tx, payload.course_identifier)
    account = tx.select_for_update(accounts.ACCOUNT, id=learner.id)  # so that the learner is counted once a day
    time_zone_row = time_zone.send_get(tx)
    head = course_head.fetchone()
    if existing and (row := existing.fetchone()):
        check_same_start(payload, SessionRow(*row), None if head is None else head[0])
        return id_, False
    if voided_id and voided_id.fetchone():
        raise SessionVoided
    if head is None:
        raise CourseNotFound
    course = CourseHead(*head)
    if not topics.has_topic(tx, course, payload.topic):
        raise TopicNotFound
    if course_with_id and course_with_id.fetchone():
        raise SessionIdTaken("The session id is a course's.")
    if account.fetchone() is None:
        raise Unauthenticated("signed-out", "This account no longer exists.", account=learner.id)
    zone = time_zone.of_result(time_zone_row)
    session = new_row(learner, id_, course, payload.topic, started_at=started_at, zone=zone)
    totals.add_new(tx, session)
    tx.execute_later(INSERT_SESSION, **asdict(session))
    return id_, True


class SessionStart(Protocol):
    """What a request says of a session that it starts."""

    @property
    def course_identifier(self) -> str:
        """The id or the title of the course."""

    @property
    def topic(self) -> str:
        """The topic."""


def check_same_start(payload: SessionStart, existing: SessionRow, course_id: str | None) -> None:
    """Check that a request repeats the start of an existing session, even if the course has since been renamed or changed.

    Args:
        payload: the request.
        existing: the session.
        course_id: the course that the request identifies now; None if there is none, such as after a change of the title.

    """
    if course_id is None and payload.course_identifier != text_types.normalise_name(existing.course_title):
        raise CourseNotFound
    if course_id not in (None, existing.course_id):
        raise SessionIdTaken("You have a session with this id in another course.")
    if payload.topic != text_types.normalise_name(existing.topic):  # old sessions stored names as sent
        raise SessionIdTaken("You have a session with this id on another topic.")


# -- recording ---------------------------------------------------------------------------------


def update(
    tx: Transaction, learner: Learner, session_id: str, updates: Sequence[RecordedResult], *, now: int
) -> UpdatedSession:
    """Record results: each part of an update replaces an older stored one, omitted parts stay unchanged.

    Args:
        tx: the transaction.
        learner: the session's learner.
        session_id: the session.
        updates: results of modules with distinct names.
        now: the time, in milliseconds since 1970.

    Raises:
        SessionNotFound: the learner has no session with this id.
        SessionEnded: the session has ended, and the results were not recorded before the end.
        SessionFull: the session would hold too many modules, bytes or intervals of activity.
        TooManyLearnerNames: the learner would have results under too many module names in this course.
        TooManyNames: the course's learners together would have results under too many module names.

    """
    key = {"bucket": learner.bucket, "learner_id": learner.id, "session_id": session_id}
    names = [update.row.module_name for update in updates]
    session = tx.select_for_update(SESSION, **key)
    stored = tx.send(RESULTS_OF_MODULES, values=names, **key)
    learner_lookup = totals.ModuleNameLookup(tx, names, **key)
    course_lookup = course_names.CourseNameLookup(tx, names, **key)
    row = session.fetchone()
    if row is None:
        raise SessionNotFound
    state = SessionState(SessionRow(*row), {row[0]: ResultRow(*row) for row in stored.fetchall()}, tx.idle_ms)
    merged = state.record(updates, now)
    new = find_new_names(learner_lookup, state.added) if state.added else []
    new_to_bucket = course_lookup.new_to_bucket(state.row.course_id, new) if new else []
    storage.save(tx, state, new, new_to_bucket)
    return UpdatedSession(state.row.points, [to_response(result) for result in merged])


def find_new_names(lookup: totals.ModuleNameLookup, names: Sequence[str]) -> list[str]:
    """Find the names that are new to the learner in the session's course.

    Raises:
        TooManyLearnerNames: with them the learner would have too many module names there.

    """
    new = lookup.new(names)
    if new:
        totals.check_learner_names(lookup.count() + len(new))
    return new


# -- activity and ending -----------------------------------------------------------------------


def note_activity(tx: Transaction, learner: Learner, session_id: str, recorded_at: int | None, *, now: int) -> None:
    """Record that the learner was active in a session.

    Args:
        tx: the transaction.
        learner: the session's learner.
        session_id: the session.
        recorded_at: when, in milliseconds since 1970; None: now.
        now: the time, likewise.

    Raises:
        SessionNotFound: the learner has no session with this id.
        SessionEnded: the session ended before.
        SessionFull: the session would hold too many intervals of activity.

    """
    state = storage.lock(tx, learner, session_id)
    state.note_activity(recorded_at, now)
    storage.save(tx, state)


def end(tx: Transaction, learner: Learner, session_id: str, recorded_at: int | None, *, now: int) -> int:
    """End a session; returns its end in milliseconds since 1970, which is never before its start.

    Args:
        tx: the transaction.
        learner: the session's learner.
        session_id: the session.
        recorded_at: when it ended, in milliseconds since 1970; None: now.
        now: the time, likewise.

    Raises:
        SessionNotFound: the learner has no session with this id.
        SessionEnded: the session has already ended.

    """
    state = storage.lock(tx, learner, session_id)
    ended_at = state.end(recorded_at, now)
    storage.save(tx, state)
    return ended_at
