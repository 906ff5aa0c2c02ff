"""Run the server: Granian's processes around the application."""

import errno
import os
import resource
import socket
import sys
import time
from contextlib import closing, nullcontext
from importlib import metadata

import msgspec
import structlog
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.server import Server

from seneca import logs
from seneca.auth import setup_token
from seneca.auth.password_policy import PasswordPolicy
from seneca.auth.signing_keys import load_signing_keys, register_signing_keys
from seneca.database import open_database
from seneca.database.migrations.progress_lines import ProgressLines
from seneca.database.properties import InitialProperties
from seneca.errors import CommandError
from seneca.privacy import erasure_log
from seneca.server.signals import block_sigterm, unblock_sigterm
from seneca.server.writer import shared_writer
from seneca.sessions import time_zone
from seneca.settings import STARTED, Settings

MAX_CONNECTIONS = 16_384  # per worker; Granian's backpressure includes idle ones
OTHER_FILES = 512  # file descriptors of a worker besides connections
HEADER_TIMEOUT_MS = 10_000  # to receive a request's header, and for idle connections
MAX_HEADER_BYTES = 64 * 1024  # also the size of Granian's buffer for a response
STOP_SECONDS = 30  # until a worker that is stopping is killed
HOST_ADVICE = "--host takes an address of this machine: 127.0.0.1 for this machine only, 0.0.0.0 for every network."

log = structlog.get_logger()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl+C. Accepted requests are answered before the server stops.

    Raises:
        CommandError: the port is in use, the database or the signing key cannot be used, or the database has another key or
            time zone.

    """
    host, port, reservation = reserve_port(settings.host, settings.port)
    settings = msgspec.structs.replace(settings, host=host, port=port)
    keys = load_signing_keys(settings)
    PasswordPolicy.load(settings.password_words)  # reports an unreadable file once, not in every worker
    logs.configure(settings.log_format)
    database = open_database(
        settings.database,
        initial=InitialProperties(settings.idle_minutes, settings.initial_time_zone),
        announce=log.info,
        progress=ProgressLines(log.info),
    )
    try:
        register_signing_keys(database, keys)
        with database.read_transaction() as tx:
            time_zone.check(tx, settings.time_zone)
        token = setup_token.prepare(database, settings.data)
        erasure_log.complete(database, settings.data / erasure_log.FILE)
    finally:
        database.close()
    has_single_writer = database.shared_writer is not None
    log.info(
        "starting",
        product="Seneca",
        version=metadata.version("seneca"),
        data=str(settings.data.resolve()),
        database=database.name,
        address=server_url(settings),
        workers=settings.processes,
    )
    for warning in database.warnings:
        log.warning(warning)
    print_banner(settings, token)
    connections = raise_open_file_limit()
    # A new worker unblocks it once it listens.
    os.register_at_fork(before=block_sigterm, after_in_parent=unblock_sigterm)
    os.environ.update(settings.variables() | {STARTED: str(time.monotonic())})
    with closing(reservation), shared_writer(settings) if has_single_writer else nullcontext():
        _run_server(settings, connections)


def _run_server(settings: Settings, connections: int) -> None:
    """Run the server and its workers until it is stopped; ``connections`` is the maximum for each worker."""
    server = Server(
        "seneca.app:from_environment",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=settings.processes,
        # Not HTTP/2, which clients use over TLS only: while Granian detects the version, no timeout applies.
        http=HTTPModes.http1,
        backlog=connections,
        backpressure=connections,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS, max_buffer_size=MAX_HEADER_BYTES),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        log_dictconfig=logs.standard_library(settings.log_format),
    )
    server.serve()


def raise_open_file_limit() -> int:
    """Raise the limit of open files to the maximum, which workers inherit.

    Returns:
        The number of connections per worker: ``MAX_CONNECTIONS``, or fewer if the limit is lower.

    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit == resource.RLIM_INFINITY:
        limit = MAX_CONNECTIONS + OTHER_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    # A worker that has no file descriptor left for a connection retries to accept it in a busy loop.
    connections = min(MAX_CONNECTIONS, max(limit - OTHER_FILES, limit // 2))
    if connections < MAX_CONNECTIONS:
        log.warning(
            "low open file limit", limit=limit, connections=connections, recommended=MAX_CONNECTIONS + OTHER_FILES
        )
    return connections


def reserve_port(host: str, port: int) -> tuple[str, int, socket.socket]:
    """Resolve the address to listen on, and check it before anything starts.

    Returns:
        The numeric address; the port, which is a free one if 0 was requested; and a socket. While that is open, a free port
        stays reserved for the workers, each of which binds it again.

    Raises:
        CommandError: the address cannot be used.

    """
    message = f"Cannot listen on {host!r}, port {port}"
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise CommandError(f"{message}: there is no such host. {HOST_ADVICE}") from error
    family, *_, address = min(addresses, key=lambda info: info[0] != socket.AF_INET)
    probe = socket.socket(family, socket.SOCK_STREAM)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if port == 0:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind(address)
    except OSError as error:
        probe.close()
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"Port {port} on {host} is in use. Stop the program that uses it, or choose another port: --port."
            ) from error
        if error.errno == errno.EACCES:
            raise CommandError(
                f"{message}: permission denied. Ports below 1024 require root; choose another: --port."
            ) from error
        raise CommandError(f"{message}: {error.strerror}. {HOST_ADVICE}") from error
    address_and_port: tuple[str, int] = probe.getsockname()[:2]
    if port != 0 or sys.platform != "linux":  # elsewhere all workers share one socket, which Granian binds
        probe.close()
    return *address_and_port, probe


def server_url(settings: Settings) -> str:
    """The server's URL."""
    return f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"


def print_banner(settings: Settings, token: str | None) -> None:
    """Print the URL on a terminal and, for a new database, the setup token of its first administrator."""
    if sys.stderr.isatty():
        print(
            f"Seneca {metadata.version('seneca')}: {server_url(settings)}/docs",
            file=sys.stderr,
        )
        if token is not None:
            print(f"Setup token for the first administrator: {token}", file=sys.stderr)
