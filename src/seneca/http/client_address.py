"""The client's address, also behind trusted reverse proxies.

Granian's own ``utils.proxies`` is not used: it trusts any text in the header, does not recognise IPv4-mapped IPv6 addresses, and
replaces the peer's address, which ``http.registration`` needs in order to detect a proxy.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from seneca.http.app_state import Connection, app_state
from seneca.settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOPS: Final = 32  # addresses of X-Forwarded-For that are read


def client_address(connection: Connection) -> str:
    """The address that rate limits count the request under; see ``address_of``."""
    peer = connection.scope["client"]
    proxies = app_state(connection).settings.proxy_networks
    return address_of(peer[0] if peer else "", connection.scope["headers"], proxies)


def address_of(peer: str, headers: Iterable[tuple[bytes, bytes]], proxies: Sequence[Network]) -> str:
    """The client's address: an IPv4 address, or the /64 network of an IPv6 address.

    This is the peer's address unless the peer is a trusted proxy. Behind a trusted proxy it is the last address in
    X-Forwarded-For that is not itself a trusted proxy: a client can forge everything before that one. If the header ends earlier
    or contains something that is not an address, it is the address of the furthest trusted proxy.
    """
    address = parse_address(peer)
    if address is None:
        return ""
    hops = forwarded_for(headers)
    while any(address in network for network in proxies):
        previous_hop = next(hops, None)
        if previous_hop is None:
            break
        address = previous_hop
    return str(address) if address.version == 4 else str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def forwarded_for(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[Address]:
    """The addresses of X-Forwarded-For, last first, up to the first invalid one; at most ``MAX_HOPS``."""
    values = [value for name, value in headers if name == b"x-forwarded-for"]
    for text in reversed(b",".join(values).decode("latin-1").rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
        address = parse_address(text.strip())
        if address is None:
            return
        yield address


def parse_address(text: str) -> Address | None:
    """Parse an address with or without a port; None if it is invalid. An IPv4-mapped IPv6 address becomes IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address
