"""Batches of study sessions over HTTP."""

import asyncio
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from seneca.common import scores
from seneca.errors import ApiError, QuotaExceeded
from seneca.http import examples
from seneca.http.app_state import Request, app_state, now_ms
from seneca.http.auth import check_still_signed_in, current_learner
from seneca.http.endpoint import MEBIBYTE, ResponseSpec, endpoint
from seneca.http.problem_details import ProblemDetails, to_problem
from seneca.http.responses import Response, json_response
from seneca.sessions import batch, batch_requests
from seneca.sessions.batch import BatchItem, ItemError, ItemOutcome
from seneca.sessions.batch_requests import SentBatch, SessionBatch, to_items

MAX_BATCH_BYTES = 4 * MEBIBYTE


class BatchResult(Struct, frozen=True, rename="camel"):
    """What became of an item of a batch."""

    session_id: Annotated[str | None, Meta(description="As it was sent; `null` if there was none.")]
    status: Annotated[
        int, Meta(description="201: a new session; 200: merged into a known one, or nothing new; else the problem's.")
    ]
    session_points: int | Decimal | UnsetType = UNSET
    problem: ProblemDetails | UnsetType = UNSET


class BatchResponse(Struct, frozen=True, rename="camel"):
    """The response to a batch."""

    results: Annotated[list[BatchResult], Meta(description="One for each item, in their order.")]


@endpoint(
    "POST",
    "/session/batch",
    tag="Study sessions",
    requires="user",
    max_body_bytes=MAX_BATCH_BYTES,
    documented_body=SessionBatch,
    example=examples.SESSION_BATCH,
    responses=[ResponseSpec(200, "What became of each item.", BatchResponse, examples.BATCH_RESPONSE)],
    errors=[QuotaExceeded],
)
async def record(request: Request, data: bytes) -> Response:
    """Record up to 500 sessions, such as those of a device that was offline.

    Each item is a start, an update and an end in one. It may be repeated: a known session is merged, and nothing is counted twice. An item
    is stored whole or not at all, and a bad one does not affect the others.
    """
    learner, state, now = current_learner(request), app_state(request), now_ms()
    # The slot comes before the decoding, which takes many times the memory of the text.
    async with state.batch_slots.slot(learner.id):
        check_still_signed_in(request)
        sent, items = await asyncio.to_thread(_decode, data, now, state.settings.max_late_days)
        good = [item for item in items if isinstance(item, BatchItem)]
        outcomes: list[ItemOutcome | ItemError] = []
        if good:
            size = sum(item.bytes for item in good)
            async with state.quotas.charge(learner, size, now, writes=len(good)):
                check_still_signed_in(request)
                outcomes = await state.database.write_bulk(batch.record, learner, good, now)
        in_order = iter(outcomes)
        results = [
            _to_result(sent_item.session_id, ItemError(item) if isinstance(item, ApiError) else next(in_order))
            for sent_item, item in zip(sent.items, items, strict=True)
        ]
    return json_response(BatchResponse(results))


def _decode(raw: bytes, now: int, max_late_days: int) -> tuple[SentBatch, list[BatchItem | ApiError]]:
    """Decode a request, and convert its items. The arguments are as those of ``to_items``."""
    sent = batch_requests.decode(raw)
    return sent, to_items(sent, now, max_late_days)


def _to_result(session_id: str | None, outcome: ItemOutcome | ItemError) -> BatchResult:
    if isinstance(outcome, ItemError):
        problem = msgspec.convert(to_problem(outcome.error), ProblemDetails)
        return BatchResult(session_id, outcome.error.status, problem=problem)
    return BatchResult(session_id, outcome.status, session_points=scores.to_points(outcome.points))


ROUTES = [record]
