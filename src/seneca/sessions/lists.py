"""Pages of sessions, by start, filtered and in either order."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

from seneca.accounts import Learner
from seneca.common.pages import MAX_PAGE_BYTES, Page, count_fitting
from seneca.common.text_types import CursorText
from seneca.common.times import EARLIEST_MS, LATEST_MS, TimeMs
from seneca.database import Row, Transaction
from seneca.errors import CourseNotFound
from seneca.sessions import queries
from seneca.sessions.commands import COURSE_WITH_ID
from seneca.sessions.queries import Session
from seneca.sessions.results import EMPTY_PART
from seneca.sessions.rows import SESSION_COLUMNS, SessionRow

SESSION_BYTES: Final = 600  # the approximate size on the wire of a session without results
MEASURED_FROM_BYTES: Final = MAX_PAGE_BYTES // 12
"""A page that is estimated smaller fits in any case: escapes make a byte six at most, titles and topics add 3 MiB at most."""

Cursor = tuple[TimeMs, CursorText, CursorText]
"""The start, id and learner's id of the last session of a page."""
Load = Callable[[Transaction, Sequence[SessionRow]], list[Session]]
"""Reads the sessions of rows, in the same order."""
LAST_ID: Final = "~"  # greater than every id


class SessionFilter(Struct, frozen=True):
    """Which sessions a list has, and in which order."""

    since: int | None = None
    """Only sessions that started at this time or later, in milliseconds since 1970."""
    until: int | None = None
    """Only sessions that started before this time."""
    course_id: str | None = None
    topic: str | None = None
    is_end: bool | None = None
    is_descending: bool = False
    """Latest first."""

    @property
    def first(self) -> Cursor:
        """The position before the first session."""
        if self.is_descending:
            return (LATEST_MS, LAST_ID, LAST_ID) if self.until is None else (self.until, "", "")
        return (EARLIEST_MS if self.since is None else self.since, "", "")


ALL: Final = SessionFilter()

OF_LEARNER: Final = "bucket = :bucket AND learner_id = :learner_id"
OF_COURSE: Final = "course_id = :scope_id"
WITH_ID: Final = "id = :scope_id"


class _Scope(Struct, frozen=True):
    condition: str
    values: Mapping[str, object]


@lru_cache(64)
def page_query(scope: str, filters: tuple[str, ...], *, is_descending: bool) -> str:
    """Make the query of a page: of a scope, after a position, and with the conditions of some filters."""
    keys = ("started_at", "id") if scope == OF_LEARNER else ("started_at", "id", "learner_id")
    position = ", ".join(f":after_{key}" for key in keys)
    order = ", ".join(f"{key} DESC" if is_descending else key for key in keys)
    conditions = [scope, f"({', '.join(keys)}) {'<' if is_descending else '>'} ({position})", *filters]
    return f"""
SELECT {SESSION_COLUMNS} FROM sessions
WHERE {" AND ".join(conditions)}
ORDER BY {order}
LIMIT :limit
"""


def conditions(filter_: SessionFilter) -> Iterator[str]:
    """The conditions of a filter that the first position does not express."""
    if filter_.until is not None and not filter_.is_descending:
        yield "started_at < :until"
    if filter_.since is not None and filter_.is_descending:
        yield "started_at >= :since"
    if filter_.course_id is not None:
        yield "course_id || '' = :course_id"  # without an index: that of the scope is better than one of everybody's sessions
    if filter_.topic is not None:
        yield "topic = :topic"
    if filter_.is_end is not None:
        yield f"ended_at IS {'NOT NULL' if filter_.is_end else 'NULL'}"


def page_of_learner(
    tx: Transaction,
    learner: Learner,
    after: Cursor,
    limit: int,
    filter_: SessionFilter = ALL,
    *,
    load: Load = queries.load,
) -> Page[Session, Cursor]:
    """List a learner's sessions, by start, then id.

    Args:
        tx: the transaction.
        learner: the learner.
        after: the position after which the page starts; ``filter_.first`` for the first page.
        limit: the maximum number of sessions.
        filter_: which sessions, and in which order.
        load: reads the sessions of the rows.

    """
    scope = _Scope(OF_LEARNER, {"bucket": learner.bucket, "learner_id": learner.id})
    return _page(tx, scope, after, limit, filter_, load=load)


def page_of_course_or_id(
    tx: Transaction, id: str, after: Cursor, limit: int, filter_: SessionFilter = ALL
) -> Page[Session, Cursor]:
    """List the sessions of the course with this id, or if there is no such course, those with this session id.

    The arguments are as those of ``page_of_learner``.

    Raises:
        CourseNotFound: neither a course nor a session has this id.

    """
    if tx.fetch_one(COURSE_WITH_ID, id=id):
        return _page(tx, _Scope(OF_COURSE, {"scope_id": id}), after, limit, filter_)
    page = _page(tx, _Scope(WITH_ID, {"scope_id": id}), after, limit, filter_)
    if not page.items and tx.fetch_one(SESSION_WITH_ID, id=id) is None:
        raise CourseNotFound("There is neither a course nor a session with this id.")
    return page


SESSION_WITH_ID = "SELECT 1 FROM sessions WHERE id = :id LIMIT 1"


def _page(
    tx: Transaction, scope: _Scope, after: Cursor, limit: int, filter_: SessionFilter, *, load: Load = queries.load
) -> Page[Session, Cursor]:
    query = page_query(scope.condition, tuple(conditions(filter_)), is_descending=filter_.is_descending)
    rows = tx.stream(
        query,
        after_started_at=after[0],
        after_id=after[1],
        after_learner_id=after[2],
        limit=limit + 1,
        **asdict(filter_),
        **scope.values,
    )
    return _load_page(tx, rows, limit, load)


def _load_page(tx: Transaction, rows: Iterable[Row], limit: int, load: Load) -> Page[Session, Cursor]:
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
