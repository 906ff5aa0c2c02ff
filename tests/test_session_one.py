"""GET /session/{sessionId}."""

import re
from uuid import uuid4

import pytest

from tests.helpers.accounts import Person, make_course
from tests.helpers.assertions import refused
from tests.helpers.names import unique
from tests.helpers.wire import (
    TIME,
    UNKNOWN,
    answers_head,
    module,
    new_session,
    part,
    refuses_callers,
    refuses_methods,
    refuses_query,
    result,
)


def test_reads_a_session(alice: Person, tara: Person, course):
    session_id = alice.start(course)
    start = alice.get(f"/session/{session_id}").json()["sessionStart"]
    assert re.fullmatch(TIME, start)
    empty = {
        "id": session_id,
        "userId": alice.id,
        "courseId": course["id"],
        "courseTitle": course["courseTitle"],
        "topic": "Number",
        "sessionStart": start,
        "sessionEnd": None,
        "isEnd": False,
        "sessionPoints": 0,
        "modulesStats": [],
        "lastActivityAt": start,
        "activeMinutes": 0,
        "endedBy": None,
    }
    answer = alice.get(f"/session/{session_id}")
    assert (answer.status_code, answer.json()) == (200, empty)
    assert list(answer.json()) == list(empty)
    alice.update(
        session_id,
        {"moduleName": "Integers", "adaptive": part(1.5, "A", ""), "wrongAnswers": part(9, "B")},
        {"moduleName": "Extra", "quiz": part(-2.25, done=False)},
    )
    full = empty | {
        "sessionPoints": -0.75,
        "modulesStats": [
            result("Integers", adaptive=part(1.5, "A", ""), wrongAnswers=part(9, "B")),
            result("Extra", quiz=part(-2.25, done=False)),
        ],
    }
    updated_at = alice.get(f"/session/{session_id}").json()["lastActivityAt"]
    assert start <= updated_at
    for person in (alice, tara):
        assert person.get(f"/session/{session_id}").json() == full | {"lastActivityAt": updated_at}
    end = alice.end(session_id)
    ended = full | {"sessionEnd": end, "isEnd": True, "lastActivityAt": end, "endedBy": "learner"}
    for sent in (session_id, session_id.upper()):
        assert alice.get(f"/session/{sent}").json() == ended


def test_the_title_is_that_of_the_start(tara: Person, alice: Person, course):
    session_id = alice.start(course)
    tara.put(f"/course/{course['id']}", {"courseTitle": unique("Renamed")})
    assert alice.get(f"/session/{session_id}").json()["courseTitle"] == course["courseTitle"]
    assert tara.get(f"/session/{session_id}").json()["courseTitle"] == course["courseTitle"]


def test_whole_numbers_have_no_fraction(alice: Person, course):
    session_id = new_session(alice, course, module("Integers", 82.0, 0.5), module("Fractions", 0.5, 1e2))
    text = alice.get(f"/session/{session_id}").text
    assert '"sessionPoints":183,' in text
    assert re.findall(r'"score":([-.\deE]+)', text) == ["82", "0.5", "0", "0.5", "100", "0"]


def test_anothers_session_looks_like_an_unknown_one(alice: Person, charlie: Person, course):
    session_id = new_session(alice, course, module("Integers", 1))
    hidden, unknown = charlie.get(f"/session/{session_id}"), charlie.get(f"/session/{UNKNOWN}")
    refused(unknown, 404, "session-not-found")
    assert (hidden.status_code, hidden.content) == (404, unknown.content)
    volatile = {"date", "x-request-id"}
    assert {k: v for k, v in hidden.headers.items() if k not in volatile} == {
        k: v for k, v in unknown.headers.items() if k not in volatile
    }


def test_an_admin_says_whose_of_equal_ids(tara: Person, alice: Person, charlie: Person):
    course, other = make_course(tara), make_course(tara)
    session_id = new_session(alice, course, module("Integers", 1), sessionId=str(uuid4()))
    assert new_session(charlie, other, module("Integers", 2), sessionId=session_id) == session_id
    hers, theirs = (person.get(f"/session/{session_id}").json() for person in (alice, charlie))
    assert (hers["userId"], theirs["userId"]) == (alice.id, charlie.id)
    refused(tara.get(f"/session/{session_id}"), 409, "ambiguous")
    assert tara.get(f"/session/{session_id}?userId={alice.id}").json() == hers
    assert tara.get(f"/session/{session_id}?userId={charlie.id}").json() == theirs


@pytest.mark.parametrize("session_id", ["x", "1", UNKNOWN[:-1], f"{UNKNOWN}0", UNKNOWN.replace("-", ""), "%00", "%FF"])
@pytest.mark.http
def test_refuses_what_is_no_uuid(alice: Person, tara: Person, session_id: str):
    for person in (alice, tara):
        problem = refused(person.get(f"/session/{session_id}"), 400, "invalid-input", "sessionId")
        assert problem["errors"] == [{"field": "sessionId", "message": "must be a UUID"}]


def test_refuses_an_unknown_session(alice: Person, tara: Person, course):
    for person in (alice, tara):
        for session_id in (UNKNOWN, course["id"]):
            refused(person.get(f"/session/{session_id}"), 404, "session-not-found")


def test_fixed_paths_win(nobody: Person):
    for name in ("startSession", "updateSession", "endSession"):
        refused(nobody.get(f"/session/{name}"), 405, "method-not-allowed")


def test_refuses_who_may_not_and_other_methods(nobody: Person, alice: Person, course):
    path = f"/session/{alice.start(course)}"
    refuses_callers(nobody, "GET", path, but=alice)
    refuses_callers(nobody, "GET", f"/session/{UNKNOWN}", but=alice)
    refuses_methods(nobody, path, "GET", "PATCH", "DELETE")
    refuses_query(alice, "GET", path)
    answers_head(alice, path)
