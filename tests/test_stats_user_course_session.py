"""GET /stats/user/courses/{courseId}/sessions/{sessionId}."""

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


def path(course, session_id: str) -> str:
    return f"/stats/user/courses/{course['id']}/sessions/{session_id}"


def test_reads_one_of_the_callers_sessions(server: Server, alice: Person, course):
    session_id = alice.start(course)
    answer = alice.get(path(course, session_id))
    assert (answer.status_code, answer.json()) == (200, {"sessionId": session_id, **NOTHING})
    alice.update(session_id, module("B", 1, 2), module("A", 4))
    change_start(server, session_id, -60_000)
    alice.end(session_id)
    answer = alice.get(path(course, session_id))
    expected = statistics("A", "B", points=7, mean=1.75, minutes=1, duration="0 hours 1 minutes")
    assert (answer.status_code, answer.json()) == (200, {"sessionId": session_id, **expected})
    assert answer.content == alice.get(path(course, session_id).replace("/user", "")).content
    assert server.rows("SELECT results, points FROM sessions WHERE id = :id", id=session_id) == [(2, 7_000)]


def test_anothers_session_looks_like_an_unknown_one(alice: Person, charlie: Person, course):
    hidden = charlie.get(path(course, new_session(alice, course, module("M", 1))))
    unknown = charlie.get(path(course, UNKNOWN))
    refused(unknown, 404, "session-not-found")
    assert (hidden.status_code, hidden.content) == (404, unknown.content)


def test_refuses_what_does_not_exist(tara: Person, alice: Person, course):
    session_id = alice.start(course)
    refused(alice.get(path(make_course(tara), session_id)), 404, "session-not-found")
    refused(alice.get(path({"id": UNKNOWN}, session_id)), 404, "course-not-found")


@pytest.mark.parametrize("bad", ["x", UNKNOWN[:-1], "%00"])
@pytest.mark.http
def test_refuses_what_is_no_uuid(alice: Person, course, bad: str):
    refused(alice.get(path(course, bad)), 400, "invalid-input", "sessionId")
    refused(alice.get(path({"id": bad}, UNKNOWN)), 400, "invalid-input", "courseId")


def test_refuses_who_may_not_and_other_methods(nobody: Person, tara: Person, alice: Person, course):
    session = path(course, alice.start(course))
    refuses_callers(nobody, "GET", session, but=alice, wrong_role=tara)
    refuses_methods(nobody, session, "GET")
    refuses_query(alice, "GET", session)
    answers_head(alice, session)
