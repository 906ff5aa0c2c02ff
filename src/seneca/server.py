"""Run the server: Granian's processes around the application."""

import errno
import os
import resource
import socket
import sys
import time
from typing import Any

import structlog
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.server import Server

from seneca import logs, setup
from seneca.database import open_database
from seneca.errors import Unusable
from seneca.listening import defer_stopping, hear_of_stopping
from seneca.privacy import outside
from seneca.settings import STARTED, Settings
from seneca.tokens import agree, load_keys

BACKLOG = 16_384  # connections a worker: Granian's backpressure counts idle ones too
OTHER_FILES = 512  # that a worker may have open besides connections
HEADER_MILLISECONDS = 10_000  # for a request's header to arrive, and for a connection to stay idle
HEADER_BYTES = 64 * 1024  # the most that a header may have; as much of an answer waits in Granian's own buffer
STOP_SECONDS = 30

log = structlog.get_logger()


def serve(told: Settings) -> None:
    """Serve until told to stop. What was accepted is answered first.

    Raises:
        Unusable: the port is taken, the database or the signing key cannot be used, or the database's is another.

    """
    check_port(told.host, told.port)
    keys = load_keys(told)
    database = open_database(told.database)
    for warning in database.warnings:  # of migrations: the workers find none to apply
        log.warning(warning)
    try:
        agree(database, keys)
        token = setup.prepare(database, told.data)
        outside.complete(database, told.data / outside.FILE)
    finally:
        database.close()
    welcome(told, token)
    connections = admit(told)
    os.register_at_fork(before=defer_stopping, after_in_parent=hear_of_stopping)  # a new worker hears when it listens
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
        log_dictconfig=granian_log(told),
    )
    server.serve()


def admit(told: Settings) -> int:
    """How many connections each worker may have: ``BACKLOG``, or fewer where the system lets it open fewer files.

    Workers inherit the limit that is set here: the highest that this process may set.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most == resource.RLIM_INFINITY:
        most = BACKLOG + OTHER_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    connections = min(BACKLOG, max(most - OTHER_FILES, most // 2))  # a worker that cannot accept tries without a pause
    if connections < BACKLOG:
        logs.configure(told.log_format)
        log.warning("few open files", most=most, connections=connections, wanted=BACKLOG + OTHER_FILES)
    return connections


def check_port(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on, before anything starts. Raises Unusable."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Unusable(f"Port {port} on {host} is taken. Stop what uses it, or choose another: --port.") from error
        raise Unusable(f"Cannot listen on {host}, port {port}: {error.strerror}.") from error


def welcome(told: Settings, token: str | None) -> None:
    """Tell a person at a terminal where to look and, on a new database, how to become its administrator."""
    if sys.stderr.isatty():
        print(
            f"Seneca: http://{told.host}:{told.port}/docs   data: {told.data.resolve()}",
            file=sys.stderr,
        )
        if token is not None:
            print(f"Setup token for the first administrator: {token}", file=sys.stderr)


def granian_log(told: Settings) -> dict[str, Any]:
    """Granian's own few lines, in the form of ours."""
    as_text = told.log_format == "text" or (told.log_format == "auto" and sys.stderr.isatty())
    json = '{"timestamp": "%(asctime)s", "level": "%(levelname)s", "event": "%(message)s"}'
    return {
        "version": 1,
        "formatters": {
            "generic": {
                "class": "seneca.logs.UtcFormatter",
                "format": "%(asctime)s [%(levelname)s] %(message)s" if as_text else json,
            }
        },
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "generic",
                "stream": "ext://sys.stderr",
            }
        },
        "loggers": {"_granian": {"handlers": ["console"], "level": "INFO", "propagate": False}},
    }
