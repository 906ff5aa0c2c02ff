"""Start sessions, record results in them, end them."""

from collections.abc import Iterator, Sequence

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict, replace

from seneca import accounts
from seneca.accounts import Learner
from seneca.common import text_types
from seneca.common.ids import new_id
from seneca.common.text_types import Id, Name
from seneca.courses import topics
from seneca.courses.topics import CourseHead
from seneca.database import Transaction
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
from seneca.sessions.results import ModuleResult, ModuleUpdates, result_errors, to_response
from seneca.sessions.rows import (
    INSERT_RESULT,
    INSERT_SESSION,
    RESULT_COLUMNS,
    SESSION,
    SESSION_COLUMNS,
    ResultRow,
    SessionRow,
)
from seneca.stats import course_names, totals
from seneca.stats.totals import LearnerCourse

MAX_MODULES = 1000
MAX_BYTES = 4 * 1024 * 1024
MAX_LEARNER_NAMES = 2000
KEPT_COLUMNS = ("module_name", "position")  # of a result that is updated


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
    existing = tx.send(SESSION, bucket=learner.bucket, learner_id=learner.id, session_id=id_)
    course_head = topics.send_get_head(tx, payload.course_identifier)
    course_with_id = tx.send(COURSE_WITH_ID, id=id_)
    account = tx.send(accounts.ACCOUNT, id=learner.id)
    head = course_head.fetchone()
    if has_client_id and (row := existing.fetchone()):
        _check_same_start(payload, SessionRow(*row), None if head is None else head[0])
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
    session = SessionRow(
        bucket=learner.bucket,
        learner_id=learner.id,
        id=id_,
        course_id=course.id,
        course_title=course.title,
        topic=payload.topic,
        started_at=now,
        ended_at=None,
        results=0,
        points=0,
        bytes=0,
    )
    tx.execute_later(INSERT_SESSION, **asdict(session))
    totals.apply(tx, None, session)
    return id_, True


def _check_same_start(payload: StartSession, existing: SessionRow, course_id: str | None) -> None:
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

STORED_RESULTS = f"""
SELECT {RESULT_COLUMNS} FROM results
WHERE bucket = :bucket AND learner_id = :learner_id AND session_id = :session_id AND module_name IN (:values)
"""
PUT_RESULT = f"""{INSERT_RESULT}ON CONFLICT (bucket, learner_id, session_id, module_name) DO UPDATE SET
    {", ".join(f"{column} = excluded.{column}" for column in ResultRow.__struct_fields__ if column not in KEPT_COLUMNS)}
"""
UPDATE_SESSION = """
UPDATE sessions SET results = :results, points = :points, bytes = :bytes
WHERE bucket = :bucket AND learner_id = :learner_id AND id = :session_id
"""


def update(tx: Transaction, learner: Learner, session_id: str, updates: Sequence[ResultRow]) -> UpdatedSession:
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
    before = SessionRow(*row)
    if before.ended_at is not None:
        raise SessionEnded(before.ended_at)
    merge = MergedResults({row[0]: ResultRow(*row) for row in stored.fetchall()}, updates, before.results)
    after = replace(
        before,
        results=before.results + len(merge.added),
        points=before.points + merge.points,
        bytes=before.bytes + merge.bytes,
    )
    check_limits(after.results, after.bytes)
    new = find_new_names(learner_lookup, merge.added) if merge.added else []
    new_to_bucket = course_lookup.new_to_bucket(before.course_id, new) if new else []
    tx.execute_later(UPDATE_SESSION, results=after.results, points=after.points, bytes=after.bytes, **key)
    tx.insert_many_later(PUT_RESULT, [{**key, **asdict(result)} for result in merge.merged])
    if merge.added:
        totals.add_names(tx, LearnerCourse.of(after), merge.added, new, new_to_bucket)
    totals.apply(tx, before, after, len(new))
    return UpdatedSession(after.points, [to_response(result) for result in merge.merged])


class MergedResults:
    """Updates merged into stored results, and the changes of points and bytes."""

    def __init__(self, stored: dict[str, ResultRow], updates: Sequence[ResultRow], results: int) -> None:
        self.merged: list[ResultRow] = []
        self.added: list[str] = []
        self.points = 0  # thousandths
        self.bytes = 0
        for update in updates:
            result = stored.get(update.module_name)
            if result is None:
                result = replace(update, position=results + len(self.added))
                self.added.append(update.module_name)
            else:
                self.points -= result.points
                self.bytes -= result.bytes
                result = result.merge(update)
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

END = f"""
UPDATE sessions SET ended_at = CASE WHEN started_at > :now THEN started_at ELSE :now END
WHERE bucket = :bucket AND learner_id = :learner_id AND id = :session_id AND ended_at IS NULL
RETURNING {SESSION_COLUMNS}
"""


def end(tx: Transaction, learner: Learner, session_id: str, now: int) -> int:
    """End a session; returns its end in milliseconds since 1970, which is never before its start.

    Raises:
        SessionNotFound: the learner has no session with this id.
        SessionEnded: the session has already ended.

    """
    key = {"bucket": learner.bucket, "learner_id": learner.id, "session_id": session_id}
    ended = tx.fetch_all(END, now=now, **key)
    row = ended[0] if ended else tx.fetch_one(SESSION, **key)
    if row is None:
        raise SessionNotFound
    session = SessionRow(*row)
    assert session.ended_at is not None  # END has set it now or did not match
    if not ended:
        raise SessionEnded(session.ended_at)
    totals.apply(tx, replace(session, ended_at=None), session)
    return session.ended_at
