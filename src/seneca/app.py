"""The only wiring: settings in, an ASGI application out."""

import asyncio
import gc
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import ASGIApp

from seneca import logs, settings
from seneca.api import accounts, audit, auth, courses, health, privacy, sessions, stats
from seneca.api.docs import docs_routes
from seneca.auth import password_policy
from seneca.auth.password_hasher_pool import MAX_THREADS, PasswordHasherPool
from seneca.auth.password_policy import PasswordPolicy
from seneca.auth.signing_keys import load_signing_keys
from seneca.auth.token_verifier import TokenVerifier
from seneca.database import MAX_CONCURRENT_EXPORTS, MAX_CONCURRENT_LISTS, open_database
from seneca.errors import CommandError, ServiceUnavailable
from seneca.http import problem_details
from seneca.http.app_state import AppState
from seneca.http.auth import guard
from seneca.http.limits.fair_slots import FairSlots
from seneca.http.middleware import RequestMiddleware
from seneca.http.options import options_routes
from seneca.privacy import erasure_log
from seneca.privacy.erasure_worker import ErasureWorker
from seneca.server import sockets
from seneca.sessions.learner_quotas import Amount, LearnerQuotas
from seneca.settings import STARTED, Settings

log = structlog.get_logger()

ROUTES = [
    *auth.ROUTES,
    *accounts.ROUTES,
    *courses.ROUTES,
    *sessions.ROUTES,
    *stats.ROUTES,
    *privacy.ROUTES,
    *audit.ROUTES,
    *health.ROUTES,
]


class Application(Litestar):
    """Litestar without its plugins for pydantic and attrs: importing those takes 0.2 s, and nothing here uses them."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def from_environment() -> ASGIApp:
    """The application of a worker process: its settings come from the environment."""
    told = settings.read()
    flush_log = logs.configure(told.log_format)
    try:
        return create_app(told, float(os.environ[STARTED]), flush_log)
    except (CommandError, ServiceUnavailable) as error:
        log.error("worker cannot start", reason=error.detail)  # noqa: TRY400 the reason says it all
    except Exception:
        log.exception("worker cannot start")
    raise SystemExit(1)


def create_app(told: Settings, started: float, flush_log: Callable[[], None] = lambda: None) -> ASGIApp:
    """An application that answers requests as these settings say.

    Args:
        told: the settings.
        started: when the server started, by ``time.monotonic()``.
        flush_log: writes the log lines that still wait.

    Raises:
        CommandError: the database or the signing key cannot be used.
        ServiceUnavailable: the database cannot be used now.

    """
    database = open_database(told.database, told.database_connections)
    sign_ins = TokenVerifier(database, load_signing_keys(told), database.buckets)
    sign_ins.load_revocations()
    shared = AppState(
        settings=told,
        database=database,
        token_verifier=sign_ins,
        password_hashers=PasswordHasherPool(min(MAX_THREADS, told.cores_each)),
        password_policy=PasswordPolicy.load(told.password_words),
        sign_in_slots=FairSlots(max(1, told.database_connections // 2)),
        erasure_worker=ErasureWorker(database, told.data / erasure_log.FILE, told.vacuum_interval),
        quotas=LearnerQuotas(database, Amount(told.max_learner_writes, told.max_learner_bytes)),
        list_slots=FairSlots(MAX_CONCURRENT_LISTS),
        export_slots=FairSlots(MAX_CONCURRENT_EXPORTS),
        started=started,
    )

    routes = [*ROUTES, *docs_routes(ROUTES)]
    return RequestMiddleware(
        Application(
            route_handlers=[*options_routes(routes), *routes],
            before_request=guard,  # not a framework guard: those copy the handler for each request
            exception_handlers=problem_details.HANDLERS,
            state=State({"services": shared}),
            lifespan=[lifespan(shared, flush_log)],
            cors_config=cors(told.origins),
            openapi_config=None,
            logging_config=None,
        ),
        by_origin=bool(told.origins),
    )


@asynccontextmanager
async def lifespan(shared: AppState, flush_log: Callable[[], None]) -> AsyncIterator[None]:
    """From a worker's start, before which it answers nobody, to its end."""
    gc.freeze()  # what a start has made stays: looking through it again and again would stall requests
    watches = (
        shared.token_verifier.run(),
        shared.token_verifier.run_reload(),
        shared.erasure_worker.run(),
        exit_with_parent(),
        sockets.start_listening(),
    )
    tasks = [asyncio.create_task(watch) for watch in (*watches, asyncio.to_thread(password_policy.load_lists))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        shared.password_hashers.close()
        await asyncio.get_running_loop().run_in_executor(None, shared.database.close)
        flush_log()  # a worker's process ends without calling what is registered for its exit


async def exit_with_parent() -> None:
    """Stop this worker once the process that started it was killed, or it would keep the port taken."""
    parent = multiprocessing.parent_process()
    while parent is None or os.getppid() == parent.pid:  # noqa: ASYNC110 nobody tells a child
        await asyncio.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def cors(origins: list[str]) -> CORSConfig | None:
    """What browsers may do from other origins: nothing, unless origins are named."""
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
