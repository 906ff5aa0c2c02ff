"""Queries for one session, and for pages of sessions."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from operator import attrgetter

from msgspec import Struct

from seneca.accounts import Learner
from seneca.common import scores
from seneca.common.pages import MAX_PAGE_BYTES, Page, count_fitting
from seneca.common.text_types import CursorText
from seneca.common.times import EARLIEST_MS, TimeMs, to_iso
from seneca.database import Row, Transaction
from seneca.errors import CourseNotFound, SessionNotFound
from seneca.sessions.commands import COURSE_WITH_ID
from seneca.sessions.results import EMPTY_PART, ModuleResult, to_response
from seneca.sessions.rows import RESULT_COLUMNS, SESSION, SESSION_COLUMNS, ResultRow, SessionRow


class Session(Struct, frozen=True, rename="camel"):
    """A session, as clients see it."""

    id: str
    user_id: str
    course_id: str
    course_title: str
    topic: str
    session_start: str
    session_end: str | None
    is_end: bool
    session_points: int | Decimal
    modules_stats: list[ModuleResult]


# -- reading -----------------------------------------------------------------------------------

OF_ANYONE = f"SELECT {SESSION_COLUMNS} FROM sessions WHERE id = :id ORDER BY started_at, learner_id"


def find(
    tx: Transaction,
    learner: Learner | None,
    id: str,
    course_id: str | None = None,
) -> SessionRow:
    """Find a session's row.

    If several learners have chosen the same session id, a query without a learner finds the session that started first.

    Args:
        tx: the transaction.
        learner: the session's learner; None (for administrators): any.
        id: the session id.
        course_id: the session's course; None: any.

    Raises:
        SessionNotFound: there is no such session.

    """
    rows = (
        tx.fetch_all(OF_ANYONE, id=id)
        if learner is None
        else tx.fetch_all(SESSION, bucket=learner.bucket, learner_id=learner.id, session_id=id)
    )
    for row in (SessionRow(*columns) for columns in rows):
        if course_id in (None, row.course_id):
            return row
    raise SessionNotFound


RESULTS = f"""
SELECT session_id, {RESULT_COLUMNS} FROM results
WHERE bucket = :bucket AND learner_id = :learner_id AND session_id IN (:values)
"""


def results_of(tx: Transaction, learner: Learner, session_ids: Sequence[str]) -> dict[str, list[ResultRow]]:
    """Read the results of some of a learner's sessions, for each session in the order in which modules were first recorded."""
    by_session: dict[str, list[ResultRow]] = {id_: [] for id_ in session_ids}
    for session_id, *columns in tx.fetch_in(RESULTS, session_ids, bucket=learner.bucket, learner_id=learner.id):
        by_session[session_id].append(ResultRow(*columns))
    for results in by_session.values():
        results.sort(key=attrgetter("position"))
    return by_session


def load(tx: Transaction, rows: Sequence[SessionRow]) -> list[Session]:
    """Load the sessions of rows, with their results, in the same order."""
    by_learner: dict[Learner, list[str]] = {}
    for row in rows:
        by_learner.setdefault(Learner(row.learner_id, row.bucket), []).append(row.id)
    results = {learner.id: results_of(tx, learner, ids) for learner, ids in by_learner.items()}
    return [_session(row, results[row.learner_id][row.id]) for row in rows]


def _session(row: SessionRow, results: Sequence[ResultRow]) -> Session:
    return Session(
        id=row.id,
        user_id=row.learner_id,
        course_id=row.course_id,
        course_title=row.course_title,
        topic=row.topic,
        session_start=to_iso(row.started_at),
        session_end=None if row.ended_at is None else to_iso(row.ended_at),
        is_end=row.ended_at is not None,
        session_points=scores.to_points(row.points),
        modules_stats=[to_response(result) for result in results],
    )


