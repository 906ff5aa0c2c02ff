"""Breakdowns of statistics over HTTP."""

from typing import Any, Final

from seneca import accounts
from seneca.accounts import Learner
from seneca.database import Transaction
from seneca.errors import AccountNotFound, CourseNotFound
from seneca.http import examples
from seneca.http.app_state import Request, app_state
from seneca.http.auth import current_learner
from seneca.http.endpoint import ResponseSpec, endpoint
from seneca.http.limits.long_reads import scan
from seneca.http.requests import path_uuid
from seneca.http.responses import Response, json_response
from seneca.stats import days
from seneca.stats.days import Days, PeriodRequest

TAG: Final = "Breakdowns"
DATE: Final = {"type": "string", "format": "date"}
DAY_PARAMS: Final[dict[str, dict[str, Any]]] = {
    "from": {"description": "The first study day. By default the 28 days until `to`.", "schema": DATE},
    "to": {"description": "The last study day. By default today.", "schema": DATE},
    "by": {
        "description": "A row for each day, or for each whole week, named by its Monday. At most 400 rows.",
        "schema": {"type": "string", "enum": ["day", "week"], "default": "day"},
    },
}
COURSE_DAYS_RESPONSE = ResponseSpec(200, "The days.", Days, examples.COURSE_DAYS)
LEARNER_DAYS_RESPONSE = ResponseSpec(200, "The days.", Days, examples.LEARNER_DAYS)


def period_request(request: Request) -> PeriodRequest:
    """The period that a request asks for."""
    params = request.query_params
    return PeriodRequest(params.get("from"), params.get("to"), params.get("by", "day"))


@endpoint(
    "GET",
    "/stats/courses/{courseId}/days",
    tag=TAG,
    requires="admin",
    query=list(DAY_PARAMS),
    query_docs=DAY_PARAMS,
    responses=[COURSE_DAYS_RESPONSE],
    errors=[CourseNotFound],
)
async def course_days(request: Request) -> Response:
    """Get a course's statistics by study day, over all learners."""
    course_id = path_uuid(request, "courseId")
    now = app_state(request).clock()
    return json_response(await scan(request, days.of_course, course_id, period_request(request), now))


@endpoint(
    "GET",
    "/stats/user/days",
    tag=TAG,
    requires="user",
    query=list(DAY_PARAMS),
    query_docs=DAY_PARAMS,
    responses=[LEARNER_DAYS_RESPONSE],
)
async def own_days(request: Request) -> Response:
    """Get the caller's statistics by study day, over all courses."""
    return await _days_of(request, current_learner(request), None)


@endpoint(
    "GET",
    "/stats/user/courses/{courseId}/days",
    tag=TAG,
    requires="user",
    query=list(DAY_PARAMS),
    query_docs=DAY_PARAMS,
    responses=[LEARNER_DAYS_RESPONSE],
    errors=[CourseNotFound],
)
async def own_course_days(request: Request) -> Response:
    """Get the caller's statistics of a course by study day."""
    return await _days_of(request, current_learner(request), path_uuid(request, "courseId"))


@endpoint(
    "GET",
    "/stats/users/{userId}/days",
    tag=TAG,
    requires="admin",
    query=list(DAY_PARAMS),
    query_docs=DAY_PARAMS,
    responses=[LEARNER_DAYS_RESPONSE],
    errors=[AccountNotFound],
)
async def account_days(request: Request) -> Response:
    """Get one account's statistics by study day, over all courses."""
    return await _days_of(request, path_uuid(request, "userId"), None)


@endpoint(
    "GET",
    "/stats/users/{userId}/courses/{courseId}/days",
    tag=TAG,
    requires="admin",
    query=list(DAY_PARAMS),
    query_docs=DAY_PARAMS,
    responses=[LEARNER_DAYS_RESPONSE],
    errors=[AccountNotFound, CourseNotFound],
)
async def account_course_days(request: Request) -> Response:
    """Get one account's statistics of a course by study day."""
    return await _days_of(request, path_uuid(request, "userId"), path_uuid(request, "courseId"))


async def _days_of(request: Request, learner: Learner | str, course_id: str | None) -> Response:
    """Respond with the days of a learner, or of the account with an id."""

    def read(tx: Transaction) -> Days:
        of = accounts.learner(tx, learner) if isinstance(learner, str) else learner
        return days.of_learner(tx, of, course_id, period_request(request), app_state(request).clock())

    return json_response(await scan(request, read))


ROUTES = [course_days, own_days, own_course_days, account_days, account_course_days]
