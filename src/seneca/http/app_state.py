"""What the routes of one worker share."""

import time
from typing import Any

from litestar.connection import ASGIConnection
from msgspec import Struct

from seneca.auth.password_hasher_pool import PasswordHasherPool
from seneca.auth.password_policy import PasswordPolicy
from seneca.auth.token_verifier import TokenVerifier
from seneca.database import Database
from seneca.http.limits.fair_slots import FairSlots
from seneca.privacy.erasure_worker import ErasureWorker
from seneca.sessions.learner_quotas import LearnerQuotas
from seneca.settings import Settings


class AppState(Struct, frozen=True):
    """Made once, by ``app.create_app``."""

    settings: Settings
    database: Database
    token_verifier: TokenVerifier
    password_hashers: PasswordHasherPool
    password_policy: PasswordPolicy
    sign_in_slots: FairSlots
    """To be held while a sign-in is at the database, by its address: they leave half of the connections for writes to others."""
    erasure_worker: ErasureWorker
    quotas: LearnerQuotas
    list_slots: FairSlots
    export_slots: FairSlots
    started: float
    """``time.monotonic()`` when the server started."""


Connection = ASGIConnection[Any, Any, Any, Any]


def app_state(connection: Connection) -> AppState:
    """The services of the application that this request came to."""
    shared: AppState = connection.scope["litestar_app"].state["services"]
    return shared


def now() -> int:
    """The time, in milliseconds since 1970. Doors read the clock; concepts are told."""
    return time.time_ns() // 1_000_000
