"""Study sessions over HTTP."""

from decimal import Decimal
from typing import Any

from litestar import Request, get, post, put
from msgspec import Struct

from seneca.common import scores
from seneca.common.times import to_iso
from seneca.errors import (
    CourseNotFound,
    QuotaExceeded,
    SessionEnded,
    SessionFull,
    SessionIdTaken,
    SessionNotFound,
    TooManyLearnerNames,
    TooManyNames,
    TopicNotFound,
)
from seneca.http import examples, path_parameters, request_bodies
from seneca.http.app_state import app_state, now
from seneca.http.auth import current_caller, current_learner
from seneca.http.endpoint import ResponseSpec, operation
from seneca.http.limits.long_reads import scan
from seneca.http.responses import JsonResponse, json_response
from seneca.sessions import commands, queries
from seneca.sessions.results import ModuleResult, parse_results


class Started(Struct, frozen=True, rename="camel"):
    """The answer to a start."""

    message: str
    session_id: str


class Updated(Struct, frozen=True, rename="camel"):
    """The answer to an update."""

    message: str
    session_id: str
    session_points: int | Decimal
    updated_modules_stats: list[ModuleResult]


class Ended(Struct, frozen=True, rename="camel"):
    """The answer to an end."""

    message: str
    session_id: str
    session_end: str


@post(
    "/session/startSession",
    opt=operation(
        tag="Study sessions",
        requires="user",
        body=commands.StartSession,
        example=examples.START,
        responses=[
            ResponseSpec(201, "The session has started.", Started, examples.STARTED),
            ResponseSpec(
                200,
                "The same start came before: nothing new was started.",
                Started,
                examples.STARTED,
            ),
        ],
        errors=[CourseNotFound, TopicNotFound, SessionIdTaken, QuotaExceeded],
    ),
)
async def start(request: Request[Any, Any, Any]) -> JsonResponse:
    """Start a session.

    A `sessionId` that the client brings makes the request repeatable: the same start again starts nothing.
    """
    asked = await request_bodies.read(request, commands.StartSession)
    learner, shared, moment = current_learner(request), app_state(request), now()
    async with shared.quotas.charge(learner, 0, moment):
        session_id, is_new = await shared.database.write(commands.start, learner, asked, moment)
    return json_response(
        Started("Session started created successfully", session_id),
        201 if is_new else 200,
    )


@put(
    "/session/updateSession",
    opt=operation(
        tag="Study sessions",
        requires="user",
        body=commands.UpdateSession,
        example=examples.UPDATE,
        responses=[ResponseSpec(200, "The results are recorded.", Updated, examples.UPDATED)],
        errors=[SessionNotFound, SessionEnded, SessionFull, TooManyLearnerNames, TooManyNames, QuotaExceeded],
    ),
)
async def update(request: Request[Any, Any, Any]) -> JsonResponse:
    """Record results of modules.

    A part that is given replaces the stored one, one that is left out stays. All of it is recorded or nothing.
    """
    asked = await request_bodies.read(request, commands.UpdateSession)
    session_id = asked.session_id.lower()
    given = parse_results(asked.module_stats)
    learner, shared = current_learner(request), app_state(request)
    async with shared.quotas.charge(learner, sum(result.bytes for result in given), now()):
        recorded = await shared.database.write(commands.update, learner, session_id, given)
    return json_response(
        Updated(
            "Session updated successfully",
            session_id,
            scores.to_points(recorded.points),
            recorded.modules,
        )
    )


@put(
    "/session/endSession",
    opt=operation(
        tag="Study sessions",
        requires="user",
        body=commands.EndSession,
        example=examples.END,
        responses=[ResponseSpec(200, "The session has ended.", Ended, examples.ENDED)],
        errors=[SessionNotFound, SessionEnded, QuotaExceeded],
    ),
)
async def end(request: Request[Any, Any, Any]) -> JsonResponse:
    """End a session."""
    session_id = (await request_bodies.read(request, commands.EndSession)).session_id.lower()
    learner, shared, moment = current_learner(request), app_state(request), now()
    async with shared.quotas.charge(learner, 0, moment):
        ended_at = await shared.database.write(commands.end, learner, session_id, moment)
    return json_response(Ended("Session ended successfully", session_id, to_iso(ended_at)))


@get(
    "/session/{sessionId:str}",
    opt=operation(
        tag="Study sessions",
        requires="signed-in",
        responses=[ResponseSpec(200, "The session.", queries.Session, examples.SESSION)],
        errors=[SessionNotFound],
    ),
)
async def one(request: Request[Any, Any, Any]) -> JsonResponse:
    """Read a session: a learner one of their own, an administrator any.

    Where several learners brought the same id, an administrator gets the one that started first.
    """
    session_id = path_parameters.identifier(request, "sessionId")
    if current_caller(request).role == "admin":  # many learners may have brought this id
        return json_response(await scan(request, queries.get, None, session_id))
    return json_response(await app_state(request).database.read(queries.get, current_learner(request), session_id))


ROUTES = [start, update, end, one]
