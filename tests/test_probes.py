"""GET /test, POST /test/data, GET /test/user, GET /test/admin, GET /health."""

import pytest

from tests.helpers.accounts import Person
from tests.helpers.assertions import refused

pytestmark = pytest.mark.http  # about HTTP, whatever the engine

PROBES = {"/test": "Hello world", "/test/user": "User Functionality", "/test/admin": "Admin Functionality"}
MAY = {"/test": ("alice", "tara"), "/test/user": ("alice",), "/test/admin": ("tara",)}


@pytest.mark.parametrize("path", PROBES)
@pytest.mark.parametrize("who", ["nobody", "alice", "tara"])
def test_who_gets_what(request: pytest.FixtureRequest, path: str, who: str):
    answer = request.getfixturevalue(who).get(path)
    if who in MAY[path]:
        assert (answer.status_code, answer.text) == (200, PROBES[path])
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    elif who == "nobody":
        refused(answer, 401, "token-missing")
    else:
        refused(answer, 403, "forbidden")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", None),
        (b'{"any": "thing"}', "application/json"),
        (b"{", "application/json"),
        (b"\x00\xff\xed\xa0\x80", "application/octet-stream"),
        (b"a=b", "application/x-www-form-urlencoded"),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=y"),
        (b"x" * 262_144, "text/plain"),
        (b"x", "no media type"),
    ],
)
@pytest.mark.parametrize("who", ["alice", "tara"])
def test_any_body_is_ok(request: pytest.FixtureRequest, who: str, body: bytes, kind: str | None):
    person: Person = request.getfixturevalue(who)
    answer = person.post("/test/data", content=body, headers={"Content-Type": kind} if kind else {})
    assert (answer.status_code, answer.text) == (200, "OK")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_errors_of_data_and_their_order(nobody: Person, alice: Person):
    large = b"x" * 262_145
    refused(nobody.put("/test/data", content=large), 405, "method-not-allowed")
    refused(nobody.post("/test/data?x=1", content=large), 401, "token-missing")
    refused(alice.post("/test/data?x=1", content=large), 413, "payload-too-large")
    refused(alice.post("/test/data?x=1", content=b"x"), 400, "invalid-input", "x")


@pytest.mark.parametrize("path", [*PROBES, "/health"])
def test_errors_of_reads(nobody: Person, alice: Person, tara: Person, path: str):
    person = tara if path == "/test/admin" else alice
    refused(person.get(path + "?x=1"), 400, "invalid-input", "x")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = nobody.request(method, path)
        refused(answer, 405, "method-not-allowed")
        assert {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))


def test_405_of_data(nobody: Person):
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = nobody.request(method, "/test/data")
        refused(answer, 405, "method-not-allowed")
        assert "POST" in answer.headers["allow"].split(", ")


def test_health_needs_no_token(nobody: Person):
    answer = nobody.get("/health", headers={"Authorization": "Bearer stale"})
    assert (answer.status_code, answer.text) == (200, "OK")
