"""Study sessions over HTTP."""

from decimal import Decimal

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
from seneca.http import examples
from seneca.http.app_state import Request, app_state, now_ms
from seneca.http.auth import current_caller, current_learner
from seneca.http.endpoint import ResponseSpec, endpoint
from seneca.http.limits.long_reads import scan
from seneca.http.requests import path_uuid
from seneca.http.responses import Response, json_response
from seneca.sessions import commands, queries
from seneca.sessions.results import ModuleResult, parse_results


class StartSessionResponse(Struct, frozen=True, rename="camel"):
    """The response to the start of a session."""

    message: str
    session_id: str


class UpdateSessionResponse(Struct, frozen=True, rename="camel"):
    """The response to an update of a session."""

    message: str
    session_id: str
    session_points: int | Decimal
    updated_modules_stats: list[ModuleResult]


class EndSessionResponse(Struct, frozen=True, rename="camel"):
    """The response to the end of a session."""

    message: str
    session_id: str
    session_end: str


@endpoint(
    "POST",
    "/session/startSession",
    tag="Study sessions",
    requires="user",
    example=examples.START_SESSION,
    responses=[
        ResponseSpec(201, "Created.", StartSessionResponse, examples.START_SESSION_RESPONSE),
        ResponseSpec(
            200,
            "Started by an earlier identical request; nothing changed.",
            StartSessionResponse,
            examples.START_SESSION_RESPONSE,
        ),
    ],
    errors=[CourseNotFound, TopicNotFound, SessionIdTaken, QuotaExceeded],
)
async def start(request: Request, data: commands.StartSession) -> Response:
    """Start a session.

    With a `sessionId` chosen by the client the request is idempotent: repeating it starts nothing.
    """
    learner, state, now = current_learner(request), app_state(request), now_ms()
    async with state.quotas.charge(learner, 0, now):
        session_id, is_new = await state.database.write(commands.start, learner, data, now)
    return json_response(
        StartSessionResponse("Session started created successfully", session_id),
        201 if is_new else 200,
    )


@endpoint(
    "PUT",
    "/session/updateSession",
    tag="Study sessions",
    requires="user",
    example=examples.UPDATE_SESSION,
    responses=[ResponseSpec(200, "Recorded.", UpdateSessionResponse, examples.UPDATE_SESSION_RESPONSE)],
    errors=[SessionNotFound, SessionEnded, SessionFull, TooManyLearnerNames, TooManyNames, QuotaExceeded],
)
async def update(request: Request, data: commands.UpdateSession) -> Response:
    """Record results of modules.

    A part in the request replaces the stored one; a part that is left out stays. The request is atomic.
    """
    session_id = data.session_id.lower()
    results = parse_results(data.module_stats)
    learner, state = current_learner(request), app_state(request)
    async with state.quotas.charge(learner, sum(result.bytes for result in results), now_ms()):
        updated_session = await state.database.write(commands.update, learner, session_id, results)
    return json_response(
        UpdateSessionResponse(
            "Session updated successfully",
            session_id,
            scores.to_points(updated_session.points),
            updated_session.modules,
        )
    )


@endpoint(
    "PUT",
    "/session/endSession",
    tag="Study sessions",
    requires="user",
    example=examples.END_SESSION,
    responses=[ResponseSpec(200, "Ended.", EndSessionResponse, examples.END_SESSION_RESPONSE)],
    errors=[SessionNotFound, SessionEnded, QuotaExceeded],
)
async def end(request: Request, data: commands.EndSession) -> Response:
    """End a session."""
    session_id = data.session_id.lower()
    learner, state, now = current_learner(request), app_state(request), now_ms()
    async with state.quotas.charge(learner, 0, now):
        ended_at = await state.database.write(commands.end, learner, session_id, now)
    return json_response(EndSessionResponse("Session ended successfully", session_id, to_iso(ended_at)))


@endpoint(
    "GET",
    "/session/{sessionId}",
    tag="Study sessions",
    requires="signed-in",
    responses=[ResponseSpec(200, "The session.", queries.Session, examples.SESSION)],
    errors=[SessionNotFound],
)
async def one(request: Request) -> Response:
    """Get a session: learners their own, administrators any.

    If several learners chose the same id, an administrator gets the session that started first.
    """
    session_id = path_uuid(request, "sessionId")
    if current_caller(request).role == "admin":  # many learners may have chosen this id
        return json_response(await scan(request, queries.get, None, session_id))
    return json_response(await app_state(request).database.read(queries.get, current_learner(request), session_id))


ROUTES = [start, update, end, one]
