"""PUT /session/activity, and active time."""

from datetime import timedelta
from typing import Any

import httpx

from tests.helpers.accounts import Person
from tests.helpers.assertions import refused
from tests.helpers.server import Server
from tests.helpers.wire import (
    UNKNOWN,
    counts,
    module,
    refuses_bodies,
    refuses_callers,
    refuses_methods,
    refuses_query,
)
from tests.test_session_times import ago, iso, session

PATH = "/session/activity"
TOTALS = "SELECT sum(active_milliseconds) FROM {table} WHERE course_id = :id"


def note(person: Person, session_id: str, **members: Any) -> httpx.Response:
    return person.put(PATH, {"sessionId": session_id} | members)


def test_events_a_minute_apart_are_what_they_span(server: Server, alice: Person, course):
    start = ago(hours=3)
    session_id = alice.start(course, sessionStart=iso(start))
    for minute in (7, 3, 10, 1, 1, 9, 5, 2, 8, 6, 4):  # any order, one of them twice
        answer = note(alice, session_id, recordedAt=iso(start + timedelta(minutes=minute)))
        assert (answer.status_code, answer.content) == (204, b"")
    whole = session(alice, session_id)
    assert (whole["activeMinutes"], whole["isEnd"], whole["endedBy"]) == (10, False, None)
    for table in ("sessions", "learner_totals", "course_totals"):
        assert server.rows(TOTALS.format(table=table), id=course["id"]) == [(600_000,)]
    alice.put("/session/endSession", {"sessionId": session_id, "sessionEnd": iso(start + timedelta(minutes=90))})
    assert session(alice, session_id)["activeMinutes"] == 15
    assert server.rows(TOTALS.format(table="course_totals"), id=course["id"]) == [(900_000,)]


def test_a_tab_left_open_overnight_counts_the_idle_minutes(alice: Person, course):
    session_id = alice.start(course, sessionStart=iso(ago(hours=11)))
    alice.put("/session/endSession", {"sessionId": session_id})
    whole = session(alice, session_id)
    assert whole["activeMinutes"] == 5
    statistics = alice.get(f"/stats/user/courses/{course['id']}").json()
    assert statistics["sessionTime"]["timeInMinutes"] == 660


def test_updates_are_events(alice: Person, course):
    start = ago(hours=3)
    session_id = alice.start(course, sessionStart=iso(start))
    for minute in (60, 64):
        body = {"sessionId": session_id, "moduleStats": [module("A", quiz=minute)]}
        alice.put("/session/updateSession", body | {"recordedAt": iso(start + timedelta(minutes=minute))})
    whole = session(alice, session_id)
    assert whole["activeMinutes"] == 9  # five after the start, four between the updates
    assert whole["lastActivityAt"] == iso(start + timedelta(minutes=64)).replace("+00:00", "Z")


def test_refuses_activity_of_a_session_that_has_ended(alice: Person, course):
    session_id = alice.start(course, sessionStart=iso(ago(hours=2)))
    alice.put("/session/endSession", {"sessionId": session_id, "sessionEnd": iso(ago(hours=1))})
    before = session(alice, session_id)
    refused(note(alice, session_id), 409, "session-ended")
    refused(note(alice, session_id, recordedAt=iso(ago(minutes=50))), 409, "session-ended")
    assert session(alice, session_id) == before
    assert note(alice, session_id, recordedAt=iso(ago(minutes=80))).status_code == 204
    assert session(alice, session_id)["activeMinutes"] == 10


def test_a_session_holds_at_most_500_intervals(server: Server, alice: Person, course):
    start = ago(days=3)
    session_id = alice.start(course, sessionStart=iso(start))
    events = [module(f"M{n}", quiz=1) | {"recordedAt": iso(start + timedelta(minutes=6 * n + 6))} for n in range(500)]
    for first in range(0, 500, 200):
        body = {"sessionId": session_id, "moduleStats": events[first : first + 200]}
        assert alice.put("/session/updateSession", body).status_code == 200
    before = counts(server), session(alice, session_id)
    refused(note(alice, session_id, recordedAt=iso(start + timedelta(minutes=3006))), 409, "session-full")
    assert (counts(server), session(alice, session_id)) == before
    assert note(alice, session_id, recordedAt=iso(start + timedelta(minutes=3002))).status_code == 204


def test_refuses_a_session_that_is_not_the_callers(alice: Person, charlie: Person, course):
    session_id = alice.start(course)
    answers = [note(charlie, session_id), note(charlie, UNKNOWN)]
    for answer in answers:
        refused(answer, 404, "session-not-found")
        assert answer.content == answers[0].content


def test_refuses_what_every_route_refuses(alice: Person, tara: Person, nobody: Person):
    refuses_methods(nobody, PATH, "PUT")
    refuses_callers(nobody, "PUT", PATH, but=alice, wrong_role=tara)
    refuses_bodies(alice, "PUT", PATH)
    refuses_query(alice, "PUT", PATH)
    for body, field in (({}, "sessionId"), ({"sessionId": "mine"}, "sessionId"), ({"sessionId": UNKNOWN, "x": 1}, "x")):
        refused(alice.put(PATH, body), 400, "invalid-input", field)
