"""Hostile input on every JSON route: never a 5xx, never anything stored, and the answer says what is wrong."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.assertions import refused
from tests.helpers.names import unique
from tests.helpers.server import Server
from tests.helpers.wire import UNKNOWN, counts, module, new_session, part, stored

pytestmark = pytest.mark.http  # about HTTP, whatever the engine

JSON = {"Content-Type": "application/json"}
MEBIBYTE = 1024 * 1024
Path = tuple[str | int, ...]
ROUTES = ["create", "change", "start", "update", "end", "activity", "correct"]
STUDIED_AT = "2026-11-23T13:42:55.919Z"
OTHER_ROUTES = ["register", "login", "patch", "settings", "course settings"]


@dataclass
class Route:
    """A route, who may use it, and a body that it would take."""

    person: Person
    method: str
    path: str
    valid: dict[str, Any]

    def send(self, body: bytes | Iterator[bytes]) -> httpx.Response:
        return self.person.request(self.method, self.path, content=body, headers=JSON)


@pytest.fixture(scope="module")
def routes(client: httpx.Client, tara: Person) -> dict[str, Route]:
    alice = sign_up(client, "alice")
    course = make_course(tara)
    session_id = new_session(alice, course, module("Integers", 1, 2))
    topics = [{"topic": "Cells", "modules": ["Membranes", "Mitosis"]}]
    new = {"courseTitle": unique("Biology"), "qualification": "A level", "topicsAndModules": topics}
    parts = {name: part(7.5, "A", "B") for name in ("adaptive", "quiz", "wrongAnswers")}
    update = {"sessionId": session_id, "moduleStats": [{"moduleName": "Integers"} | parts, {"moduleName": "New"}]}
    account = {"username": unique("zoe"), "email": "zoe@example.org", "password": "securePassword123"}
    return {
        "create": Route(tara, "POST", "/course/create", new),
        "change": Route(tara, "PUT", f"/course/{course['id']}", new),
        "start": Route(
            alice,
            "POST",
            "/session/startSession",
            {"courseIdentifier": course["id"], "topic": "Algebra", "sessionId": UNKNOWN},
        ),
        "update": Route(alice, "PUT", "/session/updateSession", update),
        "end": Route(alice, "PUT", "/session/endSession", {"sessionId": session_id, "sessionEnd": STUDIED_AT}),
        "activity": Route(alice, "PUT", "/session/activity", {"sessionId": session_id, "recordedAt": STUDIED_AT}),
        "correct": Route(tara, "PATCH", f"/session/{session_id}", {"sessionStart": STUDIED_AT, "sessionEnd": None}),
        "register": Route(Person(client), "POST", "/auth/register", account),
        "login": Route(Person(client), "POST", "/auth/login", {"username": "zoe", "password": "x"}),
        "patch": Route(tara, "PATCH", f"/users/{alice.id}", {"role": "user"}),
        "settings": Route(tara, "PATCH", "/settings", {"weeklyGoalDays": 3}),
        "course settings": Route(tara, "PATCH", f"/course/{course['id']}/settings", {"passMark": 50}),
    }


@pytest.fixture
def route(request: pytest.FixtureRequest, routes: dict[str, Route], server: Server) -> Iterator[Route]:
    """The route of this name; afterwards not a row of anything is more or less than before."""
    route = routes[request.param]
    sessions = server.rows("SELECT id FROM sessions WHERE learner_id = :id", id=routes["update"].person.id)

    def everything() -> object:
        courses = server.rows("SELECT * FROM courses WHERE id = :id", id=routes["change"].path.rpartition("/")[2])
        return counts(server), courses, [stored(server, id_) for (id_,) in sessions]

    before = everything()
    yield route
    assert everything() == before


def positions(value: object, path: Path = ()) -> Iterator[Path]:
    """Every place in a JSON value, the whole of it first."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from positions(entry, (*path, key))


def at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def with_text(value: object, path: Path, text: bytes) -> bytes:
    """A body with this text, JSON or not, in one place."""
    if not path:
        return text
    copy = json.loads(json.dumps(value))
    at(copy, path[:-1])[path[-1]] = "\ue000 here"
    return json.dumps(copy, ensure_ascii=False).encode().replace('"\ue000 here"'.encode(), text)


