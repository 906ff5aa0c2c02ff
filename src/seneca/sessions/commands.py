"""Start sessions, record results in them, end them."""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType

from seneca import accounts
from seneca.accounts import Learner
from seneca.common import text_types
from seneca.common.ids import new_id
from seneca.common.text_types import Id, Name
from seneca.courses import topics
from seneca.courses.topics import CourseHead
from seneca.database import Row, Transaction
from seneca.errors import (
    CourseNotFound,
    FieldError,
    SessionEnded,
    SessionFull,
    SessionIdTaken,
    SessionNotFound,
    TooManyLearnerNames,
    TopicNotFound,
    Unauthenticated,
)
from seneca.sessions.results import ModuleResult, ModuleResultRow, ModuleUpdates, result_errors
from seneca.stats import course_names, totals
from seneca.stats.totals import LearnerCourse, TotalsDelta

MAX_MODULES = 1000
MAX_BYTES = 4 * 1024 * 1024
MAX_LEARNER_NAMES = 2000


class StartSession(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of a request to start a session."""

    course_identifier: Name
    topic: Name
    session_id: Id | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Normalise the names."""
        text_types.normalise_member(self, "course_identifier", "courseIdentifier")
        text_types.normalise_member(self, "topic", "topic")


class UpdateSession(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of a request to record results."""

    session_id: Id
    module_stats: ModuleUpdates

    def find_errors(self) -> Iterator[FieldError]:
        """Check for repeated names and for scores out of range."""
        return result_errors(self.module_stats, "moduleStats")


class EndSession(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of a request to end a session."""

    session_id: Id


class UpdatedSession(Struct, frozen=True):
    """The result of an update: the session's points in thousandths, and the updated modules as stored."""

    points: int
    modules: list[ModuleResult]


# -- starting ----------------------------------------------------------------------------------

EXISTING = """
SELECT course_id, course_title, topic FROM sessions
WHERE bucket = :bucket AND learner_id = :learner_id AND id = :id
"""
INSERT = """
INSERT INTO sessions (bucket, learner_id, id, course_id, course_title, topic, started_at, ended_at,
                      results, points, bytes)
VALUES (:bucket, :learner_id, :id, :course_id, :course_title, :topic, :now, NULL, 0, 0, 0)
"""
COURSE_WITH_ID = "SELECT 1 FROM courses WHERE id = :id"


def start(tx: Transaction, learner: Learner, payload: StartSession, now: int) -> tuple[str, bool]:
    """Start a session; returns its id, and whether it is new. With an id from the client this is idempotent.

    Raises:
        CourseNotFound: no course has this id or title.
        TopicNotFound: the course has no topic of this name.
        SessionIdTaken: the id from the client is a course's, or belongs to a session of the learner with another course or topic.
        Unauthenticated: the account no longer exists.

    """
    has_client_id = payload.session_id is not UNSET
    id_ = new_id() if payload.session_id is UNSET else payload.session_id.lower()
    existing = tx.send(EXISTING, bucket=learner.bucket, learner_id=learner.id, id=id_)
    course_head = topics.send_get_head(tx, payload.course_identifier)
    course_with_id = tx.send(COURSE_WITH_ID, id=id_)
    account = tx.send(accounts.ACCOUNT, id=learner.id)
    head = course_head.fetchone()
    if has_client_id and (row := existing.fetchone()):
        _check_same_start(payload, row, None if head is None else head[0])
        return id_, False
    if head is None:
        raise CourseNotFound
    course = CourseHead(*head)
    if not topics.has_topic(tx, course, payload.topic):
        raise TopicNotFound
    if has_client_id and course_with_id.fetchone():
        raise SessionIdTaken("The session id is a course's.")
    if account.fetchone() is None:
        raise Unauthenticated("signed-out", "This account no longer exists.", account=learner.id)
    tx.execute_later(
        INSERT,
        bucket=learner.bucket,
        learner_id=learner.id,
        id=id_,
        course_id=course.id,
        course_title=course.title,
        topic=payload.topic,
        now=now,
    )
    totals.apply(tx, LearnerCourse(learner.bucket, learner.id, course.id), TotalsDelta(sessions=1))
    return id_, True


def _check_same_start(payload: StartSession, existing: Row, course_id: str | None) -> None:
    """Check that a request repeats the start of an existing session, even if the course has since been renamed or changed.

    Args:
        payload: the request.
        existing: the session's course, the course's title at the start, and the topic.
        course_id: the course that the request identifies now; None if there is none, such as after a change of the title.

    """
    stored_course_id = existing[0]
    course_title, topic = map(text_types.normalise_name, existing[1:])  # old sessions stored them as sent
    if course_id is None and payload.course_identifier != course_title:
        raise CourseNotFound
    if course_id not in (None, stored_course_id):
        raise SessionIdTaken("You have a session with this id in another course.")
    if payload.topic != topic:
        raise SessionIdTaken("You have a session with this id on another topic.")


# -- recording ---------------------------------------------------------------------------------

SESSION = """
SELECT course_id, ended_at, results, points, bytes FROM sessions
WHERE bucket = :bucket AND learner_id = :learner_id AND id = :session_id
"""
STORED_RESULTS = """
SELECT module_name, position, adaptive, quiz, wrong_answers, adaptive_score, quiz_score FROM results
WHERE bucket = :bucket AND learner_id = :learner_id AND session_id = :session_id AND module_name IN (:values)
"""
PUT_RESULT = """
INSERT INTO results (bucket, learner_id, session_id, module_name, position,
                     adaptive, quiz, wrong_answers, adaptive_score, quiz_score)
VALUES (:bucket, :learner_id, :session_id, :module_name, :position,
        :adaptive, :quiz, :wrong_answers, :adaptive_score, :quiz_score)
ON CONFLICT (bucket, learner_id, session_id, module_name) DO UPDATE SET
    adaptive = excluded.adaptive, quiz = excluded.quiz, wrong_answers = excluded.wrong_answers,
    adaptive_score = excluded.adaptive_score, quiz_score = excluded.quiz_score
"""
UPDATE_SESSION = """
UPDATE sessions SET results = :results, points = :points, bytes = :bytes
WHERE bucket = :bucket AND learner_id = :learner_id AND id = :session_id
"""


def update(tx: Transaction, learner: Learner, session_id: str, updates: Sequence[ModuleResultRow]) -> UpdatedSession:
    """Record results: each part of an update replaces the stored one, omitted parts stay unchanged.

    Args:
        tx: the transaction.
        learner: the session's learner.
        session_id: the session.
        updates: results from ``parse_results``.

    Raises:
        SessionNotFound: the learner has no session with this id.
        SessionEnded: the session has ended.
        SessionFull: the session would hold too many modules or bytes.
        TooManyLearnerNames: the learner would have results under too many module names in this course.
        TooManyNames: the course's learners together would have results under too many module names.

    """
    key = {"bucket": learner.bucket, "learner_id": learner.id, "session_id": session_id}
    names = [module.module_name for module in updates]
    session = tx.select_for_update(SESSION, **key)
    stored = tx.send(STORED_RESULTS, values=names, **key)
    learner_lookup = totals.ModuleNameLookup(tx, names, **key)
    course_lookup = course_names.CourseNameLookup(tx, names, **key)
    row = session.fetchone()
    if row is None:
        raise SessionNotFound
    course_id, ended_at, results, points, size = row
    if ended_at is not None:
        raise SessionEnded(ended_at)
    merge = MergedResults({row[0]: ModuleResultRow(*row) for row in stored.fetchall()}, updates, results)
    points += merge.points
    count = results + len(merge.added)
    check_limits(count, size + merge.bytes)
    new = find_new_names(learner_lookup, merge.added) if merge.added else []
    new_to_bucket = course_lookup.new_to_bucket(course_id, new) if new else []
    tx.execute_later(UPDATE_SESSION, results=count, points=points, bytes=size + merge.bytes, **key)
    tx.insert_many_later(PUT_RESULT, [{**key, **msgspec.structs.asdict(result)} for result in merge.merged])
    learner_course = LearnerCourse(learner.bucket, learner.id, course_id)
    if merge.added:
        totals.add_names(tx, learner_course, merge.added, new, new_to_bucket)
    if merge.added or merge.points:
        totals.apply(tx, learner_course, TotalsDelta(results=len(merge.added), points=merge.points), len(new))
    return UpdatedSession(points, [result.to_response() for result in merge.merged])


class MergedResults:
    """Updates merged into stored results, and the changes of points and bytes."""

    def __init__(self, stored: dict[str, ModuleResultRow], updates: Sequence[ModuleResultRow], results: int) -> None:
        self.merged: list[ModuleResultRow] = []
        self.added: list[str] = []
        self.points = 0  # thousandths
        self.bytes = 0
        for update in updates:
            result = stored.get(update.module_name)
            if result is None:
                result = ModuleResultRow(update.module_name, results + len(self.added))
                self.added.append(update.module_name)
            else:
                self.points -= result.points
                self.bytes -= result.bytes
            result.merge(update)
            self.points += result.points
            self.bytes += result.bytes
            self.merged.append(result)


def check_limits(results: int, size: int) -> None:
    """Check the number of results and the size in bytes that a session would have.

    Raises:
        SessionFull: the session would hold too many modules or bytes.

    """
    if results > MAX_MODULES:
        raise SessionFull(f"A session holds at most {MAX_MODULES:,} modules.")
    if size > MAX_BYTES:
        raise SessionFull("A session holds at most 4 MiB of results.")


def find_new_names(lookup: totals.ModuleNameLookup, names: Sequence[str]) -> list[str]:
    """Find the names that are new to the learner in the session's course.

    Raises:
        TooManyLearnerNames: with them the learner would have too many module names there.

    """
    new = lookup.new(names)
    if new and lookup.count() + len(new) > MAX_LEARNER_NAMES:
        raise TooManyLearnerNames(
            f"A learner has results under at most {MAX_LEARNER_NAMES:,} module names in one course."
        )
    return new


# -- ending ------------------------------------------------------------------------------------

END = """
UPDATE sessions SET ended_at = CASE WHEN started_at > :now THEN started_at ELSE :now END
WHERE bucket = :bucket AND learner_id = :learner_id AND id = :session_id AND ended_at IS NULL
RETURNING course_id, started_at, ended_at
"""


def end(tx: Transaction, learner: Learner, session_id: str, now: int) -> int:
    """End a session; returns its end in milliseconds since 1970, which is never before its start.

    Raises:
        SessionNotFound: the learner has no session with this id.
        SessionEnded: the session has already ended.

    """
    key = {"bucket": learner.bucket, "learner_id": learner.id, "session_id": session_id}
    ended = tx.fetch_all(END, now=now, **key)
    if not ended:
        session = tx.fetch_one(SESSION, **key)
        if session is None:
            raise SessionNotFound
        raise SessionEnded(session[1])
    course_id, started_at, ended_at = ended[0]
    learner_course = LearnerCourse(learner.bucket, learner.id, course_id)
    totals.apply(tx, learner_course, TotalsDelta(milliseconds=ended_at - started_at))
    return int(ended_at)
