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
    SessionVoided,
    TooLate,
    TooManyLearnerNames,
    TooManyNames,
    TopicNotFound,
)
from seneca.http import examples
from seneca.http.app_state import app_state, now_ms
from seneca.http.auth import current_caller, current_learner
from seneca.http.endpoint import ResponseSpec, operation
from seneca.http.limits.long_reads import scan
from seneca.http.requests import path_uuid, read_body
from seneca.http.responses import Response, empty_response, json_response
from seneca.sessions import commands, queries, requests
from seneca.sessions.results import ModuleResult


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


@post(
    "/session/startSession",
    opt=operation(
        tag="Study sessions",
        requires="user",
        body=requests.StartSession,
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
        errors=[CourseNotFound, TopicNotFound, SessionIdTaken, SessionVoided, TooLate, QuotaExceeded],
    ),
)
async def start(request: Request[Any, Any, Any]) -> Response:
    """Start a session.

    With a `sessionId` chosen by the client the request is idempotent: repeating it starts nothing.
    """
    payload = await read_body(request, requests.StartSession)
    learner, state, now = current_learner(request), app_state(request), now_ms()
    started_at = payload.started_at(now, state.settings.max_late_days)
    async with state.quotas.charge(learner, 0, now):
        session_id, is_new = await state.database.write(commands.start, learner, payload, started_at)
    return json_response(
        StartSessionResponse("Session started created successfully", session_id),
        201 if is_new else 200,
    )


@put(
    "/session/updateSession",
    opt=operation(
        tag="Study sessions",
        requires="user",
        body=requests.UpdateSession,
        example=examples.UPDATE_SESSION,
        responses=[ResponseSpec(200, "Recorded.", UpdateSessionResponse, examples.UPDATE_SESSION_RESPONSE)],
        errors=[SessionNotFound, SessionEnded, SessionFull, TooManyLearnerNames, TooManyNames, TooLate, QuotaExceeded],
    ),
)
async def update(request: Request[Any, Any, Any]) -> Response:
    """Record results of modules.

    A part in the request replaces the stored one; a part that is left out stays. The request is atomic.
    """
    payload = await read_body(request, requests.UpdateSession)
    session_id = payload.session_id.lower()
    learner, state, now = current_learner(request), app_state(request), now_ms()
    updates = payload.results(now, state.settings.max_late_days)
    async with state.quotas.charge(learner, sum(update.row.bytes for update in updates), now):
        updated_session = await state.database.write(commands.update, learner, session_id, updates, now=now)
    return json_response(
        UpdateSessionResponse(
            "Session updated successfully",
            session_id,
            scores.to_points(updated_session.points),
            updated_session.modules,
        )
    )


@put(
    "/session/endSession",
    opt=operation(
        tag="Study sessions",
        requires="user",
        body=requests.EndSession,
        example=examples.END_SESSION,
        responses=[ResponseSpec(200, "Ended.", EndSessionResponse, examples.END_SESSION_RESPONSE)],
        errors=[SessionNotFound, SessionEnded, TooLate, QuotaExceeded],
    ),
)
async def end(request: Request[Any, Any, Any]) -> Response:
    """End a session."""
    payload = await read_body(request, requests.EndSession)
    session_id = payload.session_id.lower()
    learner, state, now = current_learner(request), app_state(request), now_ms()
    recorded_at = payload.ended_at(now, state.settings.max_late_days)
    async with state.quotas.charge(learner, 0, now):
        ended_at = await state.database.write(commands.end, learner, session_id, recorded_at, now=now)
    return json_response(EndSessionResponse("Session ended successfully", session_id, to_iso(ended_at)))


@put(
    "/session/activity",
    opt=operation(
        tag="Study sessions",
        requires="user",
        body=requests.SessionActivity,
        example=examples.SESSION_ACTIVITY,
        responses=[ResponseSpec(204, "Counted.")],
        errors=[SessionNotFound, SessionEnded, SessionFull, TooLate, QuotaExceeded],
    ),
    status_code=200,  # for the framework only; the response is a 204
)
async def activity(request: Request[Any, Any, Any]) -> Response:
    """Report that the learner is active in a session, without results.

    Each event of a session (its start, updates, activity and end) counts a few minutes as active time, unless the next one follows sooner.
    """
    payload = await read_body(request, requests.SessionActivity)
    learner, state, now = current_learner(request), app_state(request), now_ms()
    recorded_at = payload.at(now, state.settings.max_late_days)
    async with state.quotas.charge(learner, 0, now):
        await state.database.write(
            commands.note_activity,
            learner,
            payload.session_id.lower(),
            recorded_at,
            now=now,
        )
    return empty_response()


@get(
    "/session/{sessionId:str}",
    opt=operation(
        tag="Study sessions",
        requires="signed-in",
        responses=[ResponseSpec(200, "The session.", queries.Session, examples.SESSION)],
        errors=[SessionNotFound],
    ),
)
async def one(request: Request[Any, Any, Any]) -> Response:
    """Get a session: learners their own, administrators any.

    If several learners chose the same id, an administrator gets the session that started first.
    """
    session_id = path_uuid(request, "sessionId")
    if current_caller(request).role == "admin":  # many learners may have chosen this id
        return json_response(await scan(request, queries.get, None, session_id))
    return json_response(await app_state(request).database.read(queries.get, current_learner(request), session_id))


ROUTES = [start, update, end, activity, one]
