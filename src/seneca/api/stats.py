"""Statistics over HTTP."""

from seneca import accounts
from seneca.accounts import Learner
from seneca.api.session_filter import PARAMS, read_filter
from seneca.api.session_table import SESSIONS
from seneca.api.statistics_response import respond
from seneca.common.pages import Page
from seneca.database import Transaction
from seneca.errors import AccountNotFound, CourseNotFound, SessionNotFound
from seneca.http import examples, pagination
from seneca.http.app_state import Request, app_state
from seneca.http.auth import current_caller, current_learner
from seneca.http.endpoint import ResponseSpec, endpoint
from seneca.http.requests import path_uuid
from seneca.http.responses import AsgiResponse, Response, json_response
from seneca.http.tables import list_response
from seneca.sessions import lists
from seneca.sessions.queries import Session
from seneca.stats import queries as statistics_queries
from seneca.stats.queries import SessionStatistics, Statistics, WhichNames

TAG = "Statistics"
STATISTICS_RESPONSE = ResponseSpec(200, "The statistics.", Statistics, examples.STATISTICS)
SESSION_STATISTICS_RESPONSE = ResponseSpec(200, "The statistics.", SessionStatistics, examples.SESSION_STATISTICS)
SESSIONS_RESPONSE = ResponseSpec(
    200,
    "Sessions, by start.",
    list[Session],
    [examples.SESSION],
    pagination.LINK,
)
PAGE_PARAMS = ["limit", "cursor", *PARAMS]


@endpoint(
    "GET",
    "/stats/sessions/{id}",
    tag=TAG,
    requires="admin",
    query=PAGE_PARAMS,
    table=SESSIONS,
    responses=[SESSIONS_RESPONSE],
    errors=[CourseNotFound],
)
async def sessions_of_course(request: Request) -> AsgiResponse:
    """List the sessions of a course, or with a session id.

    If there is no course with this id, list the sessions with this id: several learners may have chosen the same.
    """
    filter_ = await read_filter(request, pagination.page_params(request).filters)
    id_ = path_uuid(request, "id")

    def read(tx: Transaction, after: lists.Cursor, limit: int) -> Page[Session, lists.Cursor]:
        return lists.page_of_course_or_id(tx, id_, after, limit, filter_)

    return await list_response(request, read, lists.Cursor, filter_.first)


@endpoint(
    "GET",
    "/stats/courses/{courseId}",
    tag=TAG,
    requires="signed-in",
    responses=[STATISTICS_RESPONSE],
    errors=[CourseNotFound],
)
async def course(request: Request) -> AsgiResponse:
    """Get a course's statistics: for administrators over all learners, for learners their own."""
    caller = current_caller(request)
    course_id = path_uuid(request, "courseId")
    if caller.role == "admin":
        return await respond(request, statistics_queries.of_course, course_id)
    return await respond(request, statistics_queries.of_learner_in_course, caller.id, course_id)


@endpoint(
    "GET",
    "/stats/courses/{courseId}/sessions/{sessionId}",
    tag=TAG,
    requires="signed-in",
    responses=[SESSION_STATISTICS_RESPONSE],
    errors=[CourseNotFound, SessionNotFound],
)
async def session(request: Request) -> Response:
    """Get a session's statistics: learners their own, administrators any."""
    learner = None if current_caller(request).role == "admin" else current_learner(request)
    return await _session(request, learner)


@endpoint(
    "GET",
    "/stats/user/sessions",
    tag=TAG,
    requires="user",
    query=PAGE_PARAMS,
    table=SESSIONS,
    responses=[SESSIONS_RESPONSE],
)
async def own_sessions(request: Request) -> AsgiResponse:
    """List the caller's sessions."""
    return await _sessions_of(request, current_learner(request))


@endpoint("GET", "/stats/user", tag=TAG, requires="user", responses=[STATISTICS_RESPONSE])
async def own(request: Request) -> AsgiResponse:
    """Get the caller's statistics over all courses."""
    return await respond(request, statistics_queries.of_learner, current_caller(request).id)


@endpoint(
    "GET",
    "/stats/user/courses/{courseId}",
    tag=TAG,
    requires="user",
    responses=[STATISTICS_RESPONSE],
    errors=[CourseNotFound],
)
async def own_course(request: Request) -> AsgiResponse:
    """Get the caller's statistics of a course."""
    course_id = path_uuid(request, "courseId")
    return await respond(request, statistics_queries.of_learner_in_course, current_caller(request).id, course_id)


@endpoint(
    "GET",
    "/stats/user/courses/{courseId}/sessions/{sessionId}",
    tag=TAG,
    requires="user",
    responses=[SESSION_STATISTICS_RESPONSE],
    errors=[CourseNotFound, SessionNotFound],
)
async def own_session(request: Request) -> Response:
    """Get the statistics of one of the caller's sessions."""
    return await _session(request, current_learner(request))


@endpoint(
    "GET", "/stats/users/{userId}", tag=TAG, requires="admin", responses=[STATISTICS_RESPONSE], errors=[AccountNotFound]
)
async def account(request: Request) -> AsgiResponse:
    """Get one account's statistics over all courses."""
    user_id = path_uuid(request, "userId")

    def read(tx: Transaction, *, which_names: WhichNames) -> Statistics:
        return statistics_queries.of_learner(tx, accounts.get(tx, user_id).id, which_names=which_names)

    return await respond(request, read, queries="several")


@endpoint(
    "GET",
    "/stats/users/{userId}/courses/{courseId}",
    tag=TAG,
    requires="admin",
    responses=[STATISTICS_RESPONSE],
    errors=[AccountNotFound, CourseNotFound],
)
async def account_course(request: Request) -> AsgiResponse:
    """Get one account's statistics of a course."""
    user_id, course_id = (
        path_uuid(request, "userId"),
        path_uuid(request, "courseId"),
    )

    def read(tx: Transaction, *, which_names: WhichNames) -> Statistics:
        return statistics_queries.of_learner_in_course(
            tx, accounts.get(tx, user_id).id, course_id, which_names=which_names
        )

    return await respond(request, read, queries="several")


@endpoint(
    "GET",
    "/stats/users/{userId}/sessions",
    tag=TAG,
    requires="admin",
    query=PAGE_PARAMS,
    table=SESSIONS,
    responses=[SESSIONS_RESPONSE],
    errors=[AccountNotFound],
)
async def account_sessions(request: Request) -> AsgiResponse:
    """List one account's sessions."""
    user_id = path_uuid(request, "userId")
    learner = await app_state(request).database.read(accounts.learner, user_id)
    return await _sessions_of(request, learner)


async def _sessions_of(request: Request, learner: Learner) -> AsgiResponse:
    filter_ = await read_filter(request, pagination.page_params(request).filters)

    def read(tx: Transaction, after: lists.Cursor, limit: int) -> Page[Session, lists.Cursor]:
        return lists.page_of_learner(tx, learner, after, limit, filter_)

    return await list_response(request, read, lists.Cursor, filter_.first)


async def _session(request: Request, learner: Learner | None) -> Response:
    course_id, session_id = (
        path_uuid(request, "courseId"),
        path_uuid(request, "sessionId"),
    )
    return json_response(
        await app_state(request).database.read_snapshot(statistics_queries.of_session, learner, course_id, session_id)
    )


ROUTES = [
    sessions_of_course,
    course,
    session,
    own_sessions,
    own,
    own_course,
    own_session,
    account,
    account_course,
    account_sessions,
]
