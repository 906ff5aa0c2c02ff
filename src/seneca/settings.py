"""Every setting: its variable, meaning, unit and default. Read once, at start, and frozen."""

import os
import re
from collections.abc import Mapping
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from seneca.errors import ConfigurationError

PREFIX = "SENECA_"
ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")  # RFC 6454, 6.2
Network = IPv4Network | IPv6Network
STARTED: Final = "_SENECA_STARTED"
"""The variable that tells a worker when its server started, by ``time.monotonic()``: a new one makes no new server."""
MAX_DEFAULT_WORKERS: Final = 4
"""Workers that nobody asked for: each takes memory and, of PostgreSQL's 100 connections, twelve (docs/scaling.md)."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What one running Seneca was told. ``SENECA_`` and the upper-case name is the variable."""

    data: Annotated[
        Path,
        Meta(description="Directory for the database, the signing key and the setup token."),
    ] = Path("seneca-data")
    database_url: Annotated[
        str,
        Meta(
            description="The database, `sqlite:///PATH` or `postgresql://…`; empty: `seneca.db` in the data directory."
        ),
    ] = ""
    database_connections: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="Connections of each worker to PostgreSQL for writes, and as many for reads; besides them three for "
            "lists and exports and one to check for ended sign-ins.",
        ),
    ] = 4
    host: Annotated[str, Meta(description="Address or name of this machine to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port to listen on; 0: one that is free.")] = 3000
    workers: Annotated[
        int,
        Meta(ge=0, le=64, description="Processes that answer requests; 0: one to each usable core, at most four."),
    ] = 0
    secret_key: Annotated[
        str,
        Meta(
            description="Signing keys of 32 characters or more, comma-separated: the first signs, all verify; "
            "empty: one is made in the data directory."
        ),
    ] = ""
    registration: Annotated[
        Literal["open", "admin"],
        Meta(description="Who may register learners: anyone, or administrators only."),
    ] = "open"
    password_words: Annotated[
        str,
        Meta(
            description="File of words that passwords must not be built from, one to a line: the school's name, its town; "
            "empty: none."
        ),
    ] = ""
    max_login_failures: Annotated[
        int,
        Meta(
            ge=1,
            description="Sign-ins that may fail from one address in ten minutes, where it is not familiar to the account; "
            "then they are slowed.",
        ),
    ] = 60
    max_registrations: Annotated[
        int, Meta(ge=1, description="Accounts that may be registered from one address in ten minutes.")
    ] = 600
    max_learner_writes: Annotated[
        int, Meta(ge=1, description="Starts, updates and ends of study sessions that one learner may store in an hour.")
    ] = 20_000
    max_learner_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="Bytes of results that one learner may store in an hour: names and parts as they are stored.",
        ),
    ] = 268_435_456
    cors_origins: Annotated[
        str,
        Meta(description="Origins of browser applications, comma-separated, for CORS; empty: none."),
    ] = ""
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Reverse proxies whose X-Forwarded-For is believed: addresses or networks, comma-separated; "
            "empty: none."
        ),
    ] = ""
    vacuum_interval: Annotated[
        int,
        Meta(
            ge=0,
            description="Seconds between two times that SQLite's file is rewritten because somebody was erased; where nobody "
            "erased had a session, 144 times as long.",
        ),
    ] = 600
    log_format: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="Log lines as JSON or as text; `auto`: text on a terminal, else JSON."),
    ] = "auto"

    @property
    def database(self) -> str:
        """The database's URL, spelled out."""
        return self.database_url or f"sqlite:///{self.data / 'seneca.db'}"

    @property
    def processes(self) -> int:
        """How many processes answer requests."""
        return self.workers or min(usable_cores(), MAX_DEFAULT_WORKERS)

    @property
    def cores_each(self) -> int:
        """How many cores each of them has for itself, at least one."""
        return max(1, usable_cores() // self.processes)

    @property
    def origins(self) -> list[str]:
        """The origins that CORS admits. Raises ConfigurationError."""
        return _origins(self.cors_origins)

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        """The networks of the reverse proxies. Raises ConfigurationError."""
        return _networks(self.trusted_proxies)

    def variables(self) -> dict[str, str]:
        """These settings as environment variables, for the worker processes."""
        return {variable(name): str(getattr(self, name)) for name in self.__struct_fields__}


def usable_cores() -> int:
    """How many cores this process may run on; a container's share of their time is not looked at."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _origins(text: str) -> list[str]:
    origins = [origin.strip().lower() for origin in text.split(",") if origin.strip()]
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"SENECA_CORS_ORIGINS: {origin!r} is not an origin. "
                "Write scheme, host and port as a browser sends them, without a path: https://app.school.example"
            )
    return origins


@cache
def _networks(proxies: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(one.strip()) for one in proxies.split(",") if one.strip())
    except ValueError as error:
        raise ConfigurationError(f"SENECA_TRUSTED_PROXIES: {error}.") from None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def read(environment: Mapping[str, str] | None = None, **given: object) -> Settings:
    """The settings from the environment, overridden by what is given (None is: not given).

    Raises:
        ConfigurationError: a variable is unknown or has a value that it cannot have; it is named.

    """
    environment = os.environ if environment is None else environment
    known = {variable(name): name for name in Settings.__struct_fields__}
    if unknown := sorted(name for name in environment if name.startswith(PREFIX) and name not in known):
        raise ConfigurationError(f"Unknown setting {unknown[0]}. Known: {', '.join(sorted(known))}.")
    values: dict[str, object] = {known[name]: text for name, text in environment.items() if name in known}
    values |= {name: value for name, value in given.items() if value is not None}
    settings = {}
    for field in msgspec.structs.fields(Settings):
        if field.name in values:
            try:
                settings[field.name] = msgspec.convert(
                    values[field.name],
                    field.type,
                    strict=False,
                    dec_hook=lambda kind, value: kind(value),
                )
            except (msgspec.ValidationError, TypeError) as error:
                raise ConfigurationError(f"{variable(field.name)}: {error}.") from None
    told = Settings(**settings)
    _ = told.proxy_networks, told.origins
    return told
