"""Create the ASGI application from the settings."""

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import structlog
from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import ASGIApp

from seneca import logs, settings
from seneca.api import (
    accounts,
    audit,
    auth,
    breakdowns,
    courses,
    health,
    privacy,
    school,
    session_batch,
    sessions,
    stats,
)
from seneca.api.docs import docs_endpoints
from seneca.auth import password_policy
from seneca.auth.password_hasher_pool import MAX_THREADS, PasswordHasherPool
from seneca.auth.password_policy import PasswordPolicy
from seneca.auth.signing_keys import load_signing_keys
from seneca.auth.token_verifier import TokenVerifier
from seneca.common.fair_slots import FairSlots
from seneca.database import MAX_CONCURRENT_EXPORTS, MAX_CONCURRENT_LISTS, open_database
from seneca.database.properties import InitialProperties
from seneca.errors import CommandError, ServiceUnavailable
from seneca.http import problem_details
from seneca.http.app_state import AppState, now_ms
from seneca.http.endpoint import Endpoint
from seneca.http.middleware import RequestMiddleware
from seneca.http.routes import make_routes
from seneca.privacy import erasure_log
from seneca.privacy.erasure_worker import ErasureWorker
from seneca.server import sockets
from seneca.sessions import timeouts
from seneca.sessions.learner_quotas import Amount, LearnerQuotas
from seneca.settings import STARTED, WRITER, Settings

log = structlog.get_logger()

ROUTES: list[Endpoint] = [
    *auth.ROUTES,
    *accounts.ROUTES,
    *courses.ROUTES,
    *sessions.ROUTES,
    *session_batch.ROUTES,
    *stats.ROUTES,
    *breakdowns.ROUTES,
    *school.ROUTES,
    *privacy.ROUTES,
    *audit.ROUTES,
    *health.ROUTES,
]


SWITCH_SECONDS: Final = 0.0005
"""How long a thread may keep the interpreter's lock while the event loop waits for it: decoding a batch takes several milliseconds."""


class Application(Litestar):
    """Litestar without its plugins for pydantic and attrs, which take 0.2 s to import and are not used."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def from_environment() -> ASGIApp:
    """The application of a worker process, with settings from the environment."""
    sys.setswitchinterval(SWITCH_SECONDS)
    worker_settings = settings.read()
    flush_log = logs.configure(worker_settings.log_format)
    try:
        writer = Path(os.environ[WRITER]) if WRITER in os.environ else None
        return create_app(worker_settings, float(os.environ[STARTED]), flush_log, writer)
    except (CommandError, ServiceUnavailable) as error:
        log.error("worker cannot start", reason=error.detail)  # noqa: TRY400 the reason is enough
    except Exception:
        log.exception("worker cannot start")
    raise SystemExit(1)


def create_app(
    settings: Settings, started: float, flush_log: Callable[[], None] = lambda: None, writer: Path | None = None
) -> ASGIApp:
    """Create an application.

    Args:
        settings: the settings.
        started: when the server started, as ``time.monotonic()``.
        flush_log: writes buffered log lines.
        writer: the socket of the process that writes for all workers; None: there is none.

    Raises:
        CommandError: the database or the signing key cannot be used.
        ServiceUnavailable: the database is temporarily unavailable.
        UndeclaredRoute: a handler does not say who may call it.

    """
    routes = make_routes([*ROUTES, *docs_endpoints(ROUTES)])
    database = open_database(
        settings.database,
        settings.database_connections,
        initial=InitialProperties(settings.idle_minutes, settings.initial_time_zone),
        writer=writer,
    )
    token_verifier = TokenVerifier(database, load_signing_keys(settings), database.buckets)
    token_verifier.load_revocations()
    state = AppState(
        settings=settings,
        clock=now_ms,
        database=database,
        token_verifier=token_verifier,
        password_hashers=PasswordHasherPool(min(MAX_THREADS, settings.cores_each)),
        password_policy=PasswordPolicy.load(settings.password_words),
        sign_in_slots=FairSlots(max(1, settings.database_connections // 2)),
        erasure_worker=ErasureWorker(database, settings.data / erasure_log.FILE, settings.vacuum_interval),
        quotas=LearnerQuotas(database, Amount(settings.max_learner_writes, settings.max_learner_bytes)),
        batch_slots=FairSlots(1),
        list_slots=FairSlots(MAX_CONCURRENT_LISTS),
        export_slots=FairSlots(MAX_CONCURRENT_EXPORTS),
        started=started,
    )

    return RequestMiddleware(
        Application(
            route_handlers=routes,
            exception_handlers=problem_details.HANDLERS,
            state=State({"services": state}),
            lifespan=[lifespan(state, flush_log)],
            cors_config=cors(settings.origins),
            openapi_config=None,
            logging_config=None,
        ),
        by_origin=bool(settings.origins),
    )


@asynccontextmanager
async def lifespan(state: AppState, flush_log: Callable[[], None]) -> AsyncIterator[None]:
    """Run the background tasks of a worker from its start, before the first request, to its end."""
    gc.freeze()  # objects made at start stay: scanning them in each collection would delay requests
    coroutines = (
        state.token_verifier.run(),
        state.token_verifier.run_reload(),
        state.erasure_worker.run(),
        timeouts.run(state.database, state.settings.session_timeout_hours),
        exit_with_parent(),
        sockets.prepare_listeners(),
    )
    tasks = [
        asyncio.create_task(coroutine) for coroutine in (*coroutines, asyncio.to_thread(password_policy.load_lists))
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        state.password_hashers.close()
        await asyncio.get_running_loop().run_in_executor(None, state.database.close)
        flush_log()  # a worker process ends without running atexit handlers


async def exit_with_parent() -> None:
    """Stop this worker if its parent process was killed: it would keep the port in use."""
    parent = multiprocessing.parent_process()
    while parent is None or os.getppid() == parent.pid:  # noqa: ASYNC110 there is no event for it
        await asyncio.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def cors(origins: list[str]) -> CORSConfig | None:
    """The CORS configuration; None, which allows no other origin, if none is configured."""
    if not origins:
        return None
    return CORSConfig(
        allow_origins=origins,
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "If-Match",
            "If-None-Match",
            "X-Setup-Token",
        ],
        expose_headers=["Link", "ETag", "Retry-After", "X-Request-Id"],
    )
