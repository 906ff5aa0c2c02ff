"""Who may do what: every route, asked by everyone. A route without a row here fails the suite."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from litestar import get

from seneca import app
from seneca.api import health
from seneca.api.docs import docs_endpoints
from seneca.http.app_state import Request
from seneca.http.endpoint import endpoint
from seneca.http.responses import Response, text_response
from seneca.http.routes import UndeclaredRoute, make_routes
from seneca.settings import Settings
from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.assertions import refused
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server
from tests.helpers.wire import counts, module
from tests.test_tokens import forge, unsigned, with_header, with_payload

pytestmark = pytest.mark.http  # about HTTP, whatever the engine

SECRET = "a module that only Alice has studied"


@dataclass
class Stage:
    """Alice's afternoon: what the requests are about."""

    alice: Person
    charlie: Person
    tara: Person
    eve: Person
    course: dict[str, Any]
    session: str

    def new_session(self) -> str:
        return self.alice.start(self.course)

    def new_course(self) -> str:
        return str(make_course(self.tara)["id"])


def set_stage(client: httpx.Client, tara: Person) -> Stage:
    alice, charlie, eve = (sign_up(client, name) for name in ("alice", "charlie", "eve"))
    course = make_course(tara)
    session = alice.start(course)
    alice.update(session, module(SECRET, 78, 74.5))
    return Stage(alice, charlie, tara, eve, course, session)


@pytest.fixture(scope="module")
def stage(client: httpx.Client, tara: Person) -> Stage:
    return set_stage(client, tara)


MakePath = Callable[[Stage], str]
Body = Callable[[Stage], dict[str, Any]]


@dataclass
class Row:
    """A good request of Alice's or Tara's, and the status that each gets for it."""

    method: str
    template: str
    nobody: int
    alice: int
    charlie: int
    tara: int
    body: Body | None = None
    values: dict[str, MakePath] = field(default_factory=dict)
    ends_sign_ins: bool = False
    """It is asked by somebody new each time, or the others could ask nothing more."""

    def path(self, stage: Stage) -> str:
        """The path of this request."""
        usual: dict[str, MakePath] = {
            "userId": lambda s: s.alice.id,
            "courseIdentifier": lambda s: s.course["id"],
            "courseId": lambda s: s.course["id"],
            "sessionId": lambda s: s.session,
            "id": lambda s: s.course["id"],
        }
        return self.template.format(**{name: value(stage) for name, value in (usual | self.values).items()})

    def ask(self, stage: Stage, token: str | None) -> httpx.Response:
        """Ask as the holder of this token."""
        options = {} if self.body is None else {"json": self.body(stage)}
        return Person(stage.alice.client, token).request(self.method, self.path(stage), **options)

    def token(self, stage: Stage, who: str) -> str | None:
        """A token of nobody's, Alice's, Charlie's or Tara's."""
        if who == "nobody":
            return None
        if self.ends_sign_ins:
            role = "admin" if who == "tara" else "user"
            return sign_up(stage.alice.client, who, role=role, by=stage.tara).token
        person: Person = getattr(stage, who)
        return person.token


def new_name(_: Stage) -> dict[str, Any]:
    name = unique("new")
    return {"username": name, "email": f"{name}@example.org", "password": PASSWORD}


def refresh_token(stage: Stage) -> str:
    signed_in = stage.eve.client.post("/auth/login", json={"username": stage.eve.username, "password": PASSWORD})
    return str(signed_in.json()["refreshToken"])


def new_password(_: Stage) -> dict[str, Any]:
    return {"currentPassword": PASSWORD, "newPassword": PASSWORD[::-1]}


def new_account(stage: Stage) -> str:
    return sign_up(stage.alice.client, "leaving").id


def new_course(_: Stage) -> dict[str, Any]:
    topics = [{"topic": "Number", "modules": ["Integers"]}]
    return {"courseTitle": unique("Physics"), "qualification": "GCSE", "topicsAndModules": topics}


