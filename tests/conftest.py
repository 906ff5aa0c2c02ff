"""The cast and the stage: Alice learns, Tara administers, Charlie is a stranger; a real server, a real database.

One server runs for each test process. Tests make their own learners and courses, so that they need not clean up.
"""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from seneca.settings import usable_cores
from tests import engines
from tests.engines import free_port

pytest.register_assert_rewrite("tests.load", "tests.ledger")  # so that a failure says what was found

PASSWORD = "securePassword123"
NEVER_GIVEN = {"answers": [], "isCompleted": False, "score": 0}
USUAL = {"SENECA_MAX_LOGIN_FAILURES": "1000000", "SENECA_MAX_REGISTRATIONS": "1000000", "SENECA_WORKERS": "1"}
"""All tests come from one address."""
_numbers = itertools.count(1)


def unique(stem: str) -> str:
    """A name that no other test has."""
    return f"{stem}-{os.getpid()}-{next(_numbers)}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=engines.ENGINES, default="sqlite", help="the database to test on")
    parser.addoption("--citus", metavar="URL", default="", help="with --engine citus: a database on the coordinator")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests wait for processes and disks about a fifth of their time."""
    return usable_cores() + 1


def pytest_configure(config: pytest.Config) -> None:
    engines.chosen = config.getoption("engine")
    engines.cluster_url = config.getoption("citus")
    if (engines.chosen == "citus") != bool(engines.cluster_url):
        raise pytest.UsageError("--engine citus and --citus postgresql://… go together")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about another engine; on PostgreSQL also what asks no database."""
    others = {"sqlite": ["postgres"], "citus": ["sqlite", "no_database", "postgres", "old_schema"]}.get(
        config.getoption("engine"), ["sqlite", "no_database"]
    )
    left_out = [item for item in items if any(item.get_closest_marker(other) for other in others)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


PRIVATE = re.compile(
    rf"""{PASSWORD} | @example\. | -{os.getpid()}-\d             # a password, addresses, every name of ``unique``
    | \$argon2 | \$2[aby]\$ | eyJ[\w-]{{20}} | \b[\w-]{{107}}\b  # hashes, access tokens, refresh tokens
    | 127\.0\.0\.(?!1:\d+["\s/]|1",\ port|1\ cannot)              # network addresses, but for the server's and the database's""",
    re.VERBOSE,
)


def private(log: str) -> list[str]:
    """What stands in a log and must not, with what is around it. Every server of every test is asked when it stops."""
    return [log[max(0, found.start() - 100) : found.end() + 100] for found in PRIVATE.finditer(log)]


@dataclass
class Server:
    """A running `seneca serve`, and the files behind it."""

    process: subprocess.Popen[bytes]
    data: Path
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rows(self, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        """What is stored, read past the server."""
        return engines.engine().rows(self.data, sql, **parameters)

    def log_lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        status = self.process.wait(timeout=40)
        assert private(self.log.read_text()) == []
        return status


def seneca(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a seneca command to its end."""
    if "--data" in arguments:
        data = Path(arguments[arguments.index("--data") + 1])
        options["env"] = engines.engine().environment(data) | dict(options.get("env", os.environ))
    return subprocess.run(
        [sys.executable, "-m", "seneca", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def start_server(data: Path, *arguments: str, port: int | None = None, **environment: str) -> Server:
    """Start `seneca serve` on a data directory, with one worker unless told otherwise; returns when it answers."""
    server = launch_server(data, *arguments, port=port or free_port(), **environment)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{server.url}/health", timeout=1).status_code == 200:
                return server
        except httpx.TransportError:
            pass
        if server.process.poll() is not None:
            break
        time.sleep(0.02)
    server.process.kill()
    raise AssertionError(f"the server did not start:\n{server.log.read_text()}")


def launch_server(data: Path, *arguments: str, port: int, **environment: str) -> Server:
    """Start `seneca serve` on a data directory; returns at once."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / "serve.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "seneca", "serve", "--data", str(data), "--port", str(port), *arguments],
            stdout=output,
            stderr=output,
            env=os.environ | USUAL | engines.engine().environment(data) | environment,
        )
    return Server(process, data, port, log)


@contextmanager
def running(data: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    """A server for one test, stopped at the end."""
    server = start_server(data, *arguments, **environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


@dataclass
class Person:
    """Someone with a token: requests in their name."""

    client: httpx.Client
    token: str | None = None
    id: str = ""
    username: str = ""
    email: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = dict(self.headers)
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        headers |= options.pop("headers", {})
        return self.client.request(method, path, headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.request("POST", path, **(options if json is None else options | {"json": json}))

    def put(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.request("PUT", path, **(options if json is None else options | {"json": json}))

    def patch(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.request("PATCH", path, **(options if json is None else options | {"json": json}))

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.request("DELETE", path, **options)

    # -- what learners do ----------------------------------------------------------------------

    def start(self, course: dict[str, Any], **members: Any) -> str:
        """Start a session on the course's first topic; returns its id."""
        topic = course["topicsAndModules"][0]["topic"]
        answer = self.post("/session/startSession", {"courseIdentifier": course["id"], "topic": topic} | members)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["sessionId"])

    def update(self, session_id: str, *modules: dict[str, Any]) -> dict[str, Any]:
        """Record results; returns the answer."""
        answer = self.put("/session/updateSession", {"sessionId": session_id, "moduleStats": list(modules)})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def end(self, session_id: str) -> str:
        """End a session; returns its end."""
        answer = self.put("/session/endSession", {"sessionId": session_id})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["sessionEnd"])


def sign_up(client: httpx.Client, stem: str, *, role: str = "user", by: Person | None = None) -> Person:
    """Register an account and sign in."""
    name = unique(stem)
    email = f"{name}@example.org"
    body = {"username": name, "email": email, "password": PASSWORD, "role": role}
    registered = (by or Person(client)).post("/auth/register", body)
    assert registered.status_code == 201, registered.text
    return sign_in(client, name, email, registered.json()["userId"])


def sign_in(client: httpx.Client, username: str, email: str = "", id: str = "") -> Person:
    answer = client.post("/auth/login", json={"username": username, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return Person(client, answer.json()["token"], id, username, email)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("seneca")) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def tara(client: httpx.Client) -> Person:
    """The administrator (the first one: registered straight from this machine)."""
    return sign_up(client, "tara", role="admin")


@pytest.fixture
def nobody(client: httpx.Client) -> Person:
    """Someone without a token."""
    return Person(client)


@pytest.fixture
def alice(client: httpx.Client, tara: Person) -> Person:
    """A learner, new for each test."""
    return sign_up(client, "alice")


@pytest.fixture
def charlie(client: httpx.Client, tara: Person) -> Person:
    """Another learner, new for each test."""
    return sign_up(client, "charlie")


def make_course(tara: Person, **members: Any) -> dict[str, Any]:
    """A course of two topics, new."""
    body = {
        "courseTitle": unique("Mathematics"),
        "qualification": "GCSE",
        "topicsAndModules": [
            {"topic": "Number", "modules": ["Integers", "Fractions"]},
            {"topic": "Algebra", "modules": ["Equations"]},
        ],
    } | members
    answer = tara.post("/course/create", body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json()["newCourse"])


@pytest.fixture
def course(tara: Person) -> dict[str, Any]:
    return make_course(tara)


def refused(answer: httpx.Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """Assert that an answer is this refusal, whole; returns its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = dict(answer.json())
    assert body["status"] == status
    assert body["code"] == code
    assert body["message"] == body["detail"] != ""
    assert body["type"]
    assert body["title"]
    if field is not None:
        assert field in [error["field"] for error in body["errors"]], body
        assert all(error["message"] for error in body["errors"])
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    return body
