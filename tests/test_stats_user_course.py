"""GET /stats/user/courses/{courseId}."""

import pytest

from tests.helpers.accounts import Person, make_course
from tests.helpers.assertions import refused
from tests.helpers.server import Server
from tests.helpers.wire import (
    NOTHING,
    UNKNOWN,
    answers_head,
    change_start,
    module,
    new_session,
    refuses_callers,
    refuses_methods,
    refuses_query,
    statistics,
)

TOTALS = "SELECT sessions, results, points, names FROM learner_totals WHERE learner_id = :learner AND course_id = :id"


@pytest.fixture
def path(course) -> str:
    return f"/stats/user/courses/{course['id']}"


def test_reads_the_callers_own(server: Server, tara: Person, alice: Person, charlie: Person, course):
    path = f"/stats/user/courses/{course['id']}"
    assert (alice.get(path).status_code, alice.get(path).json()) == (200, NOTHING)
    new_session(charlie, course, module("Charlie's", 100, 100))
    new_session(alice, make_course(tara), module("Elsewhere", 100, 100))
    assert alice.get(path).json() == NOTHING
    session_id = new_session(alice, course, module("B", 80.5, 90), module("A", 70))
    new_session(alice, course, module("B", 1))
    change_start(server, session_id, -150 * 60_000)
    alice.end(session_id)
    answer = alice.get(path)
    assert answer.json() == statistics("A", "B", points=241.5, mean=40.25, minutes=150, duration="2 hours 30 minutes")
    assert answer.content == alice.get(path.replace("/user", "")).content
    assert server.rows(TOTALS, learner=alice.id, id=course["id"]) == [(2, 3, 241_500, 2)]


def test_refuses_an_unknown_course(alice: Person, course):
    refused(alice.get(f"/stats/user/courses/{UNKNOWN}"), 404, "course-not-found")
    for bad in ("x", course["courseTitle"], "%00", UNKNOWN[:-1]):
        refused(alice.get(f"/stats/user/courses/{bad}"), 400, "invalid-input", "courseId")


def test_refuses_who_may_not_and_other_methods(nobody: Person, tara: Person, alice: Person, path: str):
    refuses_callers(nobody, "GET", path, but=alice, wrong_role=tara)
    refuses_methods(nobody, path, "GET")
    refuses_query(alice, "GET", path)
    answers_head(alice, path)
