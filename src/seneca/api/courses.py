"""Courses over HTTP."""

from typing import Any

from litestar import Request, delete, get, post, put
from msgspec import Struct

from seneca import audit, courses
from seneca.audit import Action
from seneca.common.text_types import CursorText
from seneca.courses import Course, CourseChange, NewCourse
from seneca.database import Transaction
from seneca.errors import CourseInUse, CourseNotFound, PreconditionFailed, TitleTaken
from seneca.http import examples, pagination, path_parameters, request_bodies
from seneca.http.app_state import app_state
from seneca.http.auth import current_caller, write_as_admin
from seneca.http.endpoint import KIBIBYTE, ResponseSpec, operation
from seneca.http.headers import header
from seneca.http.limits.long_reads import scan
from seneca.http.responses import JsonResponse, empty_response, json_response

MOST_BYTES = 1024 * KIBIBYTE
ETAG = {"ETag": "The version, for `If-None-Match` and `If-Match`."}


class Created(Struct, frozen=True, rename="camel"):
    """The answer to a new course."""

    message: str
    new_course: Course


@post(
    "/course/create",
    opt=operation(
        tag="Courses",
        requires="admin",
        body=NewCourse,
        example=examples.NEW_COURSE,
        max_body_bytes=MOST_BYTES,
        responses=[ResponseSpec(201, "The course.", Created, examples.CREATED_COURSE)],
        errors=[TitleTaken],
    ),
)
async def create(request: Request[Any, Any, Any]) -> JsonResponse:
    """Create a course."""
    new = await request_bodies.read(request, NewCourse, MOST_BYTES)
    caller = current_caller(request)

    def work(tx: Transaction, moment: int) -> Course:
        return _record(tx, caller.id, "course.created", courses.create(tx, new, moment), moment)

    course = await write_as_admin(request, caller, work)
    return json_response(Created("Course created successfully", course), 201)


@get(
    "/course/{courseIdentifier:str}",
    opt=operation(
        tag="Courses",
        requires="anyone",
        request_headers=["If-None-Match"],
        responses=[
            ResponseSpec(200, "The course.", Course, examples.COURSE, ETAG),
            ResponseSpec(304, "It is still the version that `If-None-Match` names.", headers=ETAG),
        ],
        errors=[CourseNotFound],
    ),
)
async def one(request: Request[Any, Any, Any]) -> JsonResponse:
    """Read a course, by its id or its exact title."""
    course = await app_state(request).database.read(courses.get, path_parameters.text(request, "courseIdentifier"))
    etag = course.etag
    condition = header(request, b"if-none-match")
    if condition is not None and courses.matches(condition, etag):
        return empty_response(304, {"ETag": etag})
    return json_response(course, headers={"ETag": etag})


@get(
    "/course",
    opt=operation(
        tag="Courses",
        requires="signed-in",
        query=["limit", "cursor", "q"],
        responses=[ResponseSpec(200, "Courses, by title.", list[Course], [examples.COURSE], pagination.LINK)],
    ),
)
async def page(request: Request[Any, Any, Any]) -> JsonResponse:
    """List courses; with `q`, those whose title or qualification contains it, in capitals or not."""
    asked = pagination.page_params(request)
    after = asked.after(CursorText, "")
    found = await scan(request, courses.page, query=asked.query, after=after, limit=asked.limit)
    return json_response(found.items, headers=asked.link(found.next_cursor))


@put(
    "/course/{courseIdentifier:str}",
    opt=operation(
        tag="Courses",
        requires="admin",
        body=CourseChange,
        example=examples.COURSE_CHANGE,
        max_body_bytes=MOST_BYTES,
        request_headers=["If-Match"],
        responses=[ResponseSpec(200, "The course as it is now.", Course, examples.COURSE, ETAG)],
        errors=[CourseNotFound, TitleTaken, PreconditionFailed],
    ),
)
async def change(request: Request[Any, Any, Any]) -> JsonResponse:
    """Change a course: what is left out stays. With `If-Match`, only if it still is that version."""
    asked = await request_bodies.read(request, CourseChange, MOST_BYTES)
    identifier, condition = (
        path_parameters.text(request, "courseIdentifier"),
        header(request, b"if-match"),
    )
    caller = current_caller(request)

    def work(tx: Transaction, moment: int) -> Course:
        return _record(tx, caller.id, "course.changed", courses.change(tx, identifier, asked, condition), moment)

    course = await write_as_admin(request, caller, work)
    return json_response(course, headers={"ETag": course.etag})


@delete(
    "/course/{courseIdentifier:str}",
    status_code=200,  # the framework's word only; the answer below is a 204
    opt=operation(
        tag="Courses",
        requires="admin",
        responses=[ResponseSpec(204, "It is gone.")],
        errors=[CourseNotFound, CourseInUse],
    ),
)
async def remove(request: Request[Any, Any, Any]) -> JsonResponse:
    """Delete a course that no session refers to."""
    identifier, caller = path_parameters.text(request, "courseIdentifier"), current_caller(request)

    def work(tx: Transaction, moment: int) -> Course:
        return _record(tx, caller.id, "course.deleted", courses.delete(tx, identifier), moment)

    await write_as_admin(request, caller, work)
    return empty_response()


def _record(tx: Transaction, actor: str, act: Action, course: Course, moment: int) -> Course:
    audit.record(tx, actor, act, course.id, moment)
    return course


ROUTES = [create, one, page, change, remove]
