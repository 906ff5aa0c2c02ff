"""What holds on every path: HEAD, trailing slashes, queries, headers, problems, bodies, CORS, documentation."""

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from seneca.common.ids import parse_uuid
from tests.helpers.accounts import Person, sign_up
from tests.helpers.assertions import refused
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server, running
from tests.test_authorisation import ROWS, Row, Stage, described, set_stage

pytestmark = pytest.mark.http  # about HTTP, whatever the engine

JSON = {"Content-Type": "application/json"}
GETS = [row for row in ROWS if row.method == "GET"]
DOCUMENTATION = ["/docs", "/docs.css", "/docs.svg", "/openapi.json"]


@pytest.fixture(scope="module")
def stage(client: httpx.Client, tara: Person) -> Stage:
    return set_stage(client, tara)


def of(rows: list[Row]) -> Any:
    return pytest.mark.parametrize("row", rows, ids=[f"{row.method} {row.template}" for row in rows])


def holder(stage: Stage, row: Row) -> Person:
    """Someone who may; somebody new, if afterwards they may nothing more."""
    if row.ends_sign_ins:
        return sign_up(stage.alice.client, "leaving")
    return stage.alice if row.alice < 300 else stage.tara


# -- HEAD, trailing slashes, unknown paths and queries -----------------------------------------


@of(GETS)
def test_head_is_get_without_the_body(stage: Stage, row: Row):
    person, path = holder(stage, row), row.path(stage)
    get, head = person.get(path), person.request("HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    own = {"date", "x-request-id"}
    if row.template == "/users/{userId}/export":  # it is recorded each time, and the record is in the next
        own |= {"content-length"}
    assert {k: v for k, v in head.headers.items() if k not in own} == {
        k: v for k, v in get.headers.items() if k not in own
    }
    assert "content-length" in own or int(head.headers["content-length"]) == len(get.content)


@pytest.mark.parametrize("path", DOCUMENTATION)
def test_the_documentation_answers_head_and_a_trailing_slash(nobody: Person, path: str):
    get = nobody.get(path)
    assert nobody.request("HEAD", path).headers["content-length"] == get.headers["content-length"]
    assert nobody.get(path + "/").content == get.content


@pytest.mark.parametrize("path", ["/auth/login", "/nowhere", "/auth/me"])
def test_head_of_an_error_has_no_body(nobody: Person, path: str):
    head = nobody.request("HEAD", path)
    assert head.status_code in (401, 404, 405)
    assert head.content == b""


@of(ROWS)
def test_a_trailing_slash_is_tolerated(stage: Stage, row: Row):
    person, path = holder(stage, row), row.path(stage) + "/"
    body = {} if row.body is None else {"json": row.body(stage)}
    answer = person.request(row.method, path, **body, follow_redirects=False)
    assert answer.status_code == (row.alice if person is stage.alice else row.tara), answer.text


@of(ROWS)
def test_an_unknown_query_parameter_is_refused(stage: Stage, row: Row):
    person, path = holder(stage, row), row.path(stage)
    body = {} if row.body is None else {"json": row.body(stage)}
    for query, name in (("x=1", "x"), ("x", "x"), ("LIMIT=1", "LIMIT"), ("limit[]=1", "limit[]"), ("%00=1", "\0")):
        refused(person.request(row.method, f"{path}?{query}", **body), 400, "invalid-input", name)


@pytest.mark.parametrize("path", DOCUMENTATION)
def test_the_documentation_takes_no_query(nobody: Person, path: str):
    refused(nobody.get(path + "?x=1"), 400, "invalid-input", "x")


UNKNOWN = [
    "/nowhere",
    "/auth",
    "/AUTH/ME",
    "/auth/me/x",
    "/users/a/b",
    "/users/a%2Fb",
    "/.env",
    "/../etc/passwd",
    "/%00",
    "/%FF",
    "/docs/../auth/me",
    "/index.html",
    "/" + "x" * 5000,
    "/stats",
    "/session",
]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "BREW"])
@pytest.mark.parametrize("path", UNKNOWN, ids=lambda path: path[:20])
def test_an_unknown_path_is_404_for_everyone(server: Server, method: str, path: str):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:  # as written, no client tidies it
        raw.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1"))
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 "), head
    assert b"content-type: application/problem+json" in head.lower()
    assert b'"code":"route-not-found"' in body
    assert path.encode()[1:30] not in body or len(path) < 8


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/session/startSession", "POST"),
        ("PUT", "/session/startSession", "POST"),
        ("GET", "/session/updateSession", "PUT"),
        ("GET", "/session/endSession", "PUT"),
        ("GET", "/course/create", "POST"),
        ("PUT", "/course/create", "POST"),
        ("DELETE", "/course/create", "POST"),
        ("POST", "/stats/user/sessions", "GET"),
        ("DELETE", "/stats/user", "GET"),
        ("GET", "/test/data", "POST"),
        ("POST", "/test/user", "GET"),
    ],
)
def test_a_fixed_path_wins_over_a_parameter(nobody: Person, tara: Person, method: str, path: str, allow: str):
    for person in (nobody, tara):
        answer = person.request(method, path)
        refused(answer, 405, "method-not-allowed")
        assert set(answer.headers["allow"].split(", ")) - {"OPTIONS", "HEAD"} == {allow}


