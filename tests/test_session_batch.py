"""POST /session/batch."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.assertions import refused
from tests.helpers.load import workers
from tests.helpers.server import Server, running
from tests.helpers.wire import counts, module, part, refuses_callers, refuses_methods, refuses_query, result
from tests.test_me_export import resident
from tests.test_session_times import LATE, ago, iso, session

PATH = "/session/batch"
JSON = {"Content-Type": "application/json"}


def item(course: dict[str, Any], *modules: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A session of a batch, with an id of its own."""
    return {
        "sessionId": str(uuid4()),
        "courseIdentifier": course["id"],
        "topic": course["topicsAndModules"][0]["topic"],
        "moduleStats": list(modules),
    } | members


def send(person: Person, *items: Any, **members: Any) -> httpx.Response:
    return person.post(PATH, {"sessions": list(items)} | members)


def results(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return list(answer.json()["results"])


def test_an_item_is_a_start_an_update_and_an_end(server: Server, alice: Person, course):
    start = ago(hours=3)
    whole = item(
        course,
        module("A", adaptive=1.5, quiz=2) | {"recordedAt": iso(start + timedelta(minutes=3))},
        {"moduleName": "B", "wrongAnswers": part(0, "x")},
        sessionStart=iso(start),
        sessionEnd=iso(start + timedelta(minutes=30)),
    )
    open_ = item(course, courseIdentifier=course["courseTitle"])
    answer = results(send(alice, whole, open_))
    assert answer == [
        {"sessionId": whole["sessionId"], "status": 201, "sessionPoints": 3.5},
        {"sessionId": open_["sessionId"], "status": 201, "sessionPoints": 0},
    ]
    stored = session(alice, whole["sessionId"])
    assert stored["sessionStart"] == iso(start).replace("+00:00", "Z")
    assert stored["sessionEnd"] == iso(start + timedelta(minutes=30)).replace("+00:00", "Z")
    assert (stored["endedBy"], stored["activeMinutes"], stored["courseTitle"]) == ("learner", 8, course["courseTitle"])
    assert stored["modulesStats"][1] == result("B", wrongAnswers=part(0, "x"))
    assert not session(alice, open_["sessionId"])["isEnd"]
    statistics = alice.get(f"/stats/user/courses/{course['id']}").json()
    assert statistics["sessionTime"]["timeInMinutes"] == 30
    assert statistics["moduleAmount"]["moduleNames"] == ["A", "B"]
    assert statistics["scores"]["totalSessionPoints"] == 3.5


def test_a_repeated_batch_changes_nothing(server: Server, alice: Person, course):
    items = [
        item(course, module(f"M{n}", quiz=n), sessionStart=iso(ago(hours=n)), sessionEnd=iso(ago(hours=n - 0.5)))
        for n in range(1, 6)
    ]
    first = results(send(alice, *items))
    before = [session(alice, each["sessionId"]) for each in items], counts(server)
    again = results(send(alice, *reversed(items), *items))
    assert [each["status"] for each in again] == [200] * 10
    assert [each["sessionPoints"] for each in again[5:]] == [each["sessionPoints"] for each in first]
    assert ([session(alice, each["sessionId"]) for each in items], counts(server)) == before


def test_the_same_session_twice_is_merged(alice: Person, course):
    first = item(course, module("A", quiz=1), sessionStart=iso(ago(hours=1)))
    second = first | {"moduleStats": [module("A", adaptive=5), module("B", quiz=2)], "sessionEnd": iso(ago(minutes=5))}
    answer = results(send(alice, first, second))
    assert [(each["status"], each["sessionPoints"]) for each in answer] == [(201, 1), (200, 8)]
    stored = session(alice, first["sessionId"])
    assert [each["moduleName"] for each in stored["modulesStats"]] == ["A", "B"]
    assert stored["isEnd"]


def test_a_newer_result_with_the_same_sum_and_size_is_stored(alice: Person, course):
    """Nothing else of the session changes with it: not its points, nor its size, nor its active time."""
    session_id, times = str(uuid4()), {"sessionStart": iso(ago(minutes=30))}
    older, between, newest = (iso(ago(minutes=minutes)) for minutes in (26, 24, 22))
    for stats, at in (
        (module("Integers", 31, 39), older),
        (module("Fractions", 1, 1), newest),
        (module("Integers", 32, 38), between),
    ):
        answer = send(alice, item(course, stats | {"recordedAt": at}, sessionId=session_id, **times))
        assert results(answer)[0]["status"] in (200, 201)
    stored = {each["moduleName"]: each for each in session(alice, session_id)["modulesStats"]}
    assert [stored["Integers"][part]["score"] for part in ("adaptive", "quiz")] == [32, 38]


def test_continues_a_session_that_was_started_online(alice: Person, course):
    session_id = alice.start(course)
    alice.update(session_id, module("A", quiz=1))
    more = item(course, module("B", quiz=2), sessionId=session_id.upper())
    assert results(send(alice, more)) == [{"sessionId": session_id, "status": 200, "sessionPoints": 3}]


def test_the_devices_clock_may_be_wrong(alice: Person, course):
    each = item(course, sessionStart="2010-01-01T10:00:00Z", sessionEnd="2010-01-01T11:00:00Z")
    assert results(send(alice, each, sentAt="2010-01-01T12:00:00Z"))[0]["status"] == 201
    stored = session(alice, each["sessionId"])
    assert stored["lastActivityAt"] == stored["sessionEnd"]
    assert abs((ago(hours=1) - ago()).total_seconds()) - 3600 < 1
    assert stored["sessionStart"] < iso(ago(hours=1, minutes=59))
    assert stored["sessionStart"] > iso(ago(hours=2, minutes=1))


def test_a_result_without_a_time_counts_as_recorded_at_its_items_end(server: Server, alice: Person, course):
    each = item(course, module("A", quiz=1), sessionStart=iso(ago(hours=2)), sessionEnd=iso(ago(hours=1)))
    assert results(send(alice, each))[0]["status"] == 201
    ((quiz_at, ended_at),) = server.rows(
        "SELECT r.quiz_at, s.ended_at FROM results r JOIN sessions s ON s.id = r.session_id WHERE s.id = :id",
        id=each["sessionId"],
    )
    assert quiz_at == ended_at


# -- bad items ---------------------------------------------------------------------------------


def bad_items(alice: Person, course: dict[str, Any], tara: Person) -> list[tuple[Any, int, str]]:
    """One of each kind: the item, and the status and code of its problem."""
    ended = alice.start(course)
    alice.end(ended)
    known = alice.start(course)
    full = alice.start(course)
    voided = alice.start(course)
    assert tara.delete(f"/session/{voided}").status_code == 204
    for first in range(0, 1000, 200):
        alice.update(full, *(module(f"M{n}") for n in range(first, first + 200)))
    twice = f'{{"sessionId": "{uuid4()}", "topic": "a", "topic": "b", "courseIdentifier": "c"}}'
    return [
        (None, 400, "invalid-input"),
        (5, 400, "invalid-input"),
        ([], 400, "invalid-input"),
        ({}, 400, "invalid-input"),
        (json.loads(twice) | {"TWICE": twice}, 400, "invalid-input"),
        (item(course, sessionId="mine"), 400, "invalid-input"),
        (item(course, extra=1), 400, "invalid-input"),
        (item(course, module("A"), module("A")), 400, "invalid-input"),
        (item(course, module("A", quiz=1e9)), 400, "invalid-input"),
        (item(course, sessionStart="soon"), 400, "invalid-input"),
        (item(course, *(module(f"M{n}") for n in range(201))), 400, "invalid-input"),
        (item(course, sessionEnd=LATE), 400, "too-late"),
        (item(course, module("A") | {"recordedAt": "0001-01-01T00:00:00Z"}), 400, "too-late"),
        (item(course, courseIdentifier="No such course"), 404, "course-not-found"),
        (item(course, topic="No such topic"), 404, "topic-not-found"),
        (item(course, sessionId=course["id"]), 409, "session-id-taken"),
        (item(course, sessionId=known, topic=course["topicsAndModules"][1]["topic"]), 409, "session-id-taken"),
        (item(course, module("A", quiz=1), sessionId=ended), 409, "session-ended"),
        (item(course, module("one more", quiz=1), sessionId=full), 409, "session-full"),
        (item(course, sessionId=voided), 409, "session-voided"),
    ]


def test_a_bad_item_fails_alone(server: Server, alice: Person, tara: Person, course):
    bad = bad_items(alice, course, tara)
    good = [item(course, module("Good", quiz=1)) for _ in bad]
    before = counts(server)
    items = [each for pair in zip((entry for entry, *_ in bad), good, strict=True) for each in pair]
    body = json.dumps({"sessions": items})
    for entry in items:
        if isinstance(entry, dict) and "TWICE" in entry:
            body = body.replace(json.dumps(entry), entry["TWICE"])
    answer = results(alice.post(PATH, content=body, headers=JSON))
    assert [(each["status"], each["sessionPoints"]) for each in answer[1::2]] == [(201, 1)] * len(good)
    for (entry, status, code), each in zip(bad, answer[::2], strict=True):
        assert (each["status"], each["problem"]["status"], each["problem"]["code"]) == (status, status, code), entry
        assert each["problem"]["message"] == each["problem"]["detail"]
        assert "sessionPoints" not in each
        if isinstance(entry, dict) and "sessionId" in entry:
            assert each["sessionId"] == entry["sessionId"]
    added = {name: number - before[name] for name, number in counts(server).items() if number != before[name]}
    assert added == {"sessions": len(good), "results": len(good), "learner_names": 1, "course_names": 1}


@pytest.mark.parametrize("number", [0, 501])
def test_refuses_a_batch_without_items_and_one_with_too_many(server: Server, alice: Person, course, number: int):
    before = counts(server)
    refused(send(alice, *(item(course) for _ in range(number))), 400, "invalid-input", "sessions")
    assert counts(server) == before


def test_records_500_items(server: Server, alice: Person, course):
    items = [item(course, module(f"M{n % 7}", quiz=1)) for n in range(500)]
    assert [each["status"] for each in results(send(alice, *items))] == [201] * 500
    assert alice.get(f"/stats/user/courses/{course['id']}").json()["scores"]["totalSessionPoints"] == 500


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "sessions"),
        ({"sessions": {}}, "sessions"),
        ({"sessions": [{}], "sentAt": "soon"}, "sentAt"),
        ({"sessions": [{}], "extra": 1}, "extra"),
    ],
    ids=range(4),
)
def test_refuses_a_bad_batch(alice: Person, body: object, field: str):
    refused(alice.post(PATH, body), 400, "invalid-input", field)


