"""Find the system user at the other end of a local connection. Only Linux provides this."""

import os
import struct
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

Endpoint = tuple[str, int]
"""An address and a port."""

IS_SUPPORTED: Final = sys.platform == "linux"
TABLES: Final = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}
OVERFLOW_UID: Final = Path("/proc/sys/kernel/overflowuid")
ATTEMPTS: Final = 3
"""A read of the table is not atomic: it can miss a row while other rows come and go."""
ESTABLISHED: Final = "01"
UID, INODE = 7, 9
"""Columns of the table."""


def is_own_or_root(client: Endpoint, server: Endpoint) -> bool:
    """Whether a process of this server's user, or of root, holds the client's end of a connection.

    The overflow user does not count: all unmapped users of a container look like it. A socket that no process holds any more does
    not count either: the kernel lists it as root's.
    """
    for _ in range(ATTEMPTS):
        try:
            table = TABLES[ip_address(client[0]).version].read_text()
            uid = find_uid(table, client, server)
            overflow_uid = int(OVERFLOW_UID.read_text())
        except (OSError, ValueError):
            return False
        if uid is not None:
            return uid in (0, os.geteuid()) and uid != overflow_uid
    return False


def find_uid(table: str, client: Endpoint, server: Endpoint) -> int | None:
    """The user id that holds the client's end of a connection, or None.

    Args:
        table: the text of ``/proc/net/tcp`` or ``tcp6``.
        client: the client's end.
        server: the server's end.

    """
    start = table.find(f": {_endpoint(client)} {_endpoint(server)} {ESTABLISHED} ")
    if start < 0:
        return None
    row = table[start:].partition("\n")[0].split()
    return int(row[UID]) if row[INODE] != "0" else None


def _endpoint(endpoint: Endpoint) -> str:
    """An address and a port in the kernel's format: 32-bit words in the machine's byte order, in hexadecimal."""
    address: IPv4Address | IPv6Address = ip_address(endpoint[0])
    words = struct.unpack(f"={len(address.packed) // 4}I", address.packed)
    return f"{''.join(f'{word:08X}' for word in words)}:{endpoint[1]:04X}"
