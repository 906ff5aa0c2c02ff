"""Times by the device: `sessionStart`, `recordedAt`, `sessionEnd` and `sentAt`."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.accounts import Person
from tests.helpers.assertions import refused
from tests.helpers.server import Server
from tests.helpers.wire import UNKNOWN, counts, module

DEVICE = datetime(2010, 1, 1, 12, tzinfo=UTC)
"""What a tablet's clock shows as it sends."""


def iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")


def ago(**units: float) -> datetime:
    return datetime.now(UTC) - timedelta(**units)


def session(person: Person, session_id: str) -> dict[str, Any]:
    answer = person.get(f"/session/{session_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def is_near(text: str, time: datetime) -> bool:
    """Whether a time on the wire is this one, but for what requests take."""
    return abs(datetime.fromisoformat(text) - time) < timedelta(seconds=20)


def test_a_tablet_whose_clock_says_2010_reports_truthfully(server: Server, alice: Person, course):
    body = {"sessionStart": iso(DEVICE - timedelta(minutes=90)), "sentAt": iso(DEVICE)}
    session_id = alice.start(course, **body)
    update = {
        "sessionId": session_id,
        "recordedAt": iso(DEVICE - timedelta(minutes=80)),
        "sentAt": iso(DEVICE),
        "moduleStats": [module("A", quiz=1), module("B", quiz=2) | {"recordedAt": iso(DEVICE - timedelta(minutes=70))}],
    }
    assert alice.put("/session/updateSession", update).status_code == 200
    end = {"sessionId": session_id, "sessionEnd": iso(DEVICE - timedelta(minutes=60)), "sentAt": iso(DEVICE)}
    answer = alice.put("/session/endSession", end)
    assert answer.status_code == 200
    whole = session(alice, session_id)
    assert is_near(whole["sessionStart"], ago(minutes=90))
    assert is_near(whole["sessionEnd"], ago(minutes=60))
    assert answer.json()["sessionEnd"] == whole["sessionEnd"] == whole["lastActivityAt"]
    assert (whole["endedBy"], whole["activeMinutes"]) == ("learner", 15)  # three events, far apart, of 5 minutes
    rows = server.rows("SELECT module_name, quiz_at, adaptive_at FROM results WHERE session_id = :id", id=session_id)
    for name, quiz_at, adaptive_at in rows:
        recorded = datetime.fromtimestamp(quiz_at / 1000, UTC).isoformat()
        assert is_near(recorded, ago(minutes={"A": 80, "B": 70}[name]))
        assert adaptive_at is None


def test_a_time_in_the_future_is_now(alice: Person, course):
    session_id = alice.start(course, sessionStart="9999-12-31T23:59:59Z")
    assert is_near(session(alice, session_id)["sessionStart"], ago())
    answer = alice.put("/session/endSession", {"sessionId": session_id, "sessionEnd": "9999-01-01T00:00:00Z"})
    assert is_near(answer.json()["sessionEnd"], ago())


def test_times_before_the_start_are_the_start(server: Server, alice: Person, course):
    session_id = alice.start(course, sessionStart=iso(ago(hours=1)))
    early = iso(ago(hours=2))
    body = {"sessionId": session_id, "recordedAt": early, "moduleStats": [module("A", quiz=1)]}
    assert alice.put("/session/updateSession", body).status_code == 200
    assert alice.put("/session/endSession", {"sessionId": session_id, "sessionEnd": early}).status_code == 200
    whole = session(alice, session_id)
    assert whole["sessionEnd"] == whole["sessionStart"] == whole["lastActivityAt"]
    ((started_at, quiz_at),) = server.rows(
        "SELECT s.started_at, r.quiz_at FROM sessions s JOIN results r ON r.session_id = s.id WHERE s.id = :id",
        id=session_id,
    )
    assert started_at == quiz_at


def test_a_repeated_start_keeps_the_first_time(alice: Person, course):
    session_id = "0199aaaa-0000-7000-8000-0000000000a1"
    assert alice.start(course, sessionId=session_id, sessionStart=iso(ago(hours=2))) == session_id
    first = session(alice, session_id)
    body = {"courseIdentifier": course["id"], "topic": course["topicsAndModules"][0]["topic"], "sessionId": session_id}
    answer = alice.post("/session/startSession", body | {"sessionStart": iso(ago(hours=1))})
    assert answer.status_code == 200
    assert session(alice, session_id) == first


def test_a_late_update_is_accepted_after_the_end(alice: Person, course):
    session_id = alice.start(course, sessionStart=iso(ago(hours=2)))
    assert alice.put("/session/endSession", {"sessionId": session_id, "sessionEnd": iso(ago(hours=1))}).is_success
    body = {"sessionId": session_id, "moduleStats": [module("A", quiz=3)]}
    refused(alice.put("/session/updateSession", body), 409, "session-ended")
    refused(alice.put("/session/updateSession", body | {"recordedAt": iso(ago(minutes=50))}), 409, "session-ended")
    assert alice.put("/session/updateSession", body | {"recordedAt": iso(ago(minutes=70))}).status_code == 200
    older = body | {"recordedAt": iso(ago(minutes=80)), "moduleStats": [module("A", quiz=9)]}
    assert alice.put("/session/updateSession", older).json()["sessionPoints"] == 3


def test_a_known_end_moves_only_by_more_than_a_minute(alice: Person, course):
    session_id = alice.start(course, sessionStart=iso(ago(hours=2)))
    first = alice.put("/session/endSession", {"sessionId": session_id, "sessionEnd": iso(ago(minutes=60))})
    for end in ({}, {"sessionEnd": iso(ago(minutes=90))}, {"sessionEnd": iso(ago(minutes=59.5))}):
        body = refused(alice.put("/session/endSession", {"sessionId": session_id} | end), 409, "session-ended")
        assert body["sessionEnd"] == first.json()["sessionEnd"]
    later = alice.put("/session/endSession", {"sessionId": session_id, "sessionEnd": iso(ago(minutes=30))})
    assert later.status_code == 200
    assert session(alice, session_id)["sessionEnd"] == later.json()["sessionEnd"] > first.json()["sessionEnd"]


LATE = "2026-01-01T00:00:00Z"
"""More than 31 days ago."""
BAD = [
    ("/session/startSession", "sessionStart", "yesterday", "invalid-input"),
    ("/session/startSession", "sessionStart", "2026-11-23T10:00:00", "invalid-input"),
    ("/session/startSession", "sessionStart", "2026-11-23T10:00:00+99:99", "invalid-input"),
    ("/session/startSession", "sentAt", "0001-01-01T00:00:00+01:00", "invalid-input"),
    ("/session/startSession", "sentAt", 5, "invalid-input"),
    ("/session/startSession", "sessionStart", LATE, "too-late"),
    ("/session/startSession", "sessionStart", "0001-01-01T00:00:00Z", "too-late"),
    ("/session/updateSession", "recordedAt", "2026-02-30T10:00:00Z", "invalid-input"),
    ("/session/updateSession", "recordedAt", LATE, "too-late"),
    ("/session/updateSession", "sentAt", [], "invalid-input"),
    ("/session/endSession", "sessionEnd", "", "invalid-input"),
    ("/session/endSession", "sessionEnd", LATE, "too-late"),
    ("/session/activity", "recordedAt", LATE, "too-late"),
    ("/session/activity", "sentAt", "now", "invalid-input"),
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_bad_times_are_named_and_store_nothing(server: Server, alice: Person, course, bad: tuple[str, str, Any, str]):
    path, field, value, code = bad
    session_id = alice.start(course)
    before = counts(server)
    bodies = {
        "/session/startSession": {
            "courseIdentifier": course["id"],
            "topic": course["topicsAndModules"][0]["topic"],
            "sessionId": UNKNOWN,
        },
        "/session/updateSession": {"sessionId": session_id, "moduleStats": [module("A", quiz=1)]},
        "/session/endSession": {"sessionId": session_id},
        "/session/activity": {"sessionId": session_id},
    }
    method = "POST" if path == "/session/startSession" else "PUT"
    refused(alice.request(method, path, json=bodies[path] | {field: value}), 400, code, field)
    assert counts(server) == before
    assert not session(alice, session_id)["isEnd"]


def test_every_bad_time_of_an_update_is_named(alice: Person, course):
    session_id = alice.start(course)
    modules = [module("A", quiz=1) | {"recordedAt": LATE}, module("B", quiz=1), module("C") | {"recordedAt": LATE}]
    answer = alice.put("/session/updateSession", {"sessionId": session_id, "recordedAt": LATE, "moduleStats": modules})
    body = refused(answer, 400, "too-late")
    assert [error["field"] for error in body["errors"]] == [
        "recordedAt",
        "moduleStats[0].recordedAt",
        "moduleStats[2].recordedAt",
    ]
    modules[0]["recordedAt"] = "soon"
    answer = alice.put("/session/updateSession", {"sessionId": session_id, "moduleStats": modules[:1]})
    refused(answer, 400, "invalid-input", "moduleStats[0].recordedAt")
