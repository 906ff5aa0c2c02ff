"""GET /stats/sessions/{id}."""

from uuid import uuid4

import pytest

from tests.helpers.accounts import Person, make_course
from tests.helpers.assertions import refused
from tests.helpers.server import Server
from tests.helpers.wire import (
    UNKNOWN,
    answers_head,
    change_start,
    module,
    new_session,
    pages,
    refuses_callers,
    refuses_methods,
    refuses_pages,
    refuses_query,
)


def path(id_: str) -> str:
    return f"/stats/sessions/{id_}"


def test_lists_all_learners_sessions_of_a_course(server: Server, tara: Person, alice: Person, charlie: Person, course):
    assert (tara.get(path(course["id"])).status_code, tara.get(path(course["id"])).json()) == (200, [])
    new_session(alice, make_course(tara), module("Elsewhere", 1))
    sessions = [
        (alice, new_session(alice, course, module("A", 1, 2), module("B", 0.5))),
        (charlie, new_session(charlie, course, topic="Algebra")),
        (alice, new_session(alice, course, module("C", 3))),
    ]
    change_start(server, sessions[2][1], -10_000)
    charlie.end(sessions[1][1])
    expected = [person.get(f"/session/{id_}").json() for person, id_ in (sessions[2], sessions[0], sessions[1])]
    for id_ in (course["id"], course["id"].upper()):
        answer = tara.get(path(id_))
        assert (answer.status_code, answer.json()) == (200, expected)
    assert [len(session["modulesStats"]) for session in expected] == [1, 2, 0]


def test_else_the_one_with_that_session_id(tara: Person, alice: Person, course):
    session_id = new_session(alice, course, module("A", 1, 2))
    new_session(alice, course, module("B", 1, 2))
    for id_ in (session_id, session_id.upper()):
        answer = tara.get(path(id_))
        assert (answer.status_code, answer.json()) == (200, [alice.get(f"/session/{session_id}").json()])


def test_lists_every_learners_session_with_that_id(tara: Person, alice: Person, charlie: Person, course):
    session_id = new_session(alice, course, module("A", 1), sessionId=str(uuid4()))
    new_session(charlie, make_course(tara), module("C", 1), sessionId=session_id)
    expected = [person.get(f"/session/{session_id}").json() for person in (alice, charlie)]
    expected.sort(key=lambda session: (session["sessionStart"], session["userId"]))
    assert tara.get(path(session_id)).json() == expected
    found = pages(tara, f"{path(session_id)}?limit=1")
    assert found == [[session] for session in expected]


@pytest.mark.parametrize("limit", [1, 4, 5, 9, 10])
def test_pages_to_the_end_by_start_then_id(server: Server, tara: Person, alice: Person, charlie: Person, limit: int):
    course = make_course(tara)
    shared = str(uuid4())
    ids = [str(uuid4()) for _ in range(3)]
    for person in (alice, charlie):
        new_session(person, course, sessionId=shared)
        for id_ in ids:
            new_session(person, course, sessionId=id_)
        new_session(person, course)
    expected = server.rows(
        "SELECT id, learner_id FROM sessions WHERE course_id = :id ORDER BY started_at, id, learner_id", id=course["id"]
    )
    found = pages(tara, f"{path(course['id'])}?limit={limit}")
    assert [(session["id"], session["userId"]) for page in found for session in page] == expected
    assert len(expected) == 10
    assert [len(page) for page in found] == [limit] * (10 // limit) + [10 % limit] * (10 % limit > 0)


def test_refuses_what_is_neither(tara: Person, alice: Person):
    refused(tara.get(path(UNKNOWN)), 404, "course-not-found")
    refused(tara.get(path(alice.id)), 404, "course-not-found")
    for bad in ("x", UNKNOWN[:-1], "%00", "%FF"):
        refused(tara.get(path(bad)), 400, "invalid-input", "id")


def test_refuses_pages_that_cannot_be(tara: Person, alice: Person, course):
    refuses_pages(tara, path(course["id"]))
    refuses_query(tara, "GET", path(course["id"]), "limit", "cursor")
    for _ in range(2):
        alice.start(course)
    cursor = tara.get(f"{path(course['id'])}?limit=1").links["next"]["url"].split("cursor=")[1]
    other = make_course(tara)
    refused(tara.get(f"{path(other['id'])}?limit=1&cursor={cursor}"), 400, "invalid-input", "cursor")


def test_refuses_who_may_not_and_other_methods(nobody: Person, tara: Person, alice: Person, course):
    session_id = alice.start(course)
    refuses_callers(nobody, "GET", path(course["id"]), but=tara, wrong_role=alice)
    for id_ in (session_id, UNKNOWN):  # also where it is their own
        refused(alice.get(path(id_)), 403, "forbidden")
    refuses_methods(nobody, path(course["id"]), "GET")
    answers_head(tara, path(course["id"]))
