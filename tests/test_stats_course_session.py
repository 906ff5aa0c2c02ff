"""GET /stats/courses/{courseId}/sessions/{sessionId}."""

from uuid import uuid4

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
    return f"/stats/courses/{course['id']}/sessions/{session_id}"


def test_reads_one_sessions_statistics(server: Server, tara: Person, alice: Person, course):
    new_session(alice, course, module("Other", 99))
    session_id = alice.start(course)
    for person in (alice, tara):
        answer = person.get(path(course, session_id))
        assert (answer.status_code, answer.json()) == (200, {"sessionId": session_id, **NOTHING})
    assert list(answer.json()) == ["sessionId", "moduleAmount", "sessionTime", "scores"]
    alice.update(session_id, module("b", 10, 20), module("𝒜", 1), module("ｚ"), module("a", 0.1, 0.2))
    expected = {"sessionId": session_id, **statistics("a", "b", "ｚ", "𝒜", points=31.3, mean=3.9125)}
    for person in (alice, tara):
        assert person.get(path(course, session_id)).json() == expected
    change_start(server, session_id, -(61 * 60_000 + 30_000))
    assert alice.get(path(course, session_id)).json() == expected  # an open session has no time
    alice.end(session_id)
    expected["sessionTime"] = {"totalDuration": "1 hours 1 minutes", "timeInMinutes": 61}
    for person in (alice, tara):
        for sent in (session_id, session_id.upper()):
            assert person.get(path(course, sent)).json() == expected
    [(results, points)] = server.rows("SELECT results, points FROM sessions WHERE id = :id", id=session_id)
    assert (results, points) == (4, 31_300)


def test_anothers_session_looks_like_an_unknown_one(alice: Person, charlie: Person, course):
    hidden = charlie.get(path(course, new_session(alice, course, module("M", 1))))
    unknown = charlie.get(path(course, UNKNOWN))
    refused(unknown, 404, "session-not-found")
    assert (hidden.status_code, hidden.content) == (404, unknown.content)


def test_refuses_a_session_of_another_course(tara: Person, alice: Person, course):
    other = make_course(tara)
    session_id = new_session(alice, course, module("M", 1))
    for person in (alice, tara):
        refused(person.get(path(other, session_id)), 404, "session-not-found")
        refused(person.get(path(course, UNKNOWN)), 404, "session-not-found")
        refused(person.get(path(course, course["id"])), 404, "session-not-found")
        refused(person.get(path({"id": UNKNOWN}, session_id)), 404, "course-not-found")


def test_equal_ids_of_several_learners(tara: Person, alice: Person, charlie: Person, course):
    other = make_course(tara)
    session_id = new_session(alice, course, module("A", 1), sessionId=str(uuid4()))
    new_session(charlie, other, module("C", 2), sessionId=session_id)
    hers = {"sessionId": session_id, **statistics("A", points=1, mean=0.5)}
    theirs = {"sessionId": session_id, **statistics("C", points=2, mean=1)}
    for person, of, expected in ((alice, course, hers), (charlie, other, theirs), (tara, course, hers)):
        assert person.get(path(of, session_id)).json() == expected
    assert tara.get(path(other, session_id)).json() == theirs  # the course tells which is meant
    refused(alice.get(path(other, session_id)), 404, "session-not-found")
    refused(charlie.get(path(course, session_id)), 404, "session-not-found")


@pytest.mark.parametrize("bad", ["x", UNKNOWN[:-1], "%00", "%FF", UNKNOWN.replace("-", "")])
@pytest.mark.http
def test_refuses_what_is_no_uuid(tara: Person, alice: Person, course, bad: str):
    session_id = alice.start(course)
    for person in (alice, tara):
        refused(person.get(path(course, bad)), 400, "invalid-input", "sessionId")
        refused(person.get(path({"id": bad}, session_id)), 400, "invalid-input", "courseId")


def test_refuses_who_may_not_and_other_methods(nobody: Person, alice: Person, course):
    session = path(course, alice.start(course))
    refuses_callers(nobody, "GET", session, but=alice)
    refuses_methods(nobody, session, "GET")
    refuses_query(alice, "GET", session)
    answers_head(alice, session)
