"""The log: a line for each request, with ids and route templates, and nothing that a pupil wrote."""

import hashlib
import json
import os
import re
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest

from seneca.auth.refresh_tokens import RefreshToken
from seneca.common.ids import new_id
from tests.helpers.accounts import Person, make_course, register
from tests.helpers.engines import engine
from tests.helpers.load import wait_for
from tests.helpers.names import PREFIX, unique
from tests.helpers.server import PASSWORD, Server, private, running
from tests.test_tokens import forge

pytestmark = pytest.mark.http  # about HTTP, whatever the engine

MEMBERS = {"request", "method", "route", "status", "code", "ms", "account", "event", "level", "timestamp"}
Logged = tuple[Server, httpx.Client, Person]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    """A server whose log nobody else writes to, and its administrator."""
    with running(tmp_path_factory.mktemp("logged")) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        yield server, client, register(client, "tara", role="admin")


def lines(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log_lines()]


def line_of(server: Server, answer: httpx.Response, event: str = "request") -> dict[str, Any]:
    """The one line about a request, of this event."""
    deadline = time.monotonic() + 60  # it is written once the answer is sent
    while True:
        about = [line for line in lines(server) if line.get("request") == answer.headers["x-request-id"]]
        found = [line for line in about if line["event"] == event]
        if found or time.monotonic() > deadline:
            assert len(found) == 1
            return found[0]
        time.sleep(0.01)


def test_each_request_has_a_line(logged: Logged):
    server, client, tara = logged
    nobody, alice = Person(client), register(client, "alice")
    course = make_course(tara)
    session = alice.start(course)
    title = course["courseTitle"]
    requests = [
        (nobody.get("/health"), "GET", "/health", None),
        (nobody.request("HEAD", "/health"), "HEAD", "/health", None),
        (nobody.get("/health/"), "GET", "/health", None),
        (nobody.get("/auth/me"), "GET", "/auth/me", None),
        (alice.get("/auth/me"), "GET", "/auth/me", alice.id),
        (alice.get("/users"), "GET", "/users", alice.id),
        (tara.get("/users?q=alice&limit=1"), "GET", "/users", tara.id),
        (tara.get(f"/users/{alice.id}"), "GET", "/users/{userId}", tara.id),
        (tara.patch(f"/users/{alice.id}", {"password": "short"}), "PATCH", "/users/{userId}", tara.id),
        (nobody.get(f"/course/{title}"), "GET", "/course/{courseIdentifier}", None),
        (alice.get(f"/session/{session}"), "GET", "/session/{sessionId}", alice.id),
        (nobody.post("/auth/login", {"username": alice.username, "password": "x"}), "POST", "/auth/login", alice.id),
        (nobody.post("/auth/login", {"username": "nobody", "password": "x"}), "POST", "/auth/login", None),
        (nobody.post("/auth/login", content=b"x" * 300_000), "POST", "/auth/login", None),
        (nobody.get("/some/secret/path?of=alice"), "GET", None, None),
        (client.options("/auth/me"), "OPTIONS", "/auth/me", None),
        (client.request("BREW", "/health"), "other", None, None),
        (client.request("x" * 30_000, "/health"), "other", None, None),
    ]
    for answer, method, route, account in requests:
        line = line_of(server, answer)
        assert set(line) == MEMBERS
        assert line["event"] == "request"
        assert (line["method"], line["route"], line["status"]) == (method, route, answer.status_code)
        assert line["account"] == account
        is_problem = answer.headers.get("content-type") == "application/problem+json" and method != "HEAD"
        assert line["code"] == (answer.json()["code"] if is_problem else None)
        assert isinstance(line["ms"], float | int)
        assert 0 <= line["ms"] < 30_000
        assert re.fullmatch(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])


