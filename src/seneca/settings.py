"""The settings: name, meaning, unit and default of each. They are read once, at start."""

import os
import re
from collections.abc import Mapping
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from seneca.common.study_days import to_zone
from seneca.errors import ConfigurationError

PREFIX = "SENECA_"
ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")  # RFC 6454, 6.2
Network = IPv4Network | IPv6Network
STARTED: Final = "_SENECA_STARTED"
"""The environment variable that tells a worker, also a restarted one, its server's start time by ``time.monotonic()``."""
WRITER: Final = "_SENECA_WRITER"
"""The environment variable with the socket of the process that writes for all workers, if there is one."""
MAX_DEFAULT_WORKERS: Final = 4
"""The limit without SENECA_WORKERS: each takes memory, and twelve of PostgreSQL's 100 connections (docs/scaling.md)."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one installation. The environment variable of each is ``SENECA_`` and its upper-case name."""

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
            description="Connections of each worker to PostgreSQL for writes, and the same number for reads; in addition three for "
            "lists and exports, and one to poll for ended sign-ins.",
        ),
    ] = 4
    host: Annotated[str, Meta(description="Address or host name to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port to listen on; 0: any free port.")] = 3000
    workers: Annotated[
        int,
        Meta(ge=0, le=64, description="Worker processes; 0: one for each usable core, at most four."),
    ] = 0
    secret_key: Annotated[
        str,
        Meta(
            description="Signing keys of 32 characters or more, comma-separated: the first signs, all verify; "
            "empty: one is created in the data directory."
        ),
    ] = ""
    registration: Annotated[
        Literal["open", "admin"],
        Meta(description="Who may register learners: anyone, or administrators only."),
    ] = "open"
    password_words: Annotated[
        str,
        Meta(
            description="File of words that passwords must not be built from, one per line: the school's name, its town; "
            "empty: none."
        ),
    ] = ""
    max_login_failures: Annotated[
        int,
        Meta(
            ge=1,
            description="Failed sign-ins that one address may have in ten minutes, not counting accounts to which it is familiar; "
            "further attempts are slowed down.",
        ),
    ] = 60
    max_registrations: Annotated[
        int, Meta(ge=1, description="Accounts that may be registered from one address in ten minutes.")
    ] = 600
    max_learner_writes: Annotated[
        int,
        Meta(
            ge=1,
            description="Writes that one learner may store in an hour: starts, updates, ends, activity, and each session of a batch.",
        ),
    ] = 20_000
    max_learner_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="Bytes of results that one learner may store in an hour: names and parts, as stored.",
        ),
    ] = 268_435_456
    max_late_days: Annotated[
        int,
        Meta(
            ge=1, le=3650, description="Days for which a device may report study late: a time longer ago is rejected."
        ),
    ] = 31
    session_timeout_hours: Annotated[
        int,
        Meta(
            ge=0,
            le=8760,
            description="Hours without an event after which an open study session is ended, at its last event; 0: never.",
        ),
    ] = 12
    idle_minutes: Annotated[
        int,
        Meta(
            ge=1,
            le=240,
            description="Minutes that each event of a study session counts as active time. Fixed when the database is created: a later "
            "value has no effect.",
        ),
    ] = 5
    time_zone: Annotated[
        str,
        Meta(
            description="Time zone of the school, such as Europe/London, in which a study day is a calendar day. It is stored when the "
            "database is created or first gets study days; empty: UTC. A server with another one than is stored does not start."
        ),
    ] = ""
    cors_origins: Annotated[
        str,
        Meta(description="Origins of browser applications, comma-separated, for CORS; empty: none."),
    ] = ""
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Reverse proxies whose X-Forwarded-For is trusted: addresses or networks, comma-separated; "
            "empty: none."
        ),
    ] = ""
    vacuum_interval: Annotated[
        int,
        Meta(
            ge=0,
            description="Minimum seconds between rewrites of SQLite's file after erasures; 144 times as long if no erased account "
            "had a session.",
        ),
    ] = 600
    log_format: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="Log lines as JSON or as text; `auto`: text on a terminal, else JSON."),
    ] = "auto"

    @property
    def database(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data / 'seneca.db'}"

    @property
    def processes(self) -> int:
        """The number of worker processes."""
        return self.workers or min(usable_cores(), MAX_DEFAULT_WORKERS)

    @property
    def cores_each(self) -> int:
        """The number of cores for each worker process, at least one."""
        return max(1, usable_cores() // self.processes)

    @property
    def origins(self) -> list[str]:
        """The origins that CORS allows. Raises ConfigurationError."""
        return _origins(self.cors_origins)

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        """The networks of the trusted reverse proxies. Raises ConfigurationError."""
        return _networks(self.trusted_proxies)

    @property
    def initial_time_zone(self) -> str:
        """The time zone of a database that is created or migrated. Raises ConfigurationError."""
        name = self.time_zone or "UTC"
        try:
            to_zone(name)
        except ValueError as error:
            raise ConfigurationError(f"SENECA_TIME_ZONE: {name!r} {error}.") from None
        return name

    def variables(self) -> dict[str, str]:
        """These settings as environment variables, for the worker processes."""
        return {variable(name): str(getattr(self, name)) for name in self.__struct_fields__}


def usable_cores() -> int:
    """Count the cores that this process may run on. A container's CPU quota is ignored."""
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
        return tuple(ip_network(proxy.strip()) for proxy in proxies.split(",") if proxy.strip())
    except ValueError as error:
        raise ConfigurationError(f"SENECA_TRUSTED_PROXIES: {error}.") from None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def read(environment: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Read the settings from the environment. ``overrides`` that are not None take precedence.

    Raises:
        ConfigurationError: a variable is unknown or has an invalid value; the message names it.

    """
    environment = os.environ if environment is None else environment
    known = {variable(name): name for name in Settings.__struct_fields__}
    if unknown := sorted(name for name in environment if name.startswith(PREFIX) and name not in known):
        raise ConfigurationError(f"Unknown setting {unknown[0]}. Known: {', '.join(sorted(known))}.")
    values: dict[str, object] = {known[name]: text for name, text in environment.items() if name in known}
    values |= {name: value for name, value in overrides.items() if value is not None}
    fields = {}
    for field in msgspec.structs.fields(Settings):
        if field.name in values:
            try:
                fields[field.name] = msgspec.convert(
                    values[field.name],
                    field.type,
                    strict=False,
                    dec_hook=lambda kind, value: kind(value),
                )
            except (msgspec.ValidationError, TypeError) as error:
                raise ConfigurationError(f"{variable(field.name)}: {error}.") from None
    settings = Settings(**fields)
    _ = settings.proxy_networks, settings.origins, settings.initial_time_zone  # raise ConfigurationError if invalid
    return settings