@pytest.mark.parametrize(
    ("members", "fields"),
    [
        ({"sentAt": "soon"}, ["sentAt"]),
        ({"extra": 1}, ["extra"]),
        ({"sessions": [{}] * 501}, ["sessions"]),
        ({"sentAt": "\0"}, ["sentAt"]),
        ({"sentAt": "\ud800"}, ["sentAt"]),
    ],
    ids=range(5),
)
def test_errors_of_the_batch_are_not_about_items(alice: Person, members: dict[str, Any], fields: list[str]):
    answer = alice.post(PATH, content=json.dumps({"sessions": [{}, 1]} | members), headers=JSON)
    body = refused(answer, 400, "invalid-input")
    assert [error["field"] for error in body["errors"]] == fields


def test_an_item_with_a_lone_surrogate_fails_alone(alice: Person, course):
    good = item(course, module("\U0001f600 \\ud800", quiz=1))
    for bad in (
        item(course, module("\ud800")),
        item(course, {"moduleName": "A", "quiz": {"answers": ["\ud800"]}}),
        item(course, topic="x\udfff"),
        {"sessionId": "\udbff"},
        {"\ud800": 1},
        "\ud800",
    ):
        answer = results(alice.post(PATH, content=json.dumps({"sessions": [bad, good, bad]}), headers=JSON))
        assert [each["status"] for each in answer] in ([400, 201, 400], [400, 200, 400]), bad
        assert "surrogates" in answer[0]["problem"]["message"] or "known member" in answer[0]["problem"]["message"]
    assert session(alice, good["sessionId"])["modulesStats"][0]["moduleName"] == "\U0001f600 \\ud800"


