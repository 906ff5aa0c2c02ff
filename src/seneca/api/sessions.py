"""Study sessions over HTTP."""

from decimal import Decimal
from typing import Any

from litestar import Request, get, post, put
from msgspec import Struct

from seneca.common import units
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
from seneca.http.app_state import now, services
from seneca.http.auth import caller_of, learner_of
from seneca.http.endpoint import Answer, operation
from seneca.http.limits.long_reads import scan
from seneca.http.responses import Reply, reply
from seneca.sessions import commands, queries
from seneca.sessions.results import ModuleResult, read_results


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
        who="user",
        body=commands.Start,
        example=examples.START,
        answers=[
            Answer(201, "The session has started.", Started, examples.STARTED),
            Answer(
                200,
                "The same start came before: nothing new was started.",
                Started,
                examples.STARTED,
            ),
        ],
        refusals=[CourseNotFound, TopicNotFound, SessionIdTaken, QuotaExceeded],
    ),
)
async def start(request: Request[Any, Any, Any]) -> Reply:
    """Start a session.

    A `sessionId` that the client brings makes the request repeatable: the same start again starts nothing.
    """
    asked = await request_bodies.read(request, commands.Start)
    learner, shared, moment = learner_of(request), services(request), now()
    async with shared.quotas.charge(learner, 0, moment):
        session_id, is_new = await shared.database.write(commands.start, learner, asked, moment)
    return reply(
        Started("Session started created successfully", session_id),
        201 if is_new else 200,
    )


@put(
    "/session/updateSession",
    opt=operation(
        tag="Study sessions",
        who="user",
        body=commands.Update,
        example=examples.UPDATE,
        answers=[Answer(200, "The results are recorded.", Updated, examples.UPDATED)],
        refusals=[SessionNotFound, SessionEnded, SessionFull, TooManyLearnerNames, TooManyNames, QuotaExceeded],
    ),
)
async def update(request: Request[Any, Any, Any]) -> Reply:
    """Record results of modules.

    A part that is given replaces the stored one, one that is left out stays. All of it is recorded or nothing.
    """
    asked = await request_bodies.read(request, commands.Update)
    session_id = asked.session_id.lower()
    given = read_results(asked.module_stats)
    learner, shared = learner_of(request), services(request)
    async with shared.quotas.charge(learner, sum(result.bytes for result in given), now()):
        recorded = await shared.database.write(commands.record, learner, session_id, given)
    return reply(
        Updated(
            "Session updated successfully",
            session_id,
            units.points(recorded.points),
            recorded.modules,
        )
    )


@put(
    "/session/endSession",
    opt=operation(
        tag="Study sessions",
        who="user",
        body=commands.End,
        example=examples.END,
        answers=[Answer(200, "The session has ended.", Ended, examples.ENDED)],
        refusals=[SessionNotFound, SessionEnded, QuotaExceeded],
    ),
)
async def end(request: Request[Any, Any, Any]) -> Reply:
    """End a session."""
    session_id = (await request_bodies.read(request, commands.End)).session_id.lower()
    learner, shared, moment = learner_of(request), services(request), now()
    async with shared.quotas.charge(learner, 0, moment):
        ended_at = await shared.database.write(commands.end, learner, session_id, moment)
    return reply(Ended("Session ended successfully", session_id, units.iso(ended_at)))


@get(
    "/session/{sessionId:str}",
    opt=operation(
        tag="Study sessions",
        who="signed-in",
        answers=[Answer(200, "The session.", queries.Session, examples.SESSION)],
        refusals=[SessionNotFound],
    ),
)
async def one(request: Request[Any, Any, Any]) -> Reply:
    """Read a session: a learner one of their own, an administrator any.

    Where several learners brought the same id, an administrator gets the one that started first.
    """
    session_id = path_parameters.identifier(request, "sessionId")
    if caller_of(request).role == "admin":  # many learners may have brought this id
        return reply(await scan(request, queries.get, None, session_id))
    return reply(await services(request).database.read(queries.get, learner_of(request), session_id))


ROUTES = [start, update, end, one]