@of(ROWS)
def test_other_methods_are_405_with_allow(client: httpx.Client, stage: Stage, row: Row):
    path = row.path(stage)
    allowed = {r.method for r in ROWS if r.template == row.template}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "BREW", "TRACE"} - allowed:
        answer = client.request(method, path)
        refused(answer, 405, "method-not-allowed")
        named = set(answer.headers["allow"].split(", "))
        assert named == allowed | {"OPTIONS"} | ({"HEAD"} if "GET" in allowed else set())
    options = client.options(path)
    assert options.status_code == 204
    assert set(options.headers["allow"].split(", ")) == named


# -- headers and problems ----------------------------------------------------------------------


def every_kind_of_answer(nobody: Person, alice: Person, tara: Person) -> dict[int, httpx.Response]:
    course = {"courseTitle": unique("Art"), "qualification": "GCSE"}
    topics = {"topicsAndModules": [{"topic": "One", "modules": ["A"]}]}
    created = tara.post("/course/create", course | topics)
    id_ = created.json()["newCourse"]["id"]
    etag = nobody.get(f"/course/{id_}").headers["etag"]
    answers = [
        nobody.get("/health"),
        created,
        nobody.client.options("/health"),
        nobody.get(f"/course/{id_}", headers={"If-None-Match": etag}),
        nobody.post("/auth/login", {}),
        nobody.get("/auth/me"),
        alice.get("/users"),
        nobody.get("/nowhere"),
        nobody.delete("/health"),
        tara.post("/course/create", course | topics),
        tara.put(f"/course/{id_}", {"qualification": "x"}, headers={"If-Match": '"stale"'}),
        nobody.post("/auth/login", content=b"x" * 300_000),
        nobody.post("/auth/login", content=b"x"),
        nobody.get("/docs"),
    ]
    return {answer.status_code: answer for answer in answers}


def test_security_headers_and_a_request_id_are_on_every_answer(nobody: Person, alice: Person, tara: Person):
    answers = every_kind_of_answer(nobody, alice, tara)
    assert set(answers) == {200, 201, 204, 304, 400, 401, 403, 404, 405, 409, 412, 413, 415}
    for answer in answers.values():
        names = [name.lower() for name, _ in answer.headers.multi_items()]
        for name, value in {
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
        }.items():
            assert names.count(name) == 1
            assert answer.headers[name] == value
        assert names.count("content-security-policy") == names.count("x-request-id") == 1
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
        assert not {"x-powered-by", "set-cookie"} & set(names)
    ids = [answer.headers["x-request-id"] for answer in answers.values()]
    assert len(set(ids)) == len(ids)


