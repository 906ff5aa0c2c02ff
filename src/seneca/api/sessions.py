"""Study sessions over HTTP."""

from decimal import Decimal

from msgspec import Struct

from seneca.common import scores
from seneca.common.times import to_iso
from seneca.errors import (
    Ambiguous,
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
from seneca.http.app_state import Request, app_state, now_ms
from seneca.http.auth import current_caller, current_learner
from seneca.http.endpoint import ResponseSpec, endpoint
from seneca.http.requests import path_uuid, query_uuid
from seneca.http.responses import Response, empty_response, json_response
from seneca.sessions import commands, corrections, queries
from seneca.sessions.corrections import SessionCorrection
from seneca.sessions.requests import EndSession, SessionActivity, StartSession, UpdateSession
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
    errors=[CourseNotFound, TopicNotFound, SessionIdTaken, SessionVoided, TooLate, QuotaExceeded],
)
async def start(request: Request, data: StartSession) -> Response:
    """Start a session.

    With a `sessionId` chosen by the client the request is idempotent: repeating it starts nothing.
    """
    learner, state, now = current_learner(request), app_state(request), now_ms()
    started_at = data.started_at(now, state.settings.max_late_days)
    async with state.quotas.charge(learner, 0, now):
        session_id, is_new = await state.database.write(commands.start, learner, data, started_at)
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
    errors=[SessionNotFound, SessionEnded, SessionFull, TooManyLearnerNames, TooManyNames, TooLate, QuotaExceeded],
)
async def update(request: Request, data: UpdateSession) -> Response:
    """Record results of modules.

    A part in the request replaces the stored one; a part that is left out stays. The request is atomic.
    """
    session_id = data.session_id.lower()
    learner, state, now = current_learner(request), app_state(request), now_ms()
    results = data.results(now, state.settings.max_late_days)
    async with state.quotas.charge(learner, sum(result.row.bytes for result in results), now):
        updated_session = await state.database.write(commands.update, learner, session_id, results, now=now)
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
    errors=[SessionNotFound, SessionEnded, TooLate, QuotaExceeded],
)
async def end(request: Request, data: EndSession) -> Response:
    """End a session."""
    session_id = data.session_id.lower()
    learner, state, now = current_learner(request), app_state(request), now_ms()
    recorded_at = data.ended_at(now, state.settings.max_late_days)
    async with state.quotas.charge(learner, 0, now):
        ended_at = await state.database.write(commands.end, learner, session_id, recorded_at, now=now)
    return json_response(EndSessionResponse("Session ended successfully", session_id, to_iso(ended_at)))


@endpoint(
    "PUT",
    "/session/activity",
    tag="Study sessions",
    requires="user",
    example=examples.SESSION_ACTIVITY,
    responses=[ResponseSpec(204, "Counted.")],
    errors=[SessionNotFound, SessionEnded, SessionFull, TooLate, QuotaExceeded],
)
async def activity(request: Request, data: SessionActivity) -> Response:
    """Report that the learner is active in a session, without results.

    Each event of a session (its start, updates, activity) counts some minutes as active time, fewer if the next one follows sooner.
    """
    learner, state, now = current_learner(request), app_state(request), now_ms()
    recorded_at = data.at(now, state.settings.max_late_days)
    async with state.quotas.charge(learner, 0, now):
        await state.database.write(commands.note_activity, learner, data.session_id.lower(), recorded_at, now=now)
    return empty_response()


@endpoint(
    "GET",
    "/session/{sessionId}",
    tag="Study sessions",
    requires="signed-in",
    responses=[ResponseSpec(200, "The session.", queries.Session, examples.SESSION)],
    query=["userId"],
    errors=[SessionNotFound, Ambiguous],
)
async def one(request: Request) -> Response:
    """Get a session: learners their own, administrators any.

    If several learners chose the same id, administrators say with `userId` whose session it is.
    """
    session_id, user_id = path_uuid(request, "sessionId"), query_uuid(request, "userId")
    database = app_state(request).database
    if current_caller(request).role == "admin":
        return json_response(await database.read_snapshot(queries.get, user_id, session_id))
    learner = current_learner(request)
    if user_id not in (None, learner.id):
        raise SessionNotFound
    return json_response(await database.read_snapshot(queries.get, learner.id, session_id))


@endpoint(
    "PATCH",
    "/session/{sessionId}",
    tag="Study sessions",
    requires="admin",
    query=["userId"],
    example=examples.SESSION_CORRECTION,
    responses=[ResponseSpec(200, "The corrected session.", queries.Session, examples.SESSION)],
    errors=[SessionNotFound, Ambiguous],
)
async def correct(request: Request, data: SessionCorrection) -> Response:
    """Set the start or the end of a session, or reopen it with `sessionEnd: null`.

    An end that was set so is not changed by what a device reports later.
    """
    session = await app_state(request).database.write(
        corrections.correct,
        current_caller(request),
        path_uuid(request, "sessionId"),
        query_uuid(request, "userId"),
        data,
        now=now_ms(),
    )
    return json_response(session)


@endpoint(
    "DELETE",
    "/session/{sessionId}",
    tag="Study sessions",
    requires="admin",
    query=["userId"],
    responses=[ResponseSpec(204, "Deleted.")],
    errors=[SessionNotFound, Ambiguous],
)
async def void(request: Request) -> Response:
    """Delete a session with its results, from all statistics too. Its learner cannot start a session with the same id again."""
    await app_state(request).database.write(
        corrections.void,
        current_caller(request),
        path_uuid(request, "sessionId"),
        query_uuid(request, "userId"),
        now_ms(),
    )
    return empty_response()


ROUTES = [start, update, end, activity, one, correct, void]
