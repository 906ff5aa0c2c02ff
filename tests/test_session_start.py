"""POST /session/startSession."""

import re
import time
from uuid import uuid4

import pytest

from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.assertions import refused
from tests.helpers.names import unique
from tests.helpers.server import Server, running
from tests.helpers.wire import (
    UNKNOWN,
    UUID7,
    clients_of_workers,
    counts,
    module,
    new_session,
    refuses_bodies,
    refuses_callers,
    refuses_methods,
    refuses_query,
    stored,
)

PATH = "/session/startSession"
ROW = """
SELECT learner_id, course_id, course_title, topic, ended_at, results, points, bytes FROM sessions WHERE id = :id
"""


def body(course, **members) -> dict:
    return {"courseIdentifier": course["id"], "topic": "Algebra"} | members


def started(session_id: str) -> dict:
    return {"message": "Session started created successfully", "sessionId": session_id}


@pytest.mark.parametrize("key", ["id", "courseTitle"])
def test_starts_a_session(server: Server, alice: Person, course, key: str):
    before = int(time.time() * 1000)
    answer = alice.post(PATH, body(course, courseIdentifier=course[key]))
    assert answer.status_code == 201
    session_id = answer.json()["sessionId"]
    assert answer.json() == started(session_id)
    assert re.fullmatch(UUID7, session_id)
    row = (alice.id, course["id"], course["courseTitle"], "Algebra", None, 0, 0, 0)
    assert server.rows(ROW, id=session_id) == [row]
    [(started_at,)] = server.rows("SELECT started_at FROM sessions WHERE id = :id", id=session_id)
    assert before <= started_at <= time.time() * 1000
    totals = "SELECT sessions, results, points, milliseconds FROM {} WHERE course_id = :id"
    for table in ("learner_totals", "course_totals"):
        assert server.rows(totals.format(table), id=course["id"]) == [(1, 0, 0, 0)]


def test_each_start_is_a_session_of_its_own(server: Server, alice: Person, course):
    ids = {alice.start(course) for _ in range(3)}
    assert len(ids) == 3
    assert server.rows("SELECT count(*) FROM sessions WHERE learner_id = :id", id=alice.id) == [(3,)]


def test_a_start_with_an_id_can_be_sent_again(server: Server, alice: Person, course):
    payload = body(course, sessionId=(session_id := str(uuid4())))
    first = alice.post(PATH, payload)
    assert (first.status_code, first.json()) == (201, started(session_id))
    alice.update(session_id, module("Equations", 1, 2))
    before = stored(server, session_id)
    for identifier in (course["id"], course["courseTitle"], course["id"].upper()):
        again = alice.post(PATH, payload | {"courseIdentifier": identifier, "sessionId": session_id.upper()})
        assert (again.status_code, again.content) == (200, first.content)
    alice.end(session_id)
    ended = stored(server, session_id)
    assert ended != before
    assert (alice.post(PATH, payload).status_code, alice.post(PATH, payload).content) == (200, first.content)
    assert stored(server, session_id) == ended


def test_it_can_be_sent_again_after_the_course_was_changed(server: Server, tara: Person, alice: Person, course):
    by_id = body(course, sessionId=(session_id := str(uuid4())))
    by_title = by_id | {"courseIdentifier": course["courseTitle"]}
    assert alice.post(PATH, by_title).status_code == 201
    before = stored(server, session_id)
    renamed = tara.put(f"/course/{course['id']}", {"courseTitle": unique("Renamed"), "topicsAndModules": []}).json()
    for payload in (by_id, by_title, by_id | {"courseIdentifier": renamed["courseTitle"]}):
        again = alice.post(PATH, payload)
        assert (again.status_code, again.json()) == (200, started(session_id))
    assert stored(server, session_id) == before
    assert alice.get(f"/session/{session_id}").json()["courseTitle"] == course["courseTitle"]