def test_an_item_that_is_a_text_fails_alone(alice: Person, course):
    """Whatever it says: the texts of the members around it, too."""
    good = json.dumps(item(course))
    for text in ('"sentAt"', '"sessions"', '"', '"20', "2", "[", '"[\\u0022sessions'):
        entry = text if text in ("2", '"sentAt"', '"sessions"') else json.dumps(text)
        for body in (
            f'{{"sentAt":"{iso(ago())}","sessions":[{entry},{good}]}}',
            f'{{"sessions" : [ {entry} ,{good}], "sentAt":"{iso(ago())}"}}',
        ):
            answer = results(alice.post(PATH, content=body, headers=JSON))
            assert [each["status"] for each in answer] in ([400, 201], [400, 200]), entry


def test_a_part_after_its_items_end_is_refused_the_first_time_and_again(server: Server, alice: Person, course):
    late = module("A", quiz=1) | {"recordedAt": iso(ago(minutes=50))}
    each = item(course, late, sessionStart=iso(ago(hours=2)), sessionEnd=iso(ago(hours=1)))
    before = counts(server)
    for _ in range(2):
        answer = results(send(alice, each))[0]
        assert (answer["status"], answer["problem"]["code"]) == (409, "session-ended")
    assert counts(server) == before


def test_refuses_a_repeated_member_of_the_batch(server: Server, alice: Person, course):
    before = counts(server)
    one = json.dumps(item(course))
    for body in (f'{{"sessions":[{one}],"sessions":[{one}]}}', f'{{"sessions":[{one}],"sentAt":null,"sentAt":null}}'):
        answer = alice.post(PATH, content=body, headers=JSON)
        refused(answer, 400, "invalid-input")
    assert counts(server) == before


