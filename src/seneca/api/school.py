"""The settings of the school and of courses over HTTP."""

import asyncio

from msgspec import UNSET

from seneca import school
from seneca.courses import marks
from seneca.courses.marks import CourseSettings, CourseSettingsChange
from seneca.errors import CourseNotFound, TimeZoneInUse
from seneca.http import examples
from seneca.http.app_state import Request, app_state, now_ms
from seneca.http.auth import current_caller, write_as_caller
from seneca.http.endpoint import ResponseSpec, endpoint
from seneca.http.requests import path_text
from seneca.http.responses import Response, json_response
from seneca.school import Settings, SettingsChange

TAG = "Settings"
SCHOOL_RESPONSE = ResponseSpec(200, "The settings.", Settings, examples.SCHOOL_SETTINGS)
COURSE_RESPONSE = ResponseSpec(200, "The settings.", CourseSettings, examples.COURSE_SETTINGS)


@endpoint("GET", "/settings", tag=TAG, requires="admin", responses=[SCHOOL_RESPONSE])
async def get(request: Request) -> Response:
    """Get the school's settings."""
    return json_response(await app_state(request).database.read_snapshot(school.get_all))


@endpoint(
    "PATCH",
    "/settings",
    tag=TAG,
    requires="admin",
    example=examples.SCHOOL_SETTINGS_CHANGE,
    responses=[SCHOOL_RESPONSE],
    errors=[TimeZoneInUse],
)
async def change(request: Request, data: SettingsChange) -> Response:
    """Change the school's settings.

    Members that are left out keep their values; `daysOff` is replaced as a whole. The change is recorded in the audit log.
    """
    if data.time_zone is UNSET:
        return json_response(await write_as_caller(request, school.change, data, now_ms()))
    return json_response(await asyncio.to_thread(_change_alone, request, data))


def _change_alone(request: Request, data: SettingsChange) -> Settings:
    with app_state(request).database.write_transaction() as tx:
        return school.change(tx, current_caller(request), data, now_ms())


@endpoint(
    "GET",
    "/course/{courseIdentifier}/settings",
    tag=TAG,
    requires="admin",
    responses=[COURSE_RESPONSE],
    errors=[CourseNotFound],
)
async def get_of_course(request: Request) -> Response:
    """Get the marks that a course has of its own, and those that apply to it."""
    identifier = path_text(request, "courseIdentifier")
    return json_response(await app_state(request).database.read_snapshot(marks.get, identifier))


@endpoint(
    "PATCH",
    "/course/{courseIdentifier}/settings",
    tag=TAG,
    requires="admin",
    example=examples.COURSE_SETTINGS_CHANGE,
    responses=[COURSE_RESPONSE],
    errors=[CourseNotFound],
)
async def change_of_course(request: Request, data: CourseSettingsChange) -> Response:
    """Change the marks that a course has of its own.

    Members that are left out keep their values; `null` returns to the school's mark. The change is recorded in the audit log.
    """
    identifier = path_text(request, "courseIdentifier")
    return json_response(await write_as_caller(request, marks.change, identifier, data, now_ms()))


ROUTES = [get, change, get_of_course, change_of_course]