@pytest.mark.parametrize("ended", [False, True])
def test_refuses_the_id_of_another_start(server: Server, tara: Person, alice: Person, course, *, ended: bool):
    other = make_course(tara)
    session_id = new_session(alice, course, module("Integers", 1), sessionId=str(uuid4()))
    if ended:
        alice.end(session_id)
    before, rows = stored(server, session_id), counts(server)
    for payload in (
        body(course, sessionId=session_id),  # the session is on the topic Number
        body(other, sessionId=session_id),
        body(other, sessionId=session_id, topic="Number"),
        body(other, sessionId=session_id, topic="Number", courseIdentifier=other["courseTitle"]),
    ):
        refused(alice.post(PATH, payload), 409, "session-id-taken")
    unknown = body(course, sessionId=session_id, topic="Number", courseIdentifier=UNKNOWN)
    refused(alice.post(PATH, unknown), 404, "course-not-found")
    assert stored(server, session_id) == before
    assert counts(server) == rows


def test_refuses_the_id_of_a_course(server: Server, tara: Person, alice: Person, course):
    other = make_course(tara)
    before = counts(server)
    for session_id in (course["id"], other["id"], other["id"].upper()):
        refused(alice.post(PATH, body(course, sessionId=session_id)), 409, "session-id-taken")
    assert counts(server) == before


def test_a_title_names_the_course_that_has_it_now(server: Server, tara: Person, alice: Person, course):
    """Sent again after its title went to another course, a start is one of that other course."""
    by_title = body(course, courseIdentifier=course["courseTitle"], sessionId=(session_id := str(uuid4())))
    assert alice.post(PATH, by_title).status_code == 201
    tara.put(f"/course/{course['id']}", {"courseTitle": unique("Renamed")})
    assert alice.post(PATH, by_title).status_code == 200  # it is no course's title: the learner means the start of then
    other = make_course(tara, courseTitle=course["courseTitle"])
    before = stored(server, session_id)
    for identifier in (other["courseTitle"], other["id"]):
        refused(alice.post(PATH, by_title | {"courseIdentifier": identifier}), 409, "session-id-taken")
    assert alice.post(PATH, by_title | {"courseIdentifier": course["id"]}).status_code == 200
    refused(alice.post(PATH, by_title | {"courseIdentifier": unique("Unknown")}), 404, "course-not-found")
    assert stored(server, session_id) == before
    assert server.rows("SELECT count(*) FROM sessions WHERE course_id = :id", id=other["id"]) == [(0,)]


def test_another_learners_equal_id_is_independent_and_invisible(
    server: Server, tara: Person, alice: Person, charlie: Person
):
    course, other = make_course(tara), make_course(tara)
    session_id = str(uuid4())
    alices = alice.post(PATH, body(course, sessionId=session_id))
    alice.update(session_id, module("Equations", 3, 4))
    alice.end(session_id)
    answer = charlie.post(PATH, body(other, sessionId=session_id, topic="Number"))
    assert (answer.status_code, answer.content) == (201, alices.content)
    assert charlie.get(f"/session/{session_id}").json()["modulesStats"] == []
    charlie.update(session_id, module("Integers", 10))
    assert charlie.end(session_id)
    hers, theirs = (person.get(f"/session/{session_id}").json() for person in (alice, charlie))
    assert (hers["userId"], hers["courseId"], hers["topic"], hers["sessionPoints"]) == (
        alice.id,
        course["id"],
        "Algebra",
        7,
    )
    assert (theirs["userId"], theirs["courseId"], theirs["topic"], theirs["sessionPoints"]) == (
        charlie.id,
        other["id"],
        "Number",
        10,
    )
    assert server.rows("SELECT count(*) FROM sessions WHERE id = :id", id=session_id) == [(2,)]
    assert alice.post(PATH, body(course, sessionId=session_id)).status_code == 200
    refused(charlie.post(PATH, body(course, sessionId=session_id)), 409, "session-id-taken")


def test_topics_are_those_of_now_on_every_worker(tmp_path):
    """Each worker remembers a course's topics, under a hash of them."""
    with running(tmp_path, SENECA_WORKERS="2") as server:
        clients = clients_of_workers(server, 2)
        tara = sign_up(clients[0], "tara", role="admin")
        alice = sign_up(clients[0], "alice")
        course = make_course(tara)
        for topic in ("Number", "Geometry", "Number"):
            topics = [{"topic": topic, "modules": []}]
            assert tara.put(f"/course/{course['id']}", {"topicsAndModules": topics}).status_code == 200
            for client in clients:
                alice.client = client
                for name in ("Number", "Geometry"):
                    answer = alice.post(PATH, body(course, topic=name))
                    assert answer.status_code == (201 if name == topic else 404), (topic, name, answer.text)
        for client in clients:
            client.close()


