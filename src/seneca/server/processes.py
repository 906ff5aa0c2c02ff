"""Run the server: Granian's processes around the application."""

import errno
import os
import resource
import socket
import sys
import time
from contextlib import closing
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
from seneca.errors import CommandError
from seneca.privacy import erasure_log
from seneca.server.sockets import block_sigterm, unblock_sigterm
from seneca.settings import STARTED, Settings

BACKLOG = 16_384  # connections a worker: Granian's backpressure counts idle ones too
OTHER_FILES = 512  # that a worker may have open besides connections
HEADER_MILLISECONDS = 10_000  # for a request's header to arrive, and for a connection to stay idle
HEADER_BYTES = 64 * 1024  # the most that a header may have; as much of an answer waits in Granian's own buffer
STOP_SECONDS = 30
WHICH_HOST = "--host takes an address of this machine: 127.0.0.1 for this machine only, 0.0.0.0 for every network."

log = structlog.get_logger()


def serve(told: Settings) -> None:
    """Serve until told to stop. What was accepted is answered first.

    Raises:
        CommandError: the port is taken, the database or the signing key cannot be used, or the database's is another.

    """
    host, port, reservation = reserve(told.host, told.port)
    told = msgspec.structs.replace(told, host=host, port=port)
    keys = load_signing_keys(told)
    PasswordPolicy.load(told.password_words)  # an unreadable file is reported here, not by every worker
    database = open_database(told.database)
    try:
        register_signing_keys(database, keys)
        token = setup_token.prepare(database, told.data)
        erasure_log.complete(database, told.data / erasure_log.FILE)
    finally:
        database.close()
    logs.configure(told.log_format)
    log.info(
        "starting",
        product="Seneca",
        version=metadata.version("seneca"),
        data=str(told.data.resolve()),
        database=database.name,
        address=address_of(told),
        workers=told.processes,
    )
    for warning in database.warnings:
        log.warning(warning)
    print_banner(told, token)
    connections = raise_open_file_limit()
    os.register_at_fork(before=block_sigterm, after_in_parent=unblock_sigterm)  # a new worker hears when it listens
    os.environ.update(told.variables() | {STARTED: str(time.monotonic())})
    server = Server(
        "seneca.app:from_environment",
        factory=True,
        address=told.host,
        port=told.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=told.processes,
        # Not HTTP/2, which needs TLS to be of use: while Granian waits to see which of the two it is, nothing times out.
        http=HTTPModes.http1,
        backlog=connections,
        backpressure=connections,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MILLISECONDS, max_buffer_size=HEADER_BYTES),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        log_dictconfig=logs.standard_library(told.log_format),
    )
    with closing(reservation):
        server.serve()


def raise_open_file_limit() -> int:
    """How many connections each worker may have: ``BACKLOG``, or fewer where the system lets it open fewer files.

    Workers inherit the limit that is set here: the highest that this process may set.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most == resource.RLIM_INFINITY:
        most = BACKLOG + OTHER_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    connections = min(BACKLOG, max(most - OTHER_FILES, most // 2))  # a worker that cannot accept tries without a pause
    if connections < BACKLOG:
        log.warning("few open files", most=most, connections=connections, wanted=BACKLOG + OTHER_FILES)
    return connections


def reserve(host: str, port: int) -> tuple[str, int, socket.socket]:
    """Find out where to listen, and refuse an address that cannot be listened on before anything starts.

    Returns:
        The address in figures; the port, where 0 was given one that is free; and a socket. While that is open, a port that
        was free stays reserved for the workers, which bind it again, each for itself.

    Raises:
        CommandError: one cannot listen there.

    """
    where = f"Cannot listen on {host!r}, port {port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise CommandError(f"{where}: there is no such host. {WHICH_HOST}") from error
    family, *_, address = min(found, key=lambda info: info[0] != socket.AF_INET)
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
                f"{where}: permission denied. Ports below 1024 are for root; choose another: --port."
            ) from error
        raise CommandError(f"{where}: {error.strerror}. {WHICH_HOST}") from error
    taken: tuple[str, int] = probe.getsockname()[:2]
    if port != 0 or sys.platform != "linux":  # elsewhere all workers share one socket, which Granian binds itself
        probe.close()
    return *taken, probe


def address_of(told: Settings) -> str:
    """Where the server listens, as a URL."""
    return f"http://{f'[{told.host}]' if ':' in told.host else told.host}:{told.port}"


def print_banner(told: Settings, token: str | None) -> None:
    """Tell a person at a terminal where to look and, on a new database, how to become its administrator."""
    if sys.stderr.isatty():
        print(
            f"Seneca {metadata.version('seneca')}: {address_of(told)}/docs",
            file=sys.stderr,
        )
        if token is not None:
            print(f"Setup token for the first administrator: {token}", file=sys.stderr)
