"""Which system user is at the other end of a connection from this machine. Only Linux tells."""

import os
import struct
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

Endpoint = tuple[str, int]
"""An address and a port."""

CAN_TELL: Final = sys.platform == "linux"
TABLES: Final = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}
OVERFLOW_USER: Final = Path("/proc/sys/kernel/overflowuid")
ATTEMPTS: Final = 3
"""The kernel writes the table in pieces: a row can be missed while others come and go."""
ESTABLISHED: Final = "01"
USER, INODE = 7, 9
"""Columns of the table."""


def is_own_or_root(client: Endpoint, server: Endpoint) -> bool:
    """Whether a process of this server's own user, or of root, holds the client's end of a connection.

    Not whoever has another user in a container: all of those look like one. Not a socket that no process holds any more, which
    the kernel shows as root's.

    Args:
        client: the client's end.
        server: the server's end.

    """
    for _ in range(ATTEMPTS):
        try:
            table = TABLES[ip_address(client[0]).version].read_text()
            user = user_of(table, client, server)
            overflow = int(OVERFLOW_USER.read_text())
        except (OSError, ValueError):
            return False
        if user is not None:
            return user in (0, os.geteuid()) and user != overflow
    return False


def user_of(table: str, client: Endpoint, server: Endpoint) -> int | None:
    """The user who holds the client's end of a connection, in the text of ``/proc/net/tcp`` or ``tcp6``; None: nobody there."""
    at = table.find(f": {_endpoint(client)} {_endpoint(server)} {ESTABLISHED} ")
    if at < 0:
        return None
    row = table[at:].partition("\n")[0].split()
    return int(row[USER]) if row[INODE] != "0" else None


def _endpoint(endpoint: Endpoint) -> str:
    """An address and a port as the kernel writes them: 32-bit words in this machine's byte order, hexadecimal."""
    address: IPv4Address | IPv6Address = ip_address(endpoint[0])
    words = struct.unpack(f"={len(address.packed) // 4}I", address.packed)
    return f"{''.join(f'{word:08X}' for word in words)}:{endpoint[1]:04X}"
