"""PUT /session/endSession."""

import re
import time

import pytest

from tests.helpers.accounts import Person
from tests.helpers.assertions import refused
from tests.helpers.server import Server
from tests.helpers.wire import (
    TIME,
    UNKNOWN,
    change_start,
    counts,
    module,
    new_session,
    refuses_bodies,
    refuses_callers,
    refuses_methods,
    refuses_query,
    stored,
)

PATH = "/session/endSession"
TIMES = "SELECT started_at, ended_at FROM sessions WHERE id = :id"
TOTALS = "SELECT sessions, results, points, milliseconds FROM {} WHERE course_id = :id"


def test_ends_a_session(server: Server, alice: Person, course):
    session_id = new_session(alice, course, module("Integers", 7, 8))
    change_start(server, session_id, -90_000)
    before = int(time.time() * 1000)
    answer = alice.put(PATH, {"sessionId": session_id})
    assert answer.status_code == 200
    end = answer.json()["sessionEnd"]
    assert answer.json() == {"message": "Session ended successfully", "sessionId": session_id, "sessionEnd": end}
    assert re.fullmatch(TIME, end)
    [(started_at, ended_at)] = server.rows(TIMES, id=session_id)
    assert before <= ended_at <= time.time() * 1000
    for table in ("learner_totals", "course_totals"):
        assert server.rows(TOTALS.format(table), id=course["id"]) == [(1, 1, 15_000, ended_at - started_at)]
    session = alice.get(f"/session/{session_id}").json()
    assert (session["sessionEnd"], session["isEnd"], session["sessionPoints"]) == (end, True, 15)


def test_an_end_is_never_before_the_start(server: Server, alice: Person, course):
    session_id = alice.start(course)
    change_start(server, session_id, 3_600_000)  # as if the clock had been put back since
    end = alice.end(session_id)
    session = alice.get(f"/session/{session_id}").json()
    assert session["sessionStart"] == session["sessionEnd"] == end
    [(started_at, ended_at)] = server.rows(TIMES, id=session_id)
    assert started_at == ended_at
    assert server.rows(TOTALS.format("learner_totals"), id=course["id"]) == [(1, 0, 0, 0)]


def test_refuses_a_second_end(server: Server, alice: Person, course):
    session_id = new_session(alice, course, module("Integers", 7))
    end = alice.end(session_id)
    before = stored(server, session_id)
    for sent in (session_id, session_id.upper()):
        problem = refused(alice.put(PATH, {"sessionId": sent}), 409, "session-ended")
        assert problem["sessionEnd"] == end
    assert stored(server, session_id) == before


def test_anothers_session_looks_like_an_unknown_one(server: Server, alice: Person, charlie: Person, course):
    opened, ended = alice.start(course), alice.start(course)
    alice.end(ended)
    before = counts(server), stored(server, opened), stored(server, ended)
    answers = [charlie.put(PATH, {"sessionId": session_id}) for session_id in (opened, ended, UNKNOWN, course["id"])]
    for answer in answers:
        refused(answer, 404, "session-not-found")
        assert answer.content == answers[-1].content
    assert (counts(server), stored(server, opened), stored(server, ended)) == before


BAD = [
    ("sessionId", {}, "required"),
    ("sessionId", {"sessionId": "mine"}, "a UUID"),
    ("sessionId", {"sessionId": ""}, "a UUID"),
    ("sessionId", {"sessionId": None}, "a string"),
    ("sessionId", {"sessionId": 1}, "a string"),
    ("sessionId", {"sessionId": [UNKNOWN]}, "a string"),
    ("sessionEnd", {"sessionId": UNKNOWN, "sessionEnd": "2026-11-23"}, "with its zone"),
    ("isEnd", {"sessionId": UNKNOWN, "isEnd": True}, "not a known member"),
]


@pytest.mark.parametrize(("field", "payload", "rule"), BAD, ids=range(len(BAD)))
@pytest.mark.http
def test_refuses_invalid_input(server: Server, alice: Person, field: str, payload, rule: str):
    before = counts(server)
    problem = refused(alice.put(PATH, payload), 400, "invalid-input", field)
    assert rule in problem["errors"][0]["message"]
    assert counts(server) == before


def test_refuses_who_may_not(server: Server, nobody: Person, tara: Person, alice: Person, course):
    session_id = alice.start(course)
    before = stored(server, session_id)
    refuses_callers(nobody, "PUT", PATH, but=alice, wrong_role=tara)
    refused(tara.put(PATH, {"sessionId": session_id}), 403, "forbidden")
    refused(nobody.put(PATH, {"sessionId": session_id}), 401, "token-missing")
    refuses_bodies(alice, "PUT", PATH)
    refuses_methods(nobody, PATH, "PUT")
    refuses_query(alice, "PUT", PATH)
    assert stored(server, session_id) == before