def new_batch(stage: Stage) -> dict[str, Any]:
    item = {"sessionId": str(uuid4()), "courseIdentifier": stage.course["id"], "topic": "Number"}
    return {"sessions": [item]}


#        method, template, then the statuses for: nobody, alice, charlie, tara
ROWS = [
    Row("POST", "/auth/register", 201, 201, 201, 201, new_name),
    Row("POST", "/auth/login", 200, 200, 200, 200, lambda s: {"username": s.eve.username, "password": PASSWORD}),
    Row("POST", "/auth/refresh", 200, 200, 200, 200, lambda s: {"refreshToken": refresh_token(s)}),
    Row("POST", "/auth/logout", 401, 204, 204, 204, ends_sign_ins=True),
    Row("PUT", "/auth/password", 401, 204, 204, 204, new_password, ends_sign_ins=True),
    Row("GET", "/auth/me", 401, 200, 200, 200),
    Row("GET", "/auth/me/export", 401, 200, 200, 200),
    Row("DELETE", "/auth/me", 401, 204, 204, 204, lambda _: {"password": PASSWORD}, ends_sign_ins=True),
    Row("GET", "/users", 401, 403, 403, 200),
    Row("GET", "/users/{userId}", 401, 403, 403, 200),
    Row("PATCH", "/users/{userId}", 401, 403, 403, 200, lambda _: {"role": "user"}, {"userId": lambda s: s.eve.id}),
    Row("DELETE", "/users/{userId}", 401, 403, 403, 204, None, {"userId": new_account}),
    Row("GET", "/users/{userId}/export", 401, 403, 403, 200),
    Row("GET", "/audit", 401, 403, 403, 200),
    Row("POST", "/course/create", 401, 403, 403, 201, new_course),
    Row("GET", "/course", 401, 200, 200, 200),
    Row("GET", "/course/{courseIdentifier}", 200, 200, 200, 200),
    Row("PUT", "/course/{courseIdentifier}", 401, 403, 403, 200, lambda _: {"qualification": "A level"}),
    Row("DELETE", "/course/{courseIdentifier}", 401, 403, 403, 204, None, {"courseIdentifier": Stage.new_course}),
    Row("GET", "/settings", 401, 403, 403, 200),
    Row("PATCH", "/settings", 401, 403, 403, 200, lambda _: {"weeklyGoalDays": 3}),
    Row("GET", "/course/{courseIdentifier}/settings", 401, 403, 403, 200),
    Row("PATCH", "/course/{courseIdentifier}/settings", 401, 403, 403, 200, lambda _: {"passMark": None}),
    Row(
        "POST",
        "/session/startSession",
        *(401, 201, 201, 403),
        lambda s: {"courseIdentifier": s.course["id"], "topic": "Number"},
    ),
    Row(
        "PUT",
        "/session/updateSession",
        *(401, 200, 404, 403),
        lambda s: {"sessionId": s.session, "moduleStats": [module(SECRET, 78, 74.5)]},
    ),
    Row("PUT", "/session/endSession", 401, 200, 404, 403, lambda s: {"sessionId": s.new_session()}),
    Row("PUT", "/session/activity", 401, 204, 404, 403, lambda s: {"sessionId": s.session}),
    Row("POST", "/session/batch", 401, 200, 200, 403, new_batch),
    Row("GET", "/session/{sessionId}", 401, 200, 404, 200),
    Row("PATCH", "/session/{sessionId}", 401, 403, 403, 200, lambda _: {"sessionEnd": None}),
    Row("DELETE", "/session/{sessionId}", 401, 403, 403, 204, None, {"sessionId": Stage.new_session}),
    Row("GET", "/stats/sessions/{id}", 401, 403, 403, 200),
    Row("GET", "/stats/courses/{courseId}", 401, 200, 200, 200),
    Row("GET", "/stats/courses/{courseId}/days", 401, 403, 403, 200),
    Row("GET", "/stats/courses/{courseId}/sessions/{sessionId}", 401, 200, 404, 200),
    Row("GET", "/stats/user", 401, 200, 200, 403),
    Row("GET", "/stats/user/days", 401, 200, 200, 403),
    Row("GET", "/stats/user/weeks", 401, 200, 200, 403),
    Row("GET", "/stats/user/courses/{courseId}/days", 401, 200, 200, 403),
    Row("GET", "/stats/user/sessions", 401, 200, 200, 403),
    Row("GET", "/stats/user/courses/{courseId}", 401, 200, 200, 403),
    Row("GET", "/stats/user/courses/{courseId}/sessions/{sessionId}", 401, 200, 404, 403),
    Row("GET", "/stats/users/{userId}", 401, 403, 403, 200),
    Row("GET", "/stats/users/{userId}/courses/{courseId}", 401, 403, 403, 200),
    Row("GET", "/stats/users/{userId}/days", 401, 403, 403, 200),
    Row("GET", "/stats/users/{userId}/courses/{courseId}/days", 401, 403, 403, 200),
    Row("GET", "/stats/users/{userId}/sessions", 401, 403, 403, 200),
    Row("GET", "/health", 200, 200, 200, 200),
    Row("GET", "/test", 401, 200, 200, 200),
    Row("POST", "/test/data", 401, 200, 200, 200, lambda _: {"any": "thing"}),
    Row("GET", "/test/user", 401, 200, 200, 403),
    Row("GET", "/test/admin", 401, 403, 403, 200),
]
IDS = [f"{row.method} {row.template}" for row in ROWS]
each_row = pytest.mark.parametrize("row", ROWS, ids=IDS)


