"""What waits until a worker listens: options of its sockets, and being told to stop."""

import asyncio
import os
import signal
import socket
import stat
from pathlib import Path
from typing import Final

STOPPED_SECONDS: Final = 30  # for which a client may take nothing of what was sent to it
UNSENT_BYTES: Final = 128 * 1024  # that the system may keep of an answer besides what is on its way
OPEN_FILES: Final = Path("/proc/self/fd")


def block_sigterm() -> None:
    """Let the signal to stop wait. A worker that has it before it listens would lose it: Granian's handlers are not there yet."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def unblock_sigterm() -> None:
    """Take the signal to stop, also one that has waited."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


async def start_listening(pause: float = 0.05) -> None:
    """Do what waits until this worker listens."""
    try:
        await set_socket_options(pause)
    finally:
        unblock_sigterm()


async def set_socket_options(pause: float = 0.05) -> None:
    """Set options on the sockets at which this process listens, as soon as there are any: connections inherit them.

    Granian makes the sockets itself, after the application has started, and has no setting for their options. Without
    these a client that never reads keeps its connection, and memory of the system, for ever: Granian has no deadline for
    writing. Only Linux has them.
    """
    while OPEN_FILES.exists():
        listeners = [found for file in OPEN_FILES.iterdir() if (found := listener(int(file.name)))]
        for found in listeners:
            with found:
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STOPPED_SECONDS * 1000)
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        if listeners:
            break
        await asyncio.sleep(pause)


def listener(descriptor: int) -> socket.socket | None:
    """A copy of this open file, if it is a TCP socket that listens."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        found = socket.socket(fileno=os.dup(descriptor))
    except OSError:  # closed meanwhile
        return None
    if found.family in (socket.AF_INET, socket.AF_INET6) and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return found
    found.close()
    return None
