"""Authorise registrations: the rules for learners, administrators and the first administrator."""

import asyncio
import ipaddress
import re
import time
from typing import Any, Final

from litestar import Request

from seneca import accounts
from seneca.accounts import Role
from seneca.auth import setup_token
from seneca.errors import RegistrationClosed
from seneca.http import peer_user
from seneca.http.app_state import app_state
from seneca.http.auth import authenticate, bearer_token

LOCAL_SECONDS: Final = 3600
FORWARDING_HEADERS: Final = ("origin", "forwarded", "x-real-ip", "via")
HOST: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::[0-9]*)?")
ADMINISTRATOR_HELP: Final = (
    "Sign in as an administrator to register another. To register the first one, send the setup token "
    "(the file setup-token in the data directory) in the header X-Setup-Token, or run: seneca admin create."
)


async def check_may_register(request: Request[Any, Any, Any], role: Role) -> bool:
    """Check that the request may register an account with this role.

    Returns:
        Whether the account is to be the first administrator. The write must check again that there has never been one.

    Raises:
        RegistrationClosed: it may not; the message says what to do instead.
        Unauthenticated: it has an invalid token.

    """
    state = app_state(request)
    if role == "user" and state.settings.registration == "open":
        return False
    if bearer_token(request) is not None:
        if authenticate(request).role == "admin":
            return False
        raise RegistrationClosed(ADMINISTRATOR_HELP)
    if role == "user":
        raise RegistrationClosed("Only administrators can register learners on this server. Ask one of them.")
    if await state.database.read(accounts.administrator_existed):
        raise RegistrationClosed("Sign in as an administrator to register another.")
    token = request.headers.get("x-setup-token")
    if token is not None:
        if await state.database.read(setup_token.matches, token):
            return True
    elif await is_local(request):
        return True
    raise RegistrationClosed(ADMINISTRATOR_HELP)


async def is_local(request: Request[Any, Any, Any]) -> bool:
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


def looks_local(request: Request[Any, Any, Any]) -> bool:
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