def test_every_error_is_a_problem(nobody: Person, alice: Person, tara: Person):
    for status, answer in every_kind_of_answer(nobody, alice, tara).items():
        if status >= 400:
            body = refused(answer, status, answer.json()["code"])
            members = {"type", "title", "status", "detail", "code", "message"}
            assert set(body) == members | ({"errors"} if body["code"] == "invalid-input" else set())
            assert re.fullmatch(r"[a-z]+(-[a-z]+)*", body["code"])
            assert body["type"] == f"/docs#{body['code']}"
            assert f'id="{body["code"]}"' in nobody.get("/docs").text
            assert "Traceback" not in answer.text
            assert "SELECT" not in answer.text


# -- bodies ------------------------------------------------------------------------------------

BODIES = [row for row in ROWS if row.body is not None and row.template != "/test/data"]


@of([row for row in ROWS if row.body is not None])
def test_an_ordinary_client_sees_413_for_ten_megabytes(stage: Stage, row: Row):
    person, path = holder(stage, row), row.path(stage)
    for content in (b"x" * 10_000_000, (b"x" * 100_000 for _ in range(100))):
        refused(person.request(row.method, path, content=content, headers=JSON), 413, "payload-too-large")
        assert person.client.get("/health").status_code == 200  # on the same connection, which still works


@pytest.mark.parametrize("expect", ["100-continue", ""])
@pytest.mark.parametrize(("path", "status"), [("/auth/login", 413), ("/auth/me", 405), ("/nowhere", 404)])
def test_curl_sees_the_answer_to_ten_megabytes(server: Server, tmp_path: Path, expect: str, path: str, status: int):
    (tmp_path / "body").write_bytes(b"x" * 10_000_000)
    arguments = ["-sS", "-w", "%{http_code}", "-o", str(tmp_path / "answer"), "-H", f"Expect: {expect}"]
    upload = ["-X", "POST", "--data-binary", f"@{tmp_path / 'body'}", server.url + path]
    done = subprocess.run(["curl", *arguments, *upload], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, str(status)), done.stderr
    assert b'"status":%d' % status in (tmp_path / "answer").read_bytes()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/test/data", 401), ("PUT", "/auth/login", 405), ("POST", "/nowhere", 404), ("PATCH", "/users/x", 401)],
)
def test_a_large_body_that_nobody_wants_does_not_break_the_connection(
    server: Server, method: str, path: str, status: int
):
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for _ in range(5):
            assert client.request(method, path, content=b"x" * 1_000_000).status_code == status


@of(BODIES)
@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/json; charset=utf-16",
        "json",
        "a/b/c+json",
    ],
)
def test_415(stage: Stage, row: Row, kind: str | None):
    assert row.body is not None
    content = httpx.Request("POST", "http://x", json=row.body(stage)).content
    headers = {} if kind is None else {"Content-Type": kind}
    answer = holder(stage, row).request(row.method, row.path(stage), content=content, headers=headers)
    refused(answer, 415, "unsupported-media-type")


@of(BODIES)
@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON", "application/json;charset=UTF-8", 'application/json; charset="utf-8"'],
)
def test_json_by_any_of_its_names(stage: Stage, row: Row, kind: str):
    assert row.body is not None
    content = httpx.Request("POST", "http://x", json=row.body(stage)).content
    answer = holder(stage, row).request(row.method, row.path(stage), content=content, headers={"Content-Type": kind})
    assert answer.status_code < 300, answer.text


NOT_JSON = {
    "empty": b"",
    "blank": b" \n",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"username": "a"}'.encode("utf-16"),
    "not UTF-8": b'{"username": "\xff"}',
    "a surrogate in UTF-8": b'{"username": "\xed\xa0\x80"}',
    "a raw NUL": b'{"username": "a\0b"}',
    "a lone NUL": b"\0",
    "a raw line end": b'{"username": "a\nb"}',
    "cut": b'{"username": "a"',
    "a comma too many": b'{"username": "a",}',
    "two values": b'{"username": "a", "password": "b"} {}',
    "single quotes": b"{'username': 'a'}",
    "a comment": b'{/* */"username": "a"}',
    "a form": b"username=a&password=b",
    "XML": b"<username>a</username>",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
@pytest.mark.parametrize("path", ["/auth/login", "/auth/register"])
def test_what_is_not_json(nobody: Person, path: str, body: bytes):
    answer = nobody.post(path, content=body, headers=JSON)
    assert answer.status_code == 400
    refused(answer, 400, answer.json()["code"])
    assert answer.json()["code"] in ("malformed-json", "invalid-input")


