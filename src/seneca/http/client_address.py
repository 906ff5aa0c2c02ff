"""Where a request comes from: the client's address, behind reverse proxies too.

Granian's own ``utils.proxies`` is not used: it believes whatever text stands in the header, knows no IPv4 address in the
form of IPv6, and rewrites the peer for everybody, also for those who need to know that there was a proxy.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from seneca.http.app_state import Connection, app_state
from seneca.settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOPS: Final = 32  # proxies that a request passes


def client_address(connection: Connection) -> str:
    """The address that a request counts for, as ``address_of`` says."""
    peer = connection.scope["client"]
    proxies = app_state(connection).settings.proxy_networks
    return address_of(peer[0] if peer else "", connection.scope["headers"], proxies)


def address_of(peer: str, headers: Iterable[tuple[bytes, bytes]], proxies: Sequence[Network]) -> str:
    """The address of a client, in one form: an IPv4 address, or the /64 network of an IPv6 address.

    It is the peer's. If that is one of the proxies, it is the last address of X-Forwarded-For that is none of them: what
    stands before that, or comes from anybody else, the client may have made up. Where the header ends before, or holds
    what is no address, it is that of the proxy furthest away.
    """
    address = read_address(peer)
    if address is None:
        return ""
    hops = forwarded_for(headers)
    while any(address in network for network in proxies):
        before = next(hops, None)
        if before is None:
            break
        address = before
    return str(address) if address.version == 4 else str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def forwarded_for(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[Address]:
    """The addresses of X-Forwarded-For, the last first, up to the first that is none; of a long list the last few."""
    values = [value for name, value in headers if name == b"x-forwarded-for"]
    for text in reversed(b",".join(values).decode("latin-1").rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
        address = read_address(text.strip())
        if address is None:
            return
        yield address


def read_address(text: str) -> Address | None:
    """An address, with a port or without, or None. An IPv4 address in the form of IPv6 is the IPv4 address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address