def test_ids_are_unique_and_every_line_is_json(logged: Logged):
    server, client, _ = logged
    answers = [client.get("/health") for _ in range(50)]
    for answer in answers:
        line_of(server, answer)
    ids = [line["request"] for line in lines(server) if line.get("event") == "request"]
    assert len(ids) == len(set(ids))
    assert {answer.headers["x-request-id"] for answer in answers} <= set(ids)


def test_who_signs_in_is_logged_by_id_once_it_is_proved(logged: Logged):
    server, client, _ = logged
    alice = register(client, "alice")
    sent = {"username": alice.username, "password": PASSWORD}
    signed_in = client.post("/auth/login", json=sent)
    assert line_of(server, signed_in)["account"] == alice.id
    tokens = signed_in.json()
    refreshed = client.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
    assert line_of(server, refreshed)["account"] == alice.id
    for failed, account in (
        (client.post("/auth/login", json=sent | {"password": "wrong-password"}), alice.id),
        (client.post("/auth/login", json=sent | {"username": "wrong-name"}), None),
        (client.post("/auth/refresh", json={"refreshToken": "wrong"}), None),
    ):
        assert line_of(server, failed)["account"] == account


def test_why_somebodys_results_are_missing_is_in_it(logged: Logged):
    """Whose request was refused, and why: also where the token is good no more."""
    server, client, _ = logged
    ben = register(client, "ben")
    tokens = client.post("/auth/login", json={"username": ben.username, "password": PASSWORD}).json()
    expired, ended = Person(client, forge(server, ben, exp=int(time.time()) - 1)), Person(client, tokens["token"])
    child = client.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]}).json()["refreshToken"]
    assert ended.post("/auth/logout").status_code == 204
    update = {"sessionId": new_id(), "moduleStats": []}
    wrong_again = {"username": ben.username, "password": "wrong-password"}
    errors = [
        (ben.put("/session/updateSession", update), "invalid-input", ben.id),
        (ben.put("/session/updateSession", content=b"x" * 300_000), "payload-too-large", ben.id),
        (ben.get("/users"), "forbidden", ben.id),
        (expired.put("/session/updateSession", update), "token-expired", ben.id),
        (ended.put("/session/updateSession", update), "signed-out", ben.id),
        (Person(client, f"{ben.token}x").get("/test"), "token-invalid", None),
        (Person(client).get("/test"), "token-missing", None),
        (client.post("/auth/refresh", json={"refreshToken": child}), "signed-out", None),
        *((client.post("/auth/login", json=wrong_again), "invalid-credentials", ben.id) for _ in range(5)),
        (client.post("/auth/login", json=wrong_again), "too-many-requests", ben.id),
    ]
    for answer, code, account in errors:
        line = line_of(server, answer)
        assert (line["code"], line["account"], line["status"]) == (code, account, answer.status_code)


def test_a_refresh_token_that_is_used_again_tells_whose_sign_in_it_ends(logged: Logged):
    server, client, _ = logged
    ben = register(client, "ben")
    first = client.post("/auth/login", json={"username": ben.username, "password": PASSWORD}).json()["refreshToken"]
    child = client.post("/auth/refresh", json={"refreshToken": first}).json()["refreshToken"]
    assert client.post("/auth/refresh", json={"refreshToken": child}).status_code == 200
    line = line_of(server, client.post("/auth/refresh", json={"refreshToken": first}))
    assert (line["code"], line["account"]) == ("signed-out", ben.id)


