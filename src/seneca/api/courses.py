"""Courses over HTTP."""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from seneca import courses
from seneca.common.pages import Page
from seneca.common.text_types import CursorText
from seneca.courses import Course, CourseChange, NewCourse, Topic, commands
from seneca.database import Transaction
from seneca.errors import CourseInUse, CourseNotFound, PreconditionFailed, TitleTaken
from seneca.http import examples, pagination
from seneca.http.app_state import Request, app_state, now_ms
from seneca.http.auth import write_as_caller
from seneca.http.endpoint import KIBIBYTE, ResponseSpec, endpoint
from seneca.http.requests import header, path_text
from seneca.http.responses import AsgiResponse, Response, empty_response, json_response
from seneca.http.table_files import Cell
from seneca.http.tables import Table, list_response

MAX_COURSE_BYTES = 1024 * KIBIBYTE
ETAG = {"ETag": "The version, for `If-None-Match` and `If-Match`."}


def table_rows(course: Course) -> Iterator[Sequence[Cell]]:
    """The rows of a course: one for each module, one for a topic without modules, and one for a course without topics."""
    cells = (course.id, course.course_title, course.qualification, course.created_at)
    topics = msgspec.json.decode(course.topics_and_modules, type=list[Topic])
    for topic in topics:
        for module in topic.modules or (None,):
            yield *cells, topic.topic, module
    if not topics:
        yield *cells, None, None


TABLE = Table("courses", ("id", "courseTitle", "qualification", "createdAt", "topic", "module"), table_rows)


class CreateCourseResponse(Struct, frozen=True, rename="camel"):
    """The response to the creation of a course."""

    message: str
    new_course: Course


@endpoint(
    "POST",
    "/course/create",
    tag="Courses",
    requires="admin",
    example=examples.NEW_COURSE,
    max_body_bytes=MAX_COURSE_BYTES,
    responses=[ResponseSpec(201, "Created.", CreateCourseResponse, examples.CREATE_COURSE_RESPONSE)],
    errors=[TitleTaken],
)
async def create(request: Request, data: NewCourse) -> Response:
    """Create a course."""
    course = await write_as_caller(request, commands.create, data, now_ms())
    return json_response(CreateCourseResponse("Course created successfully", course), 201)


@endpoint(
    "GET",
    "/course/{courseIdentifier}",
    tag="Courses",
    requires="anyone",
    request_headers=["If-None-Match"],
    responses=[
        ResponseSpec(200, "The course.", Course, examples.COURSE, ETAG),
        ResponseSpec(304, "Not modified: `If-None-Match` has the ETag of the stored version.", headers=ETAG),
    ],
    errors=[CourseNotFound],
)
async def one(request: Request) -> Response:
    """Get a course by its id or its exact title."""
    course = await app_state(request).database.read(courses.get, path_text(request, "courseIdentifier"))
    etag = course.etag
    condition = header(request, b"if-none-match")
    if condition is not None and courses.matches(condition, etag):
        return empty_response(304, {"ETag": etag})
    return json_response(course, headers={"ETag": etag})


@endpoint(
    "GET",
    "/course",
    tag="Courses",
    requires="signed-in",
    query=["limit", "cursor", "q"],
    table=TABLE,
    responses=[ResponseSpec(200, "Courses, by title.", list[Course], [examples.COURSE], pagination.LINK)],
)
async def page(request: Request) -> AsgiResponse:
    """List courses.

    With `q`, list those whose title or qualification contains it (case-insensitive). A table has one row for each module.
    """
    query = pagination.page_params(request).query

    def read(tx: Transaction, after: str, limit: int) -> Page[Course, str]:
        return courses.page(tx, query=query, after=after, limit=limit)

    return await list_response(request, read, CursorText, "")


@endpoint(
    "PUT",
    "/course/{courseIdentifier}",
    tag="Courses",
    requires="admin",
    example=examples.COURSE_CHANGE,
    max_body_bytes=MAX_COURSE_BYTES,
    request_headers=["If-Match"],
    responses=[ResponseSpec(200, "The changed course.", Course, examples.COURSE, ETAG)],
    errors=[CourseNotFound, TitleTaken, PreconditionFailed],
)
async def change(request: Request, data: CourseChange) -> Response:
    """Change a course.

    Members that are left out keep their values. `If-Match` is optional.
    """
    identifier, condition = path_text(request, "courseIdentifier"), header(request, b"if-match")
    course = await write_as_caller(request, commands.change, identifier, data, if_match=condition, now=now_ms())
    return json_response(course, headers={"ETag": course.etag})


@endpoint(
    "DELETE",
    "/course/{courseIdentifier}",
    tag="Courses",
    requires="admin",
    responses=[ResponseSpec(204, "Deleted.")],
    errors=[CourseNotFound, CourseInUse],
)
async def remove(request: Request) -> Response:
    """Delete a course that has no sessions."""
    await write_as_caller(request, commands.delete, path_text(request, "courseIdentifier"), now_ms())
    return empty_response()


ROUTES = [create, one, page, change, remove]