def test_topics_are_those_that_the_course_has_now(tara: Person, alice: Person, course):
    tara.put(f"/course/{course['id']}", {"topicsAndModules": [{"topic": "New", "modules": []}]})
    refused(alice.post(PATH, body(course)), 404, "topic-not-found")
    assert alice.post(PATH, body(course, topic="New")).status_code == 201


@pytest.mark.parametrize("identifier", [UNKNOWN, "nowhere", "x" * 200, "数", "a/b", "create"])
def test_refuses_an_unknown_course(server: Server, alice: Person, course, identifier: str):
    before = counts(server)
    payload = body(course, courseIdentifier=identifier)
    refused(alice.post(PATH, payload), 404, "course-not-found")
    refused(alice.post(PATH, payload | {"sessionId": str(uuid4())}), 404, "course-not-found")
    assert counts(server) == before


@pytest.mark.parametrize("topic", ["Geometry", "algebra", "Alge bra", "Equations", "[]"])
def test_refuses_an_unknown_topic(server: Server, alice: Person, course, topic: str):
    before = counts(server)
    refused(alice.post(PATH, body(course, topic=topic)), 404, "topic-not-found")
    refused(alice.post(PATH, body(course, topic=topic, sessionId=course["id"])), 404, "topic-not-found")
    assert counts(server) == before


BAD = [
    ("courseIdentifier", {"courseIdentifier": ""}, "at least 1 character"),
    ("courseIdentifier", {"courseIdentifier": "x" * 201}, "at most 200 characters"),
    ("courseIdentifier", {"courseIdentifier": 5}, "a string"),
    ("courseIdentifier", {"courseIdentifier": None}, "a string"),
    ("courseIdentifier", {"courseIdentifier": "a\0"}, "NUL"),
    ("topic", {"topic": ""}, "at least 1 character"),
    ("topic", {"topic": "x" * 201}, "at most 200 characters"),
    ("topic", {"topic": "a\0"}, "NUL"),
    ("topic", {"topic": ["Algebra"]}, "a string"),
    ("sessionId", {"sessionId": ""}, "a UUID"),
    ("sessionId", {"sessionId": "mine"}, "a UUID"),
    ("sessionId", {"sessionId": UNKNOWN[:-1]}, "a UUID"),
    ("sessionId", {"sessionId": f"{UNKNOWN[:-1]}g"}, "a UUID"),
    ("sessionId", {"sessionId": f"{{{UNKNOWN}}}"}, "a UUID"),
    ("sessionId", {"sessionId": f" {UNKNOWN}"}, "a UUID"),
    ("sessionId", {"sessionId": 7}, "a string"),
    ("sessionID", {"sessionID": UNKNOWN}, "not a known member"),
    ("userId", {"userId": UNKNOWN}, "not a known member"),
]


@pytest.mark.parametrize(("field", "members", "rule"), BAD, ids=range(len(BAD)))
@pytest.mark.http
def test_refuses_invalid_input(server: Server, alice: Person, field: str, members, rule: str):
    before = counts(server)
    payload = {"courseIdentifier": UNKNOWN, "topic": "Algebra"} | members
    problem = refused(alice.post(PATH, payload), 400, "invalid-input", field)
    assert rule in problem["errors"][0]["message"]
    assert counts(server) == before


@pytest.mark.parametrize("name", ["courseIdentifier", "topic"])
def test_refuses_a_missing_member(alice: Person, course, name: str):
    payload = body(course)
    del payload[name]
    problem = refused(alice.post(PATH, payload), 400, "invalid-input", name)
    assert problem["errors"] == [{"field": name, "message": "is required"}]


def test_refuses_who_may_not(server: Server, nobody: Person, tara: Person, alice: Person, course):
    before = counts(server)
    refuses_callers(nobody, "POST", PATH, but=alice, wrong_role=tara)
    refused(tara.post(PATH, body(course)), 403, "forbidden")
    refused(nobody.post(PATH, body(course)), 401, "token-missing")
    refuses_bodies(alice, "POST", PATH)
    refuses_methods(nobody, PATH, "POST")
    refuses_query(alice, "POST", PATH)
    assert counts(server) == before