def test_failed_sign_ins_are_logged_by_account_and_by_a_keyed_hash_of_the_address(logged: Logged):
    server, client, _ = logged
    alice = register(client, "alice")
    nobody = unique("nobody")
    wrong = {"username": alice.email, "password": "wrong-password"}
    failed = [client.post("/auth/login", json=wrong) for _ in range(6)]
    elsewhere = httpx.Client(base_url=server.url, timeout=30, transport=httpx.HTTPTransport(local_address="127.0.0.9"))
    with elsewhere:
        failed.append(elsewhere.post("/auth/login", json=wrong | {"username": nobody}))
    assert [answer.status_code for answer in failed] == [*(5 * [401]), 429, 401]
    found = [line_of(server, answer, "login failed") for answer in failed]
    assert [line["reason"] for line in found] == [
        *(5 * ["invalid-credentials"]),
        "too-many-requests",
        "invalid-credentials",
    ]
    assert [line["account"] for line in found] == [*(6 * [alice.id]), None]
    assert {line["level"] for line in found} == {"warning"}
    here, there = found[0]["address"], found[-1]["address"]
    assert {line["address"] for line in found[:6]} == {here}
    assert here != there
    assert re.fullmatch("[0-9a-f]{16}", here)
    assert not hashlib.sha256(b"127.0.0.1").hexdigest().startswith(here), "it cannot be found by trying all addresses"
    delete = client.request(
        "DELETE", "/auth/me", json={"password": "x"}, headers={"Authorization": f"Bearer {alice.token}"}
    )
    assert line_of(server, delete, "login failed")["account"] == alice.id


def test_every_line_is_in_utc(logged: Logged):
    server, client, _ = logged
    line_of(server, client.get("/health"))
    found = lines(server)
    assert {"request" in line for line in found} == {True, False}, "Granian's own lines, too"
    for line in found:
        assert re.fullmatch(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])


def test_the_first_line_names_product_version_data_and_address(logged: Logged):
    server, _, _ = logged
    first = lines(server)[0]
    assert (first["event"], first["product"], first["version"]) == ("starting", "Seneca", version("seneca"))
    assert first["data"] == str(server.data)
    place = re.sub(r"^sqlite:///|(?<=//)\w+@", "", engine().url(server.data))  # without the user
    assert (first["database"], first["address"], first["workers"]) == (place, server.url, 1)


def test_lines_of_every_origin_have_one_shape(logged: Logged):
    server, client, _ = logged
    line_of(server, client.get("/health"))
    for line in lines(server):
        assert set(line) >= {"event", "level", "timestamp"}
        assert line["level"] in ("info", "warning", "error")
    assert {line.get("logger", "") for line in lines(server)} >= {"", "_granian", "_granian.serve"}