def get(tx: Transaction, learner: Learner | None, id: str) -> Session:
    """Read a session. ``learner`` is None for administrators. Raises SessionNotFound."""
    return load(tx, [find(tx, learner, id)])[0]


# -- lists -------------------------------------------------------------------------------------

PAGE_OF_LEARNER = f"""
SELECT {SESSION_COLUMNS} FROM sessions
WHERE bucket = :bucket AND learner_id = :learner_id AND (started_at, id) > (:after_time, :after_id)
ORDER BY started_at, id
LIMIT :limit
"""
PAGE_OF_COURSE = f"""
SELECT {SESSION_COLUMNS} FROM sessions
WHERE course_id = :course_id AND (started_at, id, learner_id) > (:after_time, :after_id, :after_learner)
ORDER BY started_at, id, learner_id
LIMIT :limit
"""
PAGE_WITH_ID = f"""
SELECT {SESSION_COLUMNS} FROM sessions
WHERE id = :id AND (started_at, learner_id) > (:after_time, :after_learner)
ORDER BY started_at, learner_id
LIMIT :limit
"""

SESSION_BYTES = 400  # the approximate size on the wire of a session without results
MEASURED_FROM_BYTES = MAX_PAGE_BYTES // 12
"""A page that is estimated smaller fits in any case: escapes make a byte six at most, titles and topics add 3 MiB at most."""

Cursor = tuple[TimeMs, CursorText, CursorText]
"""The start, id and learner's id of the last session of a page."""
FIRST_PAGE: Cursor = (EARLIEST_MS, "", "")


def page_of_learner(tx: Transaction, learner: Learner, after: Cursor, limit: int) -> Page[Session, Cursor]:
    """List a learner's sessions, by start, then id."""
    rows = tx.stream(
        PAGE_OF_LEARNER,
        bucket=learner.bucket,
        learner_id=learner.id,
        after_time=after[0],
        after_id=after[1],
        limit=limit + 1,
    )
    return _page(tx, rows, limit)


def page_of_course_or_id(tx: Transaction, id: str, after: Cursor, limit: int) -> Page[Session, Cursor]:
    """List the sessions of the course with this id, or if there is no such course, those with this session id.

    Raises:
        CourseNotFound: neither a course nor a session has this id.

    """
    if tx.fetch_one(COURSE_WITH_ID, id=id):
        rows = tx.stream(
            PAGE_OF_COURSE,
            course_id=id,
            after_time=after[0],
            after_id=after[1],
            after_learner=after[2],
            limit=limit + 1,
        )
        return _page(tx, rows, limit)
    page = _page(
        tx,
        tx.stream(
            PAGE_WITH_ID,
            id=id,
            after_time=after[0],
            after_learner=after[2],
            limit=limit + 1,
        ),
        limit,
    )
    if not page.items and after == FIRST_PAGE:
        raise CourseNotFound("There is neither a course nor a session with this id.")
    return page


def _page(tx: Transaction, rows: Iterable[Row], limit: int) -> Page[Session, Cursor]:
    """Load rows into a page, which ends early if it would exceed ``MAX_PAGE_BYTES``.

    The number of rows to load is estimated from their stored size. Escaping can make the encoded page larger, so the
    loaded sessions of a large page are measured again.
    """
    page_rows: list[SessionRow] = []
    size = 0
    has_more = False
    for columns in rows:
        row = SessionRow(*columns)
        size += SESSION_BYTES + row.bytes + row.results * 3 * len(EMPTY_PART)
        if page_rows and (len(page_rows) == limit or size > MAX_PAGE_BYTES):
            has_more = True
            break
        page_rows.append(row)
    sessions = load(tx, page_rows)
    if size >= MEASURED_FROM_BYTES and (count := count_fitting(sessions)) < len(sessions):
        del sessions[count:], page_rows[count:]
        has_more = True
    last = page_rows[-1] if has_more else None
    return Page(sessions, None if last is None else (last.started_at, last.id, last.learner_id))