VALUES = {
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "-Infinity": b"-Infinity",
    "1e400": b"1e400",
    "a number": b"5",
    "a fraction": b"5.5",
    "5,000 digits": b"9" * 5000,
    "-5,000 digits": b"-" + b"9" * 5000,
    "a huge exponent": b"1e99999999999999999999",
    "a lone surrogate": rb'"\ud800"',
    "a lone trail surrogate": rb'"a\udc00b"',
    "surrogates in the wrong order": rb'"\udc00\ud800"',
    "an escaped NUL": rb'"a\u0000b"',
    "1,000 levels": b"[" * 1000 + b"]" * 1000,
    "100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "1,000 objects": b'{"a":' * 1000 + b"1" + b"}" * 1000,
    "unclosed levels": b"[" * 100_000,
    "null": b"null",
    "true": b"true",
    "a list": b'["a"]',
    "an object": b'{"a": "b"}',
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("member", ["username", "email", "password", "role", "unknown"])
def test_values_that_no_account_can_have(server: Server, nobody: Person, value: bytes, member: str):
    name = unique("vera")
    members = {b"username": name, b"email": f"{name}@example.org", b"password": PASSWORD}
    pairs = {key: b'"%s"' % text.encode() for key, text in members.items()} | {member.encode(): value}
    body = b"{%s}" % b",".join(b'"%s": %s' % pair for pair in pairs.items())
    answer = nobody.post("/auth/register", content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    if answer.json()["code"] != "malformed-json":
        refused(answer, 400, "invalid-input", member)
    assert len(answer.content) < 2000
    for column in ("username", "email"):
        assert server.rows(f"SELECT 1 FROM accounts WHERE {column} LIKE :like", like=f"%{name}%") == []


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("member", ["role", "password", "unknown"])
def test_values_that_no_change_can_have(server: Server, stage: Stage, value: bytes, member: str):
    sql = "SELECT role, hash FROM accounts a JOIN passwords p ON p.account_id = a.id WHERE a.id = :id"
    before = server.rows(sql, id=stage.eve.id)
    body = b'{"%s": %s}' % (member.encode(), value)
    answer = stage.tara.patch(f"/users/{stage.eve.id}", content=body, headers=JSON)
    refused(answer, 400, answer.json()["code"])
    assert server.rows(sql, id=stage.eve.id) == before


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b"5", b'"x"', b"true", b"[" * 100_000 + b"]" * 100_000, b"NaN", b"1e400"]
)
@of(BODIES)
def test_a_body_that_is_no_object(stage: Stage, row: Row, body: bytes):
    answer = holder(stage, row).request(row.method, row.path(stage), content=body, headers=JSON)
    refused(answer, 400, answer.json()["code"])


def test_members_given_twice_are_refused(nobody: Person, alice: Person):
    body = b'{"username": "nobody-else", "password": "%s", "username": "%s"}'
    answer = nobody.post("/auth/login", content=body % (PASSWORD.encode(), alice.username.encode()), headers=JSON)
    problem = refused(answer, 400, "invalid-input")
    assert problem["errors"] == [{"field": "username", "message": "must not be repeated"}]


def test_escaped_json_is_read_as_it_is_meant(nobody: Person, alice: Person):
    escaped = "".join(f"\\u{ord(c):04x}" for c in alice.username)
    body = f'\n {{"\\u0075sername" : "{escaped}", "password": "{PASSWORD}"}}\r\n\t'
    assert nobody.post("/auth/login", content=body.encode(), headers=JSON).status_code == 200


# -- CORS --------------------------------------------------------------------------------------

ALLOWED, FOREIGN = "https://learn.school.test", "https://learnxschool.test"
PREFLIGHT = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization, content-type"}