STRANGE = """
import logging, logging.config, sys, warnings
from seneca import logs
logs.configure(sys.argv[1])
logging.config.dictConfig(logs.standard_library(sys.argv[1]))
warnings.warn('a "quoted" warning')
try:
    secret = "local variable"
    raise ValueError("a\\nb")
except ValueError:
    logging.getLogger("another").exception("what it says:\\n%s", "an argument")
logging.getLogger("another").info("not of interest")
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_lines_of_other_libraries_have_it_too(form: str):
    done = subprocess.run([sys.executable, "-c", STRANGE, form], capture_output=True, text=True, check=True)
    assert (done.stdout, "local variable" in done.stderr) == ("", False)
    if form == "text":
        assert re.match(r"2\S+Z \[warning  \] .*a \"quoted\" warning", done.stderr)
        assert "ValueError" in done.stderr
    else:
        warning, error = [json.loads(line) for line in done.stderr.splitlines()]
        assert 'a "quoted" warning' in warning["event"]
        assert (warning["level"], warning["logger"]) == ("warning", "py.warnings")
        assert (error["event"], error["level"]) == ("what it says:\nan argument", "error")
        assert error["exception"][0]["exc_type"] == "ValueError"


def test_a_clients_own_request_id_is_not_taken_over(logged: Logged):
    server, client, _ = logged
    answer = client.get("/health", headers={"X-Request-Id": "injected"})
    assert answer.headers["x-request-id"] != "injected"
    assert line_of(server, answer)["request"] == answer.headers["x-request-id"]
    assert "injected" not in server.log.read_text()


def test_nothing_that_was_written_or_is_secret_is_in_it(logged: Logged):
    server, client, _ = logged
    nobody, username, email = Person(client), "zoë-of-the-log", "zoe@log.example"
    sent = {"username": username, "email": email, "password": "sup3r-secret-word"}
    nobody.post("/auth/register", sent)
    nobody.post("/auth/register", sent)
    nobody.post("/auth/register", sent | {"role": "admin"}, headers={"X-Setup-Token": "guessed-token"})
    nobody.post("/auth/register", sent | {"nickname": "zozo-nickname"})
    nobody.post("/auth/login", {"username": username, "password": "wr0ng-secret-word"})
    token = nobody.post("/auth/login", {"username": email, "password": sent["password"]}).json()["token"]
    zoe = Person(client, token)
    zoe.get("/auth/me")
    Person(client, token + "x").get("/auth/me")
    zoe.get("/users?q=zoe-in-a-query")
    zoe.get("/zoe-in-a-path/x?zoe-in-a-query=1")
    zoe.get("/course/zoe-in-a-title")
    zoe.put("/course/zoe-in-a-title", {"qualification": "zoe-in-a-body"})
    zoe.post("/test/data", content=b"zoe-in-data")
    zoe.put("/session/updateSession", {"sessionId": "zoe-in-a-body", "moduleStats": []})
    zoe.get(
        "/health", headers={"Cookie": "zoe-in-a-cookie", "User-Agent": "zoe-in-an-agent", "Referer": "zoe-in-a-referer"}
    )
    line_of(server, zoe.get("/test"))
    place = json.loads(server.log_lines()[0])["database"]
    log = server.log.read_text().replace(place, "").replace(f"127.0.0.1:{server.port}", "")
    words = [
        *(username, "of-the-log", email, "log.example", "secret-word", PASSWORD, token, token.split(".")[2]),
        *("zozo", "guessed-token", "zoe-in", "127.0.0.1:", (server.data / "secret-key").read_text().strip()),
    ]
    assert [word for word in words if word in log] == []


@pytest.mark.parametrize(
    "secret",
    [
        PASSWORD,
        "zoe@example.org",
        "a name of this process",
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
        "$2b$10$abcdefghijklmnopqrstuv",
        "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxIn0.eyJpZCI6",
        RefreshToken("0" * 32, "1" * 32, b"f" * 16, b"t" * 32).text,
        "127.0.0.2",
        "127.0.0.1:50000, GET",
    ],
)
def test_what_every_log_is_searched_for_would_be_found(secret: str):
    secret = unique("alice") if secret == "a name of this process" else secret
    assert private(f'{{"event": "request", "route": "{secret}", "ms": 0.1}}\n') != []
    assert private(f"a line\n{secret}\nanother") != []
    assert private('{"event": "Listening at: http://127.0.0.1:40123"}') == []


def test_identifiers_are_not_taken_for_names():
    process = f"{os.getpid() % 10_000:04}"
    for identifier in (f"01a2142d-{process}-7985-b6d9-fe07911fecc3", new_id()):
        assert private(f'{{"account": "{identifier}"}}') == []
    assert not set(PREFIX) <= set(string.hexdigits)


def test_workers_ids_differ(tmp_path: Path):
    with running(tmp_path, "--workers", "2") as server:
        answers = [httpx.get(f"{server.url}/health") for _ in range(40)]
        ids = [answer.headers["x-request-id"] for answer in answers]
        assert len(ids) == len(set(ids))
        for answer in answers:
            assert line_of(server, answer)["status"] == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_last_request_before_a_stop_has_its_line(tmp_path: Path, workers: str):
    with running(tmp_path, "--workers", workers) as server:
        answer = httpx.get(f"{server.url}/health")
    assert line_of(server, answer)["status"] == 200


def test_text_where_it_is_asked_for(tmp_path: Path):
    with running(tmp_path, SENECA_LOG_FORMAT="text") as server:
        answer = httpx.get(f"{server.url}/health")
        wait_for(lambda: answer.headers["x-request-id"] in server.log.read_text())
        (line,) = [line for line in server.log_lines() if answer.headers["x-request-id"] in line]
        assert "route=/health" in line
        assert not line.startswith("{")