def test_refuses_more_than_4_mib(alice: Person, course):
    text = "x" * 10_000
    large = [item(course, {"moduleName": "A", "quiz": {"answers": [text] * 100}}) for _ in range(4)]
    assert [each["status"] for each in results(send(alice, *large))] == [201] * 4
    refused(
        send(alice, *large, item(course, {"moduleName": "A", "quiz": {"answers": [text] * 20}})),
        413,
        "payload-too-large",
    )


def test_other_learners_ids_are_neither_refused_nor_visible(alice: Person, charlie: Person, course):
    each = item(course, module("A", quiz=1))
    assert results(send(alice, each))[0]["status"] == 201
    assert results(send(charlie, each | {"moduleStats": []}))[0] == {
        "sessionId": each["sessionId"],
        "status": 201,
        "sessionPoints": 0,
    }


def test_a_learner_has_at_most_2000_names_in_a_course(server: Server, alice: Person, course):
    for first in range(0, 2000, 200):
        names = [module(f"M{n}") for n in range(first, first + 200)]
        assert results(send(alice, item(course, *names)))[0]["status"] == 201
    answer = results(send(alice, item(course, module("new")), item(course, module("M7")), item(course, module("new"))))
    assert [each["status"] for each in answer] == [409, 201, 409]
    assert answer[0]["problem"]["code"] == "too-many-learner-names"


def test_refuses_what_every_route_refuses(alice: Person, tara: Person, nobody: Person):
    refuses_methods(nobody, PATH, "POST")
    refuses_callers(nobody, "POST", PATH, but=alice, wrong_role=tara)
    refuses_query(alice, "POST", PATH)
    for body in (b"", b"{", b'{"sessions":[{]}', b"\xef\xbb\xbf{}"):
        answer = alice.post(PATH, content=body, headers=JSON)
        refused(answer, 400, "malformed-json")
    refused(alice.post(PATH, content=b"{}", headers={"Content-Type": "text/plain"}), 415, "unsupported-media-type")


def test_batches_that_wait_are_not_decoded_yet(tmp_path: Path):
    """One of 100,000 results takes 36 MB when it is decoded, and each thread that decoded one keeps as much."""
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=300) as client:
        course = make_course(sign_up(client, "tara", role="admin"))
        alice = sign_up(client, "alice")
        names = [{"moduleName": f"{n}"} for n in range(200)]
        body = json.dumps(
            {"sessions": [item(course, *names, courseIdentifier="none") for _ in range(500)]}, separators=(",", ":")
        )
        post = partial(alice.post, PATH, content=body, headers=JSON)
        assert post().status_code == 200
        (worker,) = workers(server)
        before = resident(worker)
        with ThreadPoolExecutor(24) as pool:
            assert {answer.status_code for answer in pool.map(lambda _: post(), range(24))} == {200}
        assert resident(worker) - before < 400_000_000
