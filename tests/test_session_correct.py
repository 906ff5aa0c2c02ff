"""PATCH and DELETE /session/{sessionId}: corrections by administrators."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.helpers.accounts import Person
from tests.helpers.assertions import refused
from tests.helpers.server import Server
from tests.helpers.wire import UNKNOWN, counts, module, refuses_bodies, refuses_callers, refuses_methods
from tests.test_session_batch import item, results, send
from tests.test_session_times import ago, iso, session


def z(text: str) -> str:
    return text.replace("+00:00", "Z")


def ended_session(alice: Person, course: dict[str, Any]) -> str:
    """A session from two hours to one hour ago, with one result."""
    each = item(course, module("A", quiz=5), sessionStart=iso(ago(hours=2)), sessionEnd=iso(ago(hours=1)))
    assert results(send(alice, each))[0]["status"] == 201
    return str(each["sessionId"])


def minutes(alice: Person, course: dict[str, Any]) -> int:
    return int(alice.get(f"/stats/user/courses/{course['id']}").json()["sessionTime"]["timeInMinutes"])


def entries(tara: Person, learner: Person) -> list[dict[str, Any]]:
    return [entry for entry in tara.get("/audit").json() if entry["subject"] == learner.id]


def test_sets_the_times_of_a_session_and_corrects_totals(alice: Person, tara: Person, course):
    session_id = ended_session(alice, course)
    before = session(alice, session_id)
    ended_at = datetime.fromisoformat(before["sessionEnd"])
    start = iso(ended_at - timedelta(hours=4))
    answer = tara.patch(f"/session/{session_id}", {"sessionStart": start})
    assert (answer.status_code, answer.json()) == (200, before | {"sessionStart": z(start)})
    assert minutes(alice, course) == 240
    end = iso(ended_at - timedelta(hours=3))
    corrected = tara.patch(f"/session/{session_id}", {"sessionEnd": end}).json()
    assert (corrected["sessionEnd"], corrected["endedBy"], corrected["isEnd"]) == (z(end), "administrator", True)
    assert minutes(alice, course) == 60
    assert session(alice, session_id) == corrected
    entry, first = entries(tara, alice)[:2]
    assert (entry["act"], entry["actor"]) == ("session.corrected", tara.id)
    assert entry["facts"] == {
        "session": session_id,
        "sessionStart": z(start),
        "newSessionStart": z(start),
        "sessionEnd": before["sessionEnd"],
        "newSessionEnd": z(end),
    }
    assert first["facts"]["sessionStart"] == before["sessionStart"]


def test_an_end_that_was_set_wins_over_the_device(alice: Person, tara: Person, course):
    session_id = ended_session(alice, course)
    end = iso(ago(minutes=100))
    tara.patch(f"/session/{session_id}", {"sessionEnd": end})
    later = iso(ago(minutes=1))
    body = refused(
        alice.put("/session/endSession", {"sessionId": session_id, "sessionEnd": later}), 409, "session-ended"
    )
    assert body["sessionEnd"] == z(end)
    again = item(course, module("B", quiz=1), sessionId=session_id, sessionEnd=later)
    assert results(send(alice, again))[0]["status"] == 200  # its results were not after its own end
    assert session(alice, session_id)["sessionEnd"] == z(end)


def test_reopens_a_session(alice: Person, tara: Person, course):
    session_id = ended_session(alice, course)
    reopened = tara.patch(f"/session/{session_id}", {"sessionEnd": None}).json()
    assert (reopened["sessionEnd"], reopened["isEnd"], reopened["endedBy"]) == (None, False, None)
    assert minutes(alice, course) == 0
    alice.update(session_id, module("B", quiz=1))
    alice.end(session_id)
    assert minutes(alice, course) == 120


def test_an_empty_correction_changes_nothing(server: Server, alice: Person, tara: Person, course):
    session_id = ended_session(alice, course)
    before = session(alice, session_id), counts(server)
    same = {"sessionStart": before[0]["sessionStart"]}
    for body in ({}, same):
        assert tara.patch(f"/session/{session_id}", body).json() == before[0]
    assert (session(alice, session_id), counts(server)) == before


@pytest.mark.parametrize(
    "bad",
    [
        ({"sessionEnd": {"hours": 3}}, "sessionEnd"),  # before the start
        ({"sessionStart": {"minutes": 30}}, "sessionStart"),  # after the end
        ({"sessionEnd": {"hours": -1}}, "sessionEnd"),  # in the future
        ({"sessionStart": {"hours": -1}, "sessionEnd": None}, "sessionStart"),
        ({"sessionStart": "soon"}, "sessionStart"),
        ({"sessionStart": None}, "sessionStart"),
        ({"sessionEnd": "0000-01-01T00:00:00Z"}, "sessionEnd"),
        ({"topic": "Number"}, "topic"),
    ],
    ids=range(8),
)
def test_refuses_times_that_cannot_be(
    server: Server, alice: Person, tara: Person, course, bad: tuple[dict[str, Any], str]
):
    members, field = bad
    session_id = ended_session(alice, course)
    before = session(alice, session_id), counts(server)
    body = {name: iso(ago(**value)) if isinstance(value, dict) else value for name, value in members.items()}
    refused(tara.patch(f"/session/{session_id}", body), 400, "invalid-input", field)
    assert (session(alice, session_id), counts(server)) == before


def test_deletes_a_session_for_good(server: Server, alice: Person, tara: Person, course):
    kept = ended_session(alice, course)
    before = session(alice, kept), alice.get(f"/stats/user/courses/{course['id']}").json()
    each = item(course, module("A", quiz=7), module("B"), sessionStart=iso(ago(hours=3)), sessionEnd=iso(ago(hours=2)))
    assert results(send(alice, each))[0]["status"] == 201
    answer = tara.delete(f"/session/{each['sessionId']}")
    assert (answer.status_code, answer.content) == (204, b"")
    refused(alice.get(f"/session/{each['sessionId']}"), 404, "session-not-found")
    refused(tara.get(f"/session/{each['sessionId']}"), 404, "session-not-found")
    assert (session(alice, kept), alice.get(f"/stats/user/courses/{course['id']}").json()) == before
    assert server.rows("SELECT 1 FROM results WHERE session_id = :id", id=each["sessionId"]) == []
    entry = entries(tara, alice)[0]
    assert (entry["act"], entry["facts"]["session"]) == ("session.voided", each["sessionId"])


def test_a_deleted_session_does_not_come_back(alice: Person, charlie: Person, tara: Person, course):
    session_id = ended_session(alice, course)
    tara.delete(f"/session/{session_id}")
    start = {"courseIdentifier": course["id"], "topic": course["topicsAndModules"][0]["topic"], "sessionId": session_id}
    refused(alice.post("/session/startSession", start), 409, "session-voided")
    (answer,) = results(send(alice, item(course, module("A"), sessionId=session_id)))
    assert (answer["status"], answer["problem"]["code"]) == (409, "session-voided")
    body = {"sessionId": session_id, "moduleStats": [module("A")]}
    refused(alice.put("/session/updateSession", body), 404, "session-not-found")
    refused(alice.put("/session/endSession", {"sessionId": session_id}), 404, "session-not-found")
    refused(alice.put("/session/activity", {"sessionId": session_id}), 404, "session-not-found")
    refused(tara.delete(f"/session/{session_id}"), 404, "session-not-found")
    assert charlie.post("/session/startSession", start).status_code == 201  # another learner's id is another session's


def test_an_erasure_deletes_voided_ids(server: Server, alice: Person, tara: Person, course):
    session_id = ended_session(alice, course)
    tara.delete(f"/session/{session_id}")
    count = "SELECT count(*) FROM voided_sessions WHERE learner_id = :id"
    assert server.rows(count, id=alice.id) == [(1,)]
    assert tara.delete(f"/users/{alice.id}").status_code == 204
    assert server.rows(count, id=alice.id) == [(0,)]


def test_is_ambiguous_if_two_learners_have_chosen_the_same_id(alice: Person, charlie: Person, tara: Person, course):
    session_id = str(uuid4())
    for person, score in ((alice, 1), (charlie, 2)):
        assert results(send(person, item(course, module("A", quiz=score), sessionId=session_id)))[0]["status"] == 201
    path = f"/session/{session_id}"
    for answer in (tara.get(path), tara.patch(path, {}), tara.delete(path)):
        refused(answer, 409, "ambiguous")
    assert tara.get(f"{path}?userId={charlie.id.upper()}").json()["sessionPoints"] == 2
    assert tara.patch(f"{path}?userId={alice.id}", {}).json()["userId"] == alice.id
    assert tara.delete(f"{path}?userId={alice.id}").status_code == 204
    refused(alice.get(path), 404, "session-not-found")
    assert tara.get(path).json()["userId"] == charlie.id
    refused(tara.get(f"{path}?userId={alice.id}"), 404, "session-not-found")
    refused(tara.get(f"{path}?userId=me"), 400, "invalid-input", "userId")
    assert charlie.get(f"{path}?userId={charlie.id}").status_code == 200
    refused(charlie.get(f"{path}?userId={alice.id}"), 404, "session-not-found")


def test_refuses_what_every_route_refuses(alice: Person, tara: Person, nobody: Person):
    path = f"/session/{UNKNOWN}"
    refuses_methods(nobody, path, "GET", "PATCH", "DELETE")
    for method in ("PATCH", "DELETE"):
        refuses_callers(nobody, method, path, but=tara, wrong_role=alice)
    refuses_bodies(tara, "PATCH", path)
    for answer in (tara.delete(f"{path}?q=1"), tara.patch(f"{path}?q=1", {})):
        refused(answer, 400, "invalid-input", "q")
    refused(tara.patch(path, {}), 404, "session-not-found")
    refused(tara.delete(path), 404, "session-not-found")
    refused(tara.patch("/session/mine", {}), 400, "invalid-input", "sessionId")


def test_activity_after_a_corrected_end_does_not_count(alice: Person, tara: Person, course):
    start = ago(hours=2)
    session_id = alice.start(course, sessionStart=iso(start))
    for minute in range(1, 30):
        alice.put("/session/activity", {"sessionId": session_id, "recordedAt": iso(start + timedelta(minutes=minute))})
    body = {"sessionEnd": iso(start + timedelta(minutes=10))}
    assert tara.patch(f"/session/{session_id}", body).json()["activeMinutes"] == 10
    assert tara.patch(f"/session/{session_id}", {"sessionEnd": None}).json()["activeMinutes"] == 29


def test_times_may_be_as_early_as_the_year_1_but_not_in_the_future(server: Server, alice: Person, tara: Person, course):
    session_id = ended_session(alice, course)
    before = session(alice, session_id)
    for body, field in (
        ({"sessionStart": "9999-12-31T23:59:59.999Z"}, "sessionStart"),
        ({"sessionEnd": "9999-12-31T23:59:59.999Z"}, "sessionEnd"),
        ({"sessionStart": "0001-01-01T00:00:00+00:01"}, "sessionStart"),
        ({"sessionStart": "2026-11-23T10:00:00+99:99"}, "sessionStart"),
        ({"sessionEnd": "0001-01-01T00:00:00Z"}, "sessionEnd"),
        ({"sessionStart": None}, "sessionStart"),
    ):
        answer = tara.patch(f"/session/{session_id}", body)
        refused(answer, 400, "invalid-input")
        assert field in {error["field"] for error in answer.json()["errors"]}
    assert session(alice, session_id) == before
    corrected = tara.patch(f"/session/{session_id}", {"sessionStart": "0001-01-01T00:00:00Z"}).json()
    assert corrected["sessionStart"] == "0001-01-01T00:00:00.000Z"
    assert minutes(alice, course) > 2000 * 365 * 24 * 60
    assert alice.get("/stats/user/sessions?order=desc").json() == [corrected]
    assert tara.delete(f"/session/{session_id}").status_code == 204
    assert minutes(alice, course) == 0


def test_refuses_to_choose_between_two_user_ids(server: Server, alice: Person, charlie: Person, tara: Person, course):
    session_id = alice.start(course, sessionId=str(uuid4()))
    assert charlie.start(course, sessionId=session_id) == session_id
    before = counts(server)
    path = f"/session/{session_id}?userId={alice.id}&userId={charlie.id}"
    for answer in (tara.get(path), tara.patch(path, {"sessionEnd": None}), tara.delete(path)):
        assert "given once" in refused(answer, 400, "invalid-input", "userId")["detail"]
    assert counts(server) == before
