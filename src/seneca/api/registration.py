"""Who may register an account: the rule for learners, and the one for the first administrator."""

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
FORWARDING: Final = ("origin", "forwarded", "x-real-ip", "via")
HOST: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<name>[^:\[\]]*))(?::[0-9]*)?")
HOW_TO_GO_ON: Final = (
    "Sign in as an administrator to register another. The first one is registered with the setup token "
    "(the file setup-token in the data directory) in the header X-Setup-Token, or made with: seneca admin create."
)


async def check_may_register(request: Request[Any, Any, Any], role: Role) -> bool:
    """Check that the request may register an account of this role.

    Returns:
        Whether it may only as the first administrator: the write must still find that none has existed.

    Raises:
        RegistrationClosed: it may not; the text says how to go on.
        Unauthenticated: it brought a token that is not valid.

    """
    shared = app_state(request)
    if role == "user" and shared.settings.registration == "open":
        return False
    if bearer_token(request) is not None:
        if authenticate(request).role == "admin":
            return False
        raise RegistrationClosed(HOW_TO_GO_ON)
    if role == "user":
        raise RegistrationClosed("Here only administrators register learners: ask one.")
    if await shared.database.read(accounts.administrator_existed):
        raise RegistrationClosed("Sign in as an administrator to register another.")
    token = request.headers.get("x-setup-token")
    if token is not None:
        if await shared.database.read(setup_token.matches, token):
            return True
    elif await is_local(request):
        return True
    raise RegistrationClosed(HOW_TO_GO_ON)


async def is_local(request: Request[Any, Any, Any]) -> bool:
    """Whether the request comes straight from this machine, within an hour of the server's start.

    On Linux it must come from a process of the server's own user or of root: other users of the machine, or a proxy that adds no
    header, look the same otherwise. Never of a server that has proxies.
    """
    if not looks_local(request):
        return False
    if not peer_user.CAN_TELL:
        return True
    scope: Any = request.scope
    client, server = scope["client"], scope["server"]
    if client is None or server is None:
        return False
    ends = [(address, int(port)) for address, port in (client, server)]  # Granian says ports as text
    return await asyncio.to_thread(peer_user.is_own_or_root, *ends)


def looks_local(request: Request[Any, Any, Any]) -> bool:
    """Whether nothing that the request says, and no setting, speaks against it."""
    shared = app_state(request)
    forwarded = any(name in FORWARDING or name.startswith("x-forwarded-") for name in request.headers)
    return (
        time.monotonic() - shared.started < LOCAL_SECONDS
        and not shared.settings.trusted_proxies
        and is_loopback(shared.settings.host)
        and request.client is not None
        and is_loopback(request.client.host)
        and is_loopback(host_name(request.headers.get("host", "")))
        and not forwarded
    )


def host_name(host: str) -> str:
    """The name in a Host header, without its port; empty where it is not well-formed."""
    parts = HOST.fullmatch(host)
    return "" if parts is None else parts["v6"] or parts["name"] or ""


def is_loopback(name: str) -> bool:
    """Whether a host name or address means this machine to itself."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
