"""Start-up work that must wait for Granian's sockets: set socket options, unblock SIGTERM."""

import asyncio
import os
import socket
import stat
from pathlib import Path
from typing import Final

from seneca.server.signals import unblock_sigterm

USER_TIMEOUT_SECONDS: Final = 30  # that sent data may stay unacknowledged
MAX_UNSENT_BYTES: Final = 128 * 1024  # in the kernel's send buffer, besides data in flight
OPEN_FILES: Final = Path("/proc/self/fd")


async def prepare_listeners(pause: float = 0.05) -> None:
    """Wait until this worker listens, set its socket options and unblock SIGTERM."""
    try:
        await set_socket_options(pause)
    finally:
        unblock_sigterm()


async def set_socket_options(pause: float = 0.05) -> None:
    """Set options on this process's listening sockets as soon as there are any; connections inherit them.

    Granian creates the sockets after the application has started, and has no setting for their options. Without them a client
    that never reads would keep its connection, and memory of the kernel, indefinitely: Granian has no write timeout. The
    options exist on Linux only.
    """
    while OPEN_FILES.exists():
        listeners = [listener for file in OPEN_FILES.iterdir() if (listener := open_listener(int(file.name)))]
        for listener in listeners:
            with listener:
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_SECONDS * 1000)
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)
        if listeners:
            break
        await asyncio.sleep(pause)


def open_listener(descriptor: int) -> socket.socket | None:
    """Duplicate a file descriptor if it is a listening TCP socket."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        duplicate = socket.socket(fileno=os.dup(descriptor))
    except OSError:  # closed in the meantime
        return None
    is_tcp = duplicate.family in (socket.AF_INET, socket.AF_INET6)
    if is_tcp and duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return duplicate
    duplicate.close()
    return None