def described(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """The operations of the OpenAPI document, by method and path."""
    paths = client.get("/openapi.json").json()["paths"]
    return {f"{method.upper()} {path}": one for path, methods in paths.items() for method, one in methods.items()}


def test_every_route_has_a_row(client: httpx.Client):
    assert sorted(described(client)) == sorted(IDS)


@each_row
def test_the_document_says_which_routes_need_a_token(client: httpx.Client, row: Row):
    security = described(client)[f"{row.method} {row.template}"].get("security", [{}])
    assert ({} in security) == (row.nobody != 401)


@each_row
@pytest.mark.parametrize("who", ["nobody", "alice", "charlie", "tara"])
def test_each_role(server: Server, stage: Stage, row: Row, who: str):
    token = row.token(stage, who)
    if refuses := getattr(row, who) >= 400:
        path, body = row.path(stage), row.body and row.body(stage)  # what they make is made before we count
        before = counts(server)
        answer = Person(stage.alice.client, token).request(row.method, path, **({"json": body} if body else {}))
    else:
        answer = row.ask(stage, token)
    assert answer.status_code == getattr(row, who), answer.text
    if refuses:
        refused(answer, answer.status_code, answer.json()["code"])
        assert counts(server) == before, "nothing of a refused request is stored"
    if answer.status_code == 403:
        assert answer.json()["code"] == "forbidden"
    if who == "charlie":
        for hers in (stage.session, stage.alice.id, stage.alice.username, SECRET):
            assert hers not in answer.text


@each_row
def test_anothers_session_looks_like_one_that_does_not_exist(stage: Stage, row: Row):
    if row.charlie != 404:
        return
    anothers = row.ask(stage, stage.charlie.token)
    session, stage.session = stage.session, "0199aaaa-0000-7000-8000-000000000000"
    body = row.body
    if "endSession" in row.template:
        body = lambda s: {"sessionId": s.session}  # noqa: E731
    try:
        missing = Row(row.method, row.template, 0, 0, 0, 0, body).ask(stage, stage.charlie.token)
    finally:
        stage.session = session
    assert (missing.status_code, missing.content) == (404, anothers.content)
    assert missing.json()["code"] == "session-not-found"


BAD: dict[str, Callable[[Server, Person], str]] = {
    "expired": lambda s, p: forge(s, p, exp=int(time.time()) - 1),
    "tampered": lambda _, p: with_payload(p, jti="another"),
    "promoted": lambda _, p: with_payload(p, role="admin" if p.email else "user"),
    "of somebody else": lambda _, p: with_payload(p, sub="another", id="another"),
    "none": lambda _, p: unsigned(p),
    "another algorithm": lambda s, p: forge(s, p, algorithm="HS512"),
    "another key": lambda s, p: forge(s, p, key="another-key-that-is-not-this-installations"),
    "unknown key": lambda _, p: with_header(p, kid="0" * 16),
    "another issuer": lambda s, p: forge(s, p, iss="another"),
    "rubbish": lambda *_: "rubbish",
}


@each_row
def test_bad_tokens_of_every_account_are_refused(server: Server, stage: Stage, row: Row):
    owner = stage.tara if row.tara < 300 else stage.alice
    for name, make in BAD.items():
        answer = row.ask(stage, make(server, owner))
        assert answer.status_code == row.nobody, name
        if row.nobody == 401:
            refused(answer, 401, "token-expired" if name == "expired" else "token-invalid")
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@each_row
def test_ended_sign_ins_are_refused(stage: Stage, row: Row):
    former = sign_up(stage.alice.client, "former", role="admin" if row.alice == 403 else "user", by=stage.tara)
    assert stage.tara.patch(f"/users/{former.id}", {"role": "user"}).status_code == 200
    answer = row.ask(stage, former.token)
    assert answer.status_code == row.nobody, answer.text
    if row.nobody == 401:
        assert "ended" in refused(answer, 401, "signed-out")["detail"]


@each_row
def test_head_and_a_trailing_slash_are_guarded_alike(stage: Stage, row: Row):
    if row.method == "GET":
        head = Person(stage.alice.client).request("HEAD", row.path(stage))
        assert head.status_code == row.nobody
    path = row.path(stage) + "/"
    body = {} if row.body is None else {"json": row.body(stage)}
    assert Person(stage.alice.client).request(row.method, path, **body).status_code == row.nobody


# -- routes without a declaration --------------------------------------------------------------


@get("/forgotten")
async def forgotten() -> str:
    return "open to anyone"


async def bare(_: Request) -> Response:
    return text_response("open to anyone")


@pytest.mark.parametrize("handler", [forgotten, bare])
def test_a_handler_without_a_declaration_keeps_the_server_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handler: Any
):
    monkeypatch.setattr(app, "ROUTES", [*app.ROUTES, handler])
    with pytest.raises(UndeclaredRoute, match=r"has no declaration: add @endpoint\(…\)\."):
        app.create_app(Settings(data=tmp_path), time.monotonic())
    assert list(tmp_path.iterdir()) == [], "it is checked before a database is opened"


def test_the_framework_has_no_route_that_is_not_declared(tmp_path: Path):
    outer: Any = app.create_app(Settings(data=tmp_path), time.monotonic())
    services = outer.app.state["services"]
    services.password_hashers.close()
    services.database.close()
    declared: dict[str, set[str]] = {}
    for each in [*app.ROUTES, *docs_endpoints(app.ROUTES)]:
        declared.setdefault(each.path, {"OPTIONS"}).add(each.method)
    assert {route.path_format: set(route.methods) for route in outer.app.routes} == declared


def test_a_declaration_must_name_who_may_call_it():
    with pytest.raises(TypeError, match="requires"):
        endpoint("GET", "/forgotten", tag="Service", responses=[])  # type: ignore[call-arg]


def test_two_declarations_of_one_route_keep_the_server_from_starting():
    with pytest.raises(ValueError, match="GET /health is declared twice"):
        make_routes([health.health, health.health])