def named(path: Path) -> str:
    """A path as an error names it."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def says_what_is_wrong(answer: httpx.Response, path: Path) -> None:
    """Assert an error that names the field, or a part of it, and the rule; or else what is not JSON about it."""
    assert answer.status_code == 400, answer.text
    if answer.json()["code"] == "malformed-json":
        assert len(refused(answer, 400, "malformed-json")["detail"]) > len("The body is not valid JSON: .")
    else:
        errors = refused(answer, 400, "invalid-input")["errors"]
        assert 1 <= len(errors) <= 20
        for error in errors:
            assert error["field"].startswith(named(path)), (error, path)
            assert error["message"]


# -- texts that are wrong wherever they stand --------------------------------------------------

NOT_JSON = [
    b"NaN",
    b"-NaN",
    b"Infinity",
    b"-Infinity",
    b"nan",
    b"True",
    b"undefined",
    b"01",
    b"+1",
    b".5",
    b"1.",
    b"1e",
    b"0x10",
    b"1_000",
    b"'x'",
    b'"x',
    b'"\\x41"',
    b'"\\u12"',
    b'"a\tb"',
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'"\\ud800"',
    b'"a\\udc00b"',
    b'"\\ud800\\ud800"',
    b'"\\udc00\\ud800"',
    b"[" * 100_000,
    b'{"a":' * 30_000,
    b"[1,]",
    b"{1: 2}",
    b"/* x */ 1",
]
CANNOT_BE_STORED = [
    b"1e400",
    b"-1e400",
    b"1e-400",
    b"1e99999999999999999999",
    b"1e-99999999999999999999",
    b"7" * 5000,
    b"-" + b"7" * 5000,
    b"7" * 5000 + b".5",
    b"0." + b"7" * 5000,
    b'"\\u0000"',
    b'"a\\u0000b"',
    b"[" * 1000 + b"]" * 1000,
    b'{"a":' * 1000 + b"1" + b"}" * 1000,
    b"[" * 100_000 + b"]" * 100_000,
    b"[" + b"{}," * 80_000 + b"{}]",
    b'"' + b"x" * 200_000 + b'"',
]


ROUNDED = {b"1e-400", b"0." + b"7" * 5000}  # as scores


@pytest.mark.parametrize("route", ROUTES, indirect=True)
@pytest.mark.parametrize("text", NOT_JSON, ids=lambda text: repr(text[:20]))
def test_refuses_what_is_not_json(route: Route, text: bytes):
    for path in positions(route.valid):
        says_what_is_wrong(route.send(with_text(route.valid, path, text)), ())


@pytest.mark.parametrize("route", ROUTES, indirect=True)
@pytest.mark.parametrize("text", CANNOT_BE_STORED, ids=lambda text: repr(text[:20]))
def test_refuses_what_cannot_be_stored(route: Route, text: bytes):
    for path in positions(route.valid):
        if not (path[-1:] == ("score",) and text in ROUNDED):
            says_what_is_wrong(route.send(with_text(route.valid, path, text)), path)


# -- kinds -------------------------------------------------------------------------------------

KINDS = [b"null", b"true", b"false", b"7", b"1.5", b'"x"', b"[]", b"{}", b"[null]", b"[{}]", b'{"x": {}}']
TEXT = {b'"x"'}
PART = {b"null", b"[]", b"{}"}
FITTING = {
    "courseTitle": TEXT,
    "qualification": TEXT,
    "topicsAndModules": {b"[]"},
    "topic": TEXT,
    "modules": {b"[]"},
    "courseIdentifier": TEXT,
    "moduleName": TEXT,
    "adaptive": PART,
    "quiz": PART,
    "wrongAnswers": PART,
    "answers": {b"[]"},
    "isCompleted": {b"true", b"false"},
    "score": {b"7", b"1.5"},
    "sessionEnd": {b"null"},
    "recordedAt": {b"null"},
}


@pytest.mark.parametrize("route", ROUTES, indirect=True)
@pytest.mark.parametrize("text", KINDS, ids=bytes.decode)
def test_refuses_values_of_the_wrong_kind(route: Route, text: bytes):
    for path in positions(route.valid):
        is_name_in_list = len(path) > 1 and path[-2] in ("modules", "answers")
        empty = {b"{}"} if route.method == "PATCH" else set()  # a correction of nothing
        fitting = TEXT if is_name_in_list else FITTING.get(str(path[-1]), set()) if path else empty
        if text not in fitting:
            says_what_is_wrong(route.send(with_text(route.valid, path, text)), path)


@pytest.mark.parametrize("route", ["start", "update", "end", "activity"], indirect=True)
@pytest.mark.parametrize(
    "text",
    ["", "x", UNKNOWN[:-1], f"{UNKNOWN}0", UNKNOWN[:-1] + "g", f"{{{UNKNOWN}}}", f"urn:uuid:{UNKNOWN}", "0" * 36],
)
def test_refuses_ids_that_are_not_uuids(route: Route, text: str):
    problem = refused(route.send(json.dumps(route.valid | {"sessionId": text}).encode()), 400, "invalid-input")
    assert problem["errors"] == [{"field": "sessionId", "message": "must be a UUID"}]


@pytest.mark.parametrize("route", ROUTES, indirect=True)
@pytest.mark.parametrize("name", ["unknown", "", "SCORE", "__proto__", "a.b[0]", "x` - at `$.y", "💥", "n" * 1000])
def test_refuses_unknown_members_at_each_level(route: Route, name: str):
    for path in positions(route.valid):
        if isinstance(at(route.valid, path), dict):
            body = json.loads(json.dumps(route.valid))
            at(body, path)[name] = 1
            answer = route.send(json.dumps(body).encode())
            [error] = refused(answer, 400, "invalid-input")["errors"]
            if "`" not in name:
                assert error["message"] == "is not a known member"
                field = f"{named(path)}.{name}".removeprefix(".")
                assert error["field"] == (field if len(field) <= 200 else field[:199] + "…")


OPTIONAL = {
    "change": {"courseTitle", "qualification", "topicsAndModules"},
    "start": {"sessionId"},
    "end": {"sessionEnd"},
    "activity": {"recordedAt"},
    "correct": {"sessionStart", "sessionEnd"},
}


@pytest.mark.parametrize("route", ROUTES, indirect=True)
def test_refuses_missing_members(routes: dict[str, Route], route: Route):
    [name] = [name for name, other in routes.items() if other is route]
    parts = {"adaptive", "quiz", "wrongAnswers", "answers", "isCompleted", "score"}
    for path in positions(route.valid):
        if path and isinstance(path[-1], str) and path[-1] not in OPTIONAL.get(name, set()) | parts:
            body = json.loads(json.dumps(route.valid))
            del at(body, path[:-1])[path[-1]]
            problem = refused(route.send(json.dumps(body).encode()), 400, "invalid-input")
            assert problem["errors"] == [{"field": named(path), "message": "is required"}]


# -- sizes -------------------------------------------------------------------------------------


def in_pieces(body: bytes) -> Iterator[bytes]:
    """A body whose length is not announced."""
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


MILLION = b'{"moduleStats": [' + b'{"moduleName": "M"},' * 1_000_000 + b"{}]}"
LARGE = [MILLION[: 15 * MEBIBYTE], b'{"a": "' + b"x" * 10_000_000 + b'"}', b"[" * 2_000_000, b" " * 10_000_000]


@pytest.mark.parametrize("route", ROUTES + OTHER_ROUTES, indirect=True)
@pytest.mark.parametrize("body", LARGE, ids=["a-million-modules", "a-long-text", "nested", "blank"])
def test_refuses_large_bodies(route: Route, body: bytes):
    refused(route.send(body), 413, "payload-too-large")
    refused(route.send(in_pieces(body)), 413, "payload-too-large")


@pytest.mark.parametrize("route", ROUTES + OTHER_ROUTES, indirect=True)
def test_refuses_bodies_that_are_no_request(route: Route):
    for body in (b"", b"{", b"null", b"[]", b"7", b'"x"', b"\x00", b"\xff\xfe{\x00}\x00", b"[" * 200_000, b"{}{}"):
        says_what_is_wrong(route.send(body), ())


@pytest.mark.parametrize("route", ["create", "change"], indirect=True)
def test_refuses_courses_of_too_many_parts(route: Route):
    for topics, field in (
        ([{"topic": f"T{i}", "modules": []} for i in range(10_000)], "topicsAndModules"),
        ([{"topic": "T", "modules": [f"M{i}" for i in range(50_000)]}], "topicsAndModules[0].modules"),
    ):
        answer = route.send(json.dumps(route.valid | {"topicsAndModules": topics}).encode())
        refused(answer, 400, "invalid-input", field)


@pytest.mark.parametrize("route", ["update"], indirect=True)
def test_refuses_updates_of_too_many_parts(route: Route):
    session_id = route.valid["sessionId"]
    for modules, field in (
        ([], "moduleStats"),
        ([{"moduleName": f"M{i}"} for i in range(201)], "moduleStats"),
        ([{"moduleName": f"M{i}"} for i in range(1001)], "moduleStats"),
        ([{"moduleName": "x" * 201}], "moduleStats[0].moduleName"),
        ([{"moduleName": "M"}, {"moduleName": "N"}, {"moduleName": "M"}], "moduleStats[2].moduleName"),
        ([{"moduleName": "M", "quiz": {"answers": ["A"] * 501}}], "moduleStats[0].quiz.answers"),
        ([{"moduleName": "M", "quiz": {"answers": ["A", "x" * 10_001]}}], "moduleStats[0].quiz.answers[1]"),
        ([{"moduleName": "M", "adaptive": ["A"]}], "moduleStats[0].adaptive"),
    ):
        answer = route.send(json.dumps({"sessionId": session_id, "moduleStats": modules}).encode())
        problem = refused(answer, 400, "invalid-input", field)
        assert problem["errors"][0]["message"].startswith(("must have", "must differ"))


# -- what is well formed, and refused for what is stored ---------------------------------------


def test_refuses_an_ended_session_and_anothers(server: Server, alice: Person, charlie: Person, course):
    ended, opened = new_session(alice, course, module("M", 1)), new_session(alice, course, module("M", 1))
    alice.end(ended)
    before = counts(server), stored(server, ended), stored(server, opened)
    for person, session_id, status, code in (
        (alice, ended, 409, "session-ended"),
        (charlie, ended, 404, "session-not-found"),
        (charlie, opened, 404, "session-not-found"),
    ):
        update = {"sessionId": session_id, "moduleStats": [module("M", 2), module("N", 3)]}
        refused(person.put("/session/updateSession", update), status, code)
        refused(person.put("/session/endSession", {"sessionId": session_id}), status, code)
    assert (counts(server), stored(server, ended), stored(server, opened)) == before


@pytest.mark.parametrize(
    "text", ["%00", "%FF", "%ED%A0%80", "%F0%9F%92%A9", "x" * 4000, "..%2F..%2Fetc", "'%20OR%201=1--", "%25"]
)
def test_hostile_paths_and_queries_are_no_bugs(server: Server, tara: Person, alice: Person, text: str):
    before = counts(server)
    for path in (
        f"/course/{text}",
        f"/session/{text}",
        f"/{text}",
        f"/users/{text}",
        f"/stats/sessions/{text}",
        f"/stats/courses/{text}",
        f"/stats/courses/{text}/sessions/{text}",
        f"/stats/users/{text}",
        f"/stats/users/{text}/courses/{text}",
        f"/stats/users/{text}/sessions",
        f"/course?cursor={text}",
        f"/course?{text}={text}",
        f"/course?limit={text}",
        f"/stats/sessions/{UNKNOWN}?cursor={text}",
    ):
        answer = tara.get(path)
        assert answer.status_code in (400, 404), path
        assert answer.headers["content-type"] == "application/problem+json"
    assert alice.get(f"/course?q={text}").status_code in (200, 400)
    assert counts(server) == before


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"-Infinity", rb'"\ud800"', rb'"a\udc00b"'])
def test_what_only_lenient_parsers_read_is_refused_by_field(alice: Person, course: dict[str, Any], text: bytes):
    body = {"sessionId": alice.start(course), "moduleStats": [{"moduleName": "Integers", "quiz": {"score": 0}}]}
    raw = with_text(body, ("moduleStats", 0, "quiz", "score"), text)
    answer = alice.put("/session/updateSession", content=raw, headers={"Content-Type": "application/json"})
    refused(answer, 400, "invalid-input", "moduleStats[0].quiz.score")
