"""Authorise registrations by the settings, the bearer token, the setup token, or the machine from which they come."""

import asyncio
import ipaddress
import re
import time
from typing import Any, Final

from seneca.accounts.registration import ADMINISTRATOR_HELP, Registration, check_first_administrator
from seneca.auth.caller import Caller
from seneca.errors import RegistrationClosed, Unauthenticated
from seneca.http import peer_user
from seneca.http.app_state import Request, app_state
from seneca.http.auth import authenticate, bearer_token

LOCAL_SECONDS: Final = 3600
FORWARDING_HEADERS: Final = ("origin", "forwarded", "x-real-ip", "via")
HOST: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::[0-9]*)?")


async def authorise_registration(request: Request, registration: Registration) -> None:
    """Check that the request may register this account.

    Raises:
        RegistrationClosed: it may not; the message says what to do instead.
        Unauthenticated: it has an invalid token.

    """
    state = app_state(request)
    if registration.role == "user" and state.settings.registration == "open":
        return
    if bearer_token(request) is not None:
        if authenticate(request).role != "admin":
            raise RegistrationClosed(ADMINISTRATOR_HELP)
        return
    if registration.role == "user":
        raise RegistrationClosed("Only administrators can register learners on this server. Ask one of them.")
    token = request.headers.get("x-setup-token")
    from_here = token is None and await is_local(request)
    await state.database.read_snapshot(check_first_administrator, token, is_local=from_here)


def find_administrator(request: Request) -> Caller | None:
    """The administrator who registers an account for somebody else; None: its owner does."""
    try:
        caller = authenticate(request)
    except Unauthenticated:  # a learner's registration needs no token, so an invalid one is ignored
        return None
    return caller if caller.role == "admin" else None


async def is_local(request: Request) -> bool:
    """Whether the request comes directly from this machine, within an hour of the server's start.

    On Linux it must come from a process of the server's user or of root, because other users, and a proxy that adds no forwarding
    header, are otherwise indistinguishable. With trusted proxies configured no request counts as local.
    """
    if not looks_local(request):
        return False
    if not peer_user.IS_SUPPORTED:
        return True
    scope: Any = request.scope
    client, server = scope["client"], scope["server"]
    if client is None or server is None:
        return False
    ends = [(address, int(port)) for address, port in (client, server)]  # Granian passes ports as text
    return await asyncio.to_thread(peer_user.is_own_or_root, *ends)


def looks_local(request: Request) -> bool:
    """Whether addresses, headers and settings are all those of a local request."""
    state = app_state(request)
    is_forwarded = any(name in FORWARDING_HEADERS or name.startswith("x-forwarded-") for name in request.headers)
    return (
        time.monotonic() - state.started < LOCAL_SECONDS
        and not state.settings.trusted_proxies
        and is_loopback(state.settings.host)
        and request.client is not None
        and is_loopback(request.client.host)
        and is_loopback(host_name(request.headers.get("host", "")))
        and not is_forwarded
    )


def host_name(host: str) -> str:
    """The host name in a Host header, without the port; empty if the header is malformed."""
    parts = HOST.fullmatch(host)
    return "" if parts is None else parts["v6"] or parts["name"] or ""


def is_loopback(name: str) -> bool:
    """Whether a host name or address is a loopback one."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
