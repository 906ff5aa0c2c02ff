"""Run the server: Granian's processes around the application."""

import errno
import os
import socket
import sys
import time
from typing import Any

from granian.constants import Interfaces, Loops
from granian.http import HTTP1Settings
from granian.server import Server

from seneca import setup
from seneca.database import open_database
from seneca.errors import Unusable
from seneca.privacy import outside
from seneca.settings import STARTED, Settings
from seneca.tokens import agree, load_keys

BACKLOG = 16_384  # connections a worker: Granian's backpressure counts idle ones too
STOP_SECONDS = 30


def serve(told: Settings) -> None:
    """Serve until told to stop. What was accepted is answered first.

    Raises:
        Unusable: the port is taken, the database or the signing key cannot be used, or the database's is another.

    """
    check_port(told.host, told.port)
    keys = load_keys(told)
    database = open_database(told.database)
    try:
        agree(database, keys)
        token = setup.prepare(database, told.data)
        outside.complete(database, told.data / outside.FILE)
    finally:
        database.close()
    welcome(told, token)
    os.environ.update(told.variables() | {STARTED: str(time.monotonic())})
    server = Server(
        "seneca.app:from_environment",
        factory=True,
        address=told.host,
        port=told.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=told.processes,
        backlog=BACKLOG,
        backpressure=BACKLOG,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        log_dictconfig=granian_log(told),
    )
    server.serve()


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
        "formatters": {"generic": {"format": "%(asctime)s [%(levelname)s] %(message)s" if as_text else json}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "generic",
                "stream": "ext://sys.stderr",
            }
        },
        "loggers": {"_granian": {"handlers": ["console"], "level": "INFO", "propagate": False}},
    }
