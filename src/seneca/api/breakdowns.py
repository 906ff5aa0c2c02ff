"""Breakdowns of statistics over HTTP."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import FieldInfo

from seneca import accounts
from seneca.accounts import Learner
from seneca.database import Transaction
from seneca.errors import AccountNotFound, CourseNotFound
from seneca.http import examples
from seneca.http.app_state import Request, now_ms
from seneca.http.auth import current_learner
from seneca.http.content_negotiation import choose_media_type
from seneca.http.endpoint import ResponseSpec, endpoint
from seneca.http.limits.long_reads import scan
from seneca.http.requests import path_uuid
from seneca.http.responses import AsgiResponse, Response, json_response
from seneca.http.table_files import Cell
from seneca.http.tables import JSON, MEDIA_TYPES, Table, table_response, to_cell
from seneca.stats import days, weeks
from seneca.stats.days import Days, DayStatistics, PeriodRequest
from seneca.stats.weeks import Weeks

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
ZonedDay = tuple[DayStatistics, str]


def _table(fields: Sequence[FieldInfo]) -> Table[ZonedDay]:
    """The table of days: some members of each, and the time zone."""

    def rows(entry: ZonedDay) -> Iterator[Sequence[Cell]]:
        day, time_zone = entry
        yield [*(to_cell(getattr(day, field.name)) for field in fields), time_zone]

    return Table("days", [*(field.encode_name for field in fields), "timeZone"], rows)


FIELDS: Final = msgspec.structs.fields(DayStatistics)
COURSE_DAYS_TABLE: Final = _table(FIELDS)
LEARNER_DAYS_TABLE: Final = _table([field for field in FIELDS if field.name != "learners"])
COURSE_DAYS_RESPONSE = ResponseSpec(200, "The days.", Days, examples.COURSE_DAYS)
WEEKS_RESPONSE = ResponseSpec(200, "The weeks.", Weeks, examples.WEEKS)
LEARNER_DAYS_RESPONSE = ResponseSpec(200, "The days.", Days, examples.LEARNER_DAYS)


days_endpoint: Final = partial(endpoint, "GET", tag=TAG, query=list(DAY_PARAMS), query_docs=DAY_PARAMS)


def period_request(request: Request) -> PeriodRequest:
    """The period that a request asks for."""
    params = request.query_params
    return PeriodRequest(params.get("from"), params.get("to"), params.get("by", "day"))


@days_endpoint(
    "/stats/courses/{courseId}/days",
    requires="admin",
    table=COURSE_DAYS_TABLE,
    responses=[COURSE_DAYS_RESPONSE],
    errors=[CourseNotFound],
)
async def course_days(request: Request) -> AsgiResponse:
    """Get a course's statistics by study day, over all learners."""
    course_id, period = path_uuid(request, "courseId"), period_request(request)
    return await _respond(request, lambda tx: days.of_course(tx, course_id, period, now_ms()))


@days_endpoint(
    "/stats/user/days",
    requires="user",
    table=LEARNER_DAYS_TABLE,
    responses=[LEARNER_DAYS_RESPONSE],
)
async def own_days(request: Request) -> AsgiResponse:
    """Get the caller's statistics by study day, over all courses."""
    return await _days_of(request, current_learner(request), None)


@days_endpoint(
    "/stats/user/courses/{courseId}/days",
    requires="user",
    table=LEARNER_DAYS_TABLE,
    responses=[LEARNER_DAYS_RESPONSE],
    errors=[CourseNotFound],
)
async def own_course_days(request: Request) -> AsgiResponse:
    """Get the caller's statistics of a course by study day."""
    return await _days_of(request, current_learner(request), path_uuid(request, "courseId"))


@days_endpoint(
    "/stats/users/{userId}/days",
    requires="admin",
    table=LEARNER_DAYS_TABLE,
    responses=[LEARNER_DAYS_RESPONSE],
    errors=[AccountNotFound],
)
async def account_days(request: Request) -> AsgiResponse:
    """Get one account's statistics by study day, over all courses."""
    return await _days_of(request, path_uuid(request, "userId"), None)


@days_endpoint(
    "/stats/users/{userId}/courses/{courseId}/days",
    requires="admin",
    table=LEARNER_DAYS_TABLE,
    responses=[LEARNER_DAYS_RESPONSE],
    errors=[AccountNotFound, CourseNotFound],
)
async def account_course_days(request: Request) -> AsgiResponse:
    """Get one account's statistics of a course by study day."""
    return await _days_of(request, path_uuid(request, "userId"), path_uuid(request, "courseId"))


@endpoint("GET", "/stats/user/weeks", tag=TAG, requires="user", responses=[WEEKS_RESPONSE])
async def own_weeks(request: Request) -> Response:
    """Get the caller's weeks: the days with study in each, and how many in a row reached the goal.

    Lists the weeks of the last year, since the first one with study. A day counts from one result or one minute on. A week that consists of days
    off breaks no row.
    """
    return json_response(await scan(request, weeks.of_learner, current_learner(request), now_ms()))


async def _days_of(request: Request, learner: Learner | str, course_id: str | None) -> AsgiResponse:
    """Respond with the days of a learner, or of the account with an id."""
    period = period_request(request)

    def read(tx: Transaction) -> Days:
        of = accounts.learner(tx, learner) if isinstance(learner, str) else learner
        return days.of_learner(tx, of, course_id, period, now_ms())

    return await _respond(request, read)


async def _respond(request: Request, read: Callable[[Transaction], Days]) -> AsgiResponse:
    media_type = choose_media_type(request, MEDIA_TYPES)
    if media_type == JSON:
        return json_response(await scan(request, read))
    return await table_response(request, media_type, lambda tx: _with_time_zone(read(tx)))


def _with_time_zone(result: Days) -> Iterator[ZonedDay]:
    return ((day, result.time_zone) for day in result.days)


ROUTES = [course_days, own_days, own_course_days, account_days, account_course_days, own_weeks]
