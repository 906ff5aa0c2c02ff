"""The application state: the services that the routes of one worker share."""

import time
from typing import Any

from litestar import Request as LitestarRequest
from litestar.connection import ASGIConnection

from seneca.auth.services import Services
from seneca.common.fair_slots import FairSlots
from seneca.privacy.erasure_worker import ErasureWorker
from seneca.sessions.learner_quotas import LearnerQuotas


class AppState(Services, frozen=True, kw_only=True):
    """The services of one worker, created once by ``app.create_app``."""

    erasure_worker: ErasureWorker
    quotas: LearnerQuotas
    list_slots: FairSlots
    export_slots: FairSlots
    started: float
    """``time.monotonic()`` when the server started."""


Connection = ASGIConnection[Any, Any, Any, Any]
Request = LitestarRequest[Any, Any, Any]


def app_state(connection: Connection) -> AppState:
    """The state of the application that received this request."""
    state: AppState = connection.scope["litestar_app"].state["services"]
    return state


def now_ms() -> int:
    """The current time in milliseconds since 1970. Only interfaces read the clock; domain modules take the time as an argument."""
    return time.time_ns() // 1_000_000
