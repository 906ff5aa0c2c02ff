"""Statistics over HTTP."""

from typing import Any

from litestar import Request, get

from seneca import accounts
from seneca.accounts import Learner
from seneca.api.statistics_response import respond
from seneca.database import Transaction
from seneca.errors import AccountNotFound, CourseNotFound, SessionNotFound
from seneca.http import examples, pagination, path_parameters
from seneca.http.app_state import app_state
from seneca.http.auth import current_caller, current_learner
from seneca.http.endpoint import ResponseSpec, operation
from seneca.http.limits.long_reads import scan
from seneca.http.responses import AsgiResponse, JsonResponse, json_response
from seneca.sessions import queries as sessions_queries
from seneca.stats import queries
from seneca.stats.queries import SessionStatistics, Statistics

AnyRequest = Request[Any, Any, Any]
TAG = "Statistics"
FIGURES = ResponseSpec(200, "The statistics.", Statistics, examples.STATISTICS)
SESSION_FIGURES = ResponseSpec(200, "The statistics.", SessionStatistics, examples.SESSION_STATISTICS)
SESSIONS = ResponseSpec(
    200,
    "Sessions, oldest first.",
    list[sessions_queries.Session],
    [examples.SESSION],
    pagination.LINK,
)
PAGED = ["limit", "cursor"]


@get(
    "/stats/sessions/{id:str}",
    opt=operation(tag=TAG, requires="admin", query=PAGED, responses=[SESSIONS], errors=[CourseNotFound]),
)
async def sessions_of_course(request: AnyRequest) -> JsonResponse:
    """List all sessions of the course with this id, else those with this session id."""
    asked = pagination.page_params(request)
    after = asked.after(sessions_queries.Cursor, sessions_queries.FIRST_PAGE)
    page = await scan(
        request, sessions_queries.page_of_course_or_id, path_parameters.identifier(request, "id"), after, asked.limit
    )
    return json_response(page.items, headers=asked.link(page.next_cursor))


@get(
    "/stats/courses/{courseId:str}",
    opt=operation(tag=TAG, requires="signed-in", responses=[FIGURES], errors=[CourseNotFound]),
)
async def course(request: AnyRequest) -> AsgiResponse:
    """Read a course's statistics: an administrator all learners', a learner their own."""
    caller = current_caller(request)
    course_id = path_parameters.identifier(request, "courseId")
    if caller.role == "admin":
        return await respond(request, queries.of_course, course_id)
    return await respond(request, queries.of_learner_in_course, caller.id, course_id)


@get(
    "/stats/courses/{courseId:str}/sessions/{sessionId:str}",
    opt=operation(
        tag=TAG,
        requires="signed-in",
        responses=[SESSION_FIGURES],
        errors=[CourseNotFound, SessionNotFound],
    ),
)
async def session(request: AnyRequest) -> JsonResponse:
    """Read a session's statistics: an administrator any, a learner their own."""
    learner = None if current_caller(request).role == "admin" else current_learner(request)
    return await _session(request, learner)


@get(
    "/stats/user/sessions",
    opt=operation(tag=TAG, requires="user", query=PAGED, responses=[SESSIONS]),
)
async def own_sessions(request: AnyRequest) -> JsonResponse:
    """List the caller's sessions."""
    return await _sessions_of(request, current_learner(request))


@get("/stats/user", opt=operation(tag=TAG, requires="user", responses=[FIGURES]))
async def own(request: AnyRequest) -> AsgiResponse:
    """Read the caller's statistics over all courses."""
    return await respond(request, queries.of_learner, current_caller(request).id)


@get(
    "/stats/user/courses/{courseId:str}",
    opt=operation(tag=TAG, requires="user", responses=[FIGURES], errors=[CourseNotFound]),
)
async def own_course(request: AnyRequest) -> AsgiResponse:
    """Read the caller's statistics of a course."""
    course_id = path_parameters.identifier(request, "courseId")
    return await respond(request, queries.of_learner_in_course, current_caller(request).id, course_id)


@get(
    "/stats/user/courses/{courseId:str}/sessions/{sessionId:str}",
    opt=operation(
        tag=TAG,
        requires="user",
        responses=[SESSION_FIGURES],
        errors=[CourseNotFound, SessionNotFound],
    ),
)
async def own_session(request: AnyRequest) -> JsonResponse:
    """Read the statistics of one of the caller's sessions."""
    return await _session(request, current_learner(request))


@get(
    "/stats/users/{userId:str}",
    opt=operation(tag=TAG, requires="admin", responses=[FIGURES], errors=[AccountNotFound]),
)
async def account(request: AnyRequest) -> AsgiResponse:
    """Read one account's statistics over all courses."""
    user_id = path_parameters.identifier(request, "userId")

    def read(tx: Transaction, *, quick: bool) -> Statistics:
        return queries.of_learner(tx, accounts.get(tx, user_id).id, quick=quick)

    return await respond(request, read)


@get(
    "/stats/users/{userId:str}/courses/{courseId:str}",
    opt=operation(tag=TAG, requires="admin", responses=[FIGURES], errors=[AccountNotFound, CourseNotFound]),
)
async def account_course(request: AnyRequest) -> AsgiResponse:
    """Read one account's statistics of a course."""
    user_id, course_id = (
        path_parameters.identifier(request, "userId"),
        path_parameters.identifier(request, "courseId"),
    )

    def read(tx: Transaction, *, quick: bool) -> Statistics:
        return queries.of_learner_in_course(tx, accounts.get(tx, user_id).id, course_id, quick=quick)

    return await respond(request, read)


@get(
    "/stats/users/{userId:str}/sessions",
    opt=operation(tag=TAG, requires="admin", query=PAGED, responses=[SESSIONS], errors=[AccountNotFound]),
)
async def account_sessions(request: AnyRequest) -> JsonResponse:
    """List one account's sessions."""
    user_id = path_parameters.identifier(request, "userId")
    learner = await app_state(request).database.read(accounts.learner, user_id)
    return await _sessions_of(request, learner)


async def _sessions_of(request: AnyRequest, learner: Learner) -> JsonResponse:
    asked = pagination.page_params(request)
    after = asked.after(sessions_queries.Cursor, sessions_queries.FIRST_PAGE)
    page = await scan(request, sessions_queries.page_of_learner, learner, after, asked.limit)
    return json_response(page.items, headers=asked.link(page.next_cursor))


async def _session(request: AnyRequest, learner: Learner | None) -> JsonResponse:
    course_id, session_id = (
        path_parameters.identifier(request, "courseId"),
        path_parameters.identifier(request, "sessionId"),
    )
    return json_response(await app_state(request).database.read(queries.of_session, learner, course_id, session_id))


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