def cors_of(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def test_cors_is_off(nobody: Person):
    for origin in (ALLOWED, "null", "http://127.0.0.1"):
        assert cors_of(nobody.get("/health", headers={"Origin": origin})) == {}
        assert cors_of(nobody.client.options("/health", headers={"Origin": origin} | PREFLIGHT)) == {}


@pytest.fixture(scope="module")
def crossing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server that browser applications of two origins may use."""
    origins = f"{ALLOWED}, http://localhost:5173"
    with (
        running(tmp_path_factory.mktemp("cors"), SENECA_CORS_ORIGINS=origins) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        yield client


@pytest.mark.parametrize("origin", [ALLOWED, "http://localhost:5173"])
@pytest.mark.parametrize(
    ("path", "status"), [("/health", 200), ("/auth/me", 401), ("/nowhere", 404), ("/auth/login", 405)]
)
def test_an_allowed_origin_may_read_every_answer(crossing: httpx.Client, origin: str, path: str, status: int):
    answer = crossing.get(path, headers={"Origin": origin})
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == origin
    assert "origin" in answer.headers["vary"].lower()
    assert "access-control-allow-credentials" not in answer.headers
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert {"link", "etag", "retry-after", "x-request-id"} <= exposed


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("header", ["authorization", "Content-Type", "if-match", "If-None-Match", "x-setup-token"])
def test_an_allowed_origins_preflight(crossing: httpx.Client, method: str, header: str):
    preflight = {"Origin": ALLOWED, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": header}
    answer = crossing.options("/users/x", headers=preflight)
    assert answer.status_code in (200, 204)
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert method in answer.headers["access-control-allow-methods"].split(", ")
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert header.lower() in allowed
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "origin", [FOREIGN, "null", ALLOWED + ".evil", "http://learn.school.test", "https://LEARN.school.test.", ""]
)
def test_a_foreign_origin_may_read_nothing(crossing: httpx.Client, origin: str):
    answer = crossing.get("/health", headers={"Origin": origin})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    preflight = crossing.options("/health", headers={"Origin": origin} | PREFLIGHT)
    assert "access-control-allow-origin" not in preflight.headers


def test_without_an_origin_nothing_is_different(crossing: httpx.Client):
    assert cors_of(crossing.get("/health")) == {}
    assert crossing.options("/health").status_code == 204


# -- documentation -----------------------------------------------------------------------------


def test_the_documentation_needs_no_token_and_nothing_from_outside(nobody: Person):
    document = nobody.get("/openapi.json")
    assert document.headers["content-type"] == "application/json"
    assert document.json()["openapi"].startswith("3.1")
    page = nobody.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    style = nobody.get("/docs.css")
    assert style.headers["content-type"].startswith("text/css")
    for text in (page.text, style.text):
        assert not re.search(r"\b(src|href|action|url|import)\s*[=(\s]\s*[\"']?\s*(https?:)?//", text, re.IGNORECASE)
        assert "<script" not in text
    for link in re.findall(r'href="([^"]+)"', page.text):
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in page.text, link
        else:
            assert nobody.get(link).status_code == 200, link


def test_times_and_ids_are_of_one_form(stage: Stage):
    me = stage.alice.get("/auth/me").json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", me["createdAt"])
    assert parse_uuid(me["id"]) == me["id"]


# -- cursors -----------------------------------------------------------------------------------

PAGED = [row for row in ROWS if row.method == "GET" and row.nobody == 401]


@of(PAGED)
def test_a_cursor_is_of_one_list_of_one_account(client: httpx.Client, stage: Stage, tara: Person, row: Row):
    """Whichever list it is: another account that may read the same path cannot go on with it."""
    parameters = described(client)[f"{row.method} {row.template}"].get("parameters", [])
    if "cursor" not in [parameter["name"] for parameter in parameters]:
        return
    stage.new_session()
    stage.new_course()
    role = "user" if row.alice == 200 else "admin"
    owner = stage.alice if role == "user" else tara
    another = sign_up(client, "another", role=role, by=tara)
    link = owner.get(f"{row.path(stage)}?limit=1").links["next"]["url"]
    assert len(owner.get(link).json()) == 1
    refused(another.get(link), 400, "invalid-input", "cursor")
    if role == "admin":
        assert tara.patch(f"/users/{another.id}", {"role": "user"}).status_code == 200
