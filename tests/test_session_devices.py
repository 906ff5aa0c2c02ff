"""A device that was offline for days, with a clock two years wrong: what arrives late is what an online device reports."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.commands import seneca
from tests.helpers.load import kill
from tests.helpers.server import Server, running, start_server
from tests.helpers.wire import module
from tests.test_session_batch import PATH, results, send
from tests.test_session_times import iso

SESSIONS = 300
PER_BATCH = 40
WRONG = timedelta(days=2 * 365)
"""By how much the device's clock is behind."""
SECOND = timedelta(seconds=1)


@dataclass
class Afternoon:
    """A session as the learner had it: all times are seconds off full minutes, so that a request's duration changes no minute."""

    id: str
    course: int
    start: datetime
    events: list[tuple[datetime, dict[str, Any]]]
    end: datetime | None


def three_days(chance: random.Random) -> list[Afternoon]:
    """Three hundred sessions, some of them open, with results of which later ones replace earlier ones."""
    begin = datetime.now(UTC) - timedelta(days=3)
    afternoons = []
    for number in range(SESSIONS):
        start = begin + timedelta(minutes=10 * number)
        minutes = sorted(chance.sample(range(1, 50), 6))
        events = [
            (
                start + timedelta(minutes=minute) + (15 + 4 * position) * SECOND,
                module(f"M{chance.randrange(4)}", adaptive=minute, quiz=chance.randrange(100)),
            )
            for position, minute in enumerate(minutes)
        ]
        end = None if number % 10 == 0 else start + timedelta(minutes=minutes[-1] + 1) + 50 * SECOND
        afternoons.append(Afternoon(str(uuid4()), number % 2, start, events, end))
    return afternoons


def study_online(person: Person, afternoons: list[Afternoon], courses: list[dict[str, Any]]) -> None:
    """Report everything in the order in which it happened, with a clock that is right."""
    for each in afternoons:
        person.start(courses[each.course], topic="Number", sessionId=each.id, sessionStart=iso(each.start))
        for at, stats in each.events:
            body = {"sessionId": each.id, "moduleStats": [stats], "recordedAt": iso(at)}
            assert person.put("/session/updateSession", body).status_code == 200
        if each.end is not None:
            answer = person.put("/session/endSession", {"sessionId": each.id, "sessionEnd": iso(each.end)})
            assert answer.status_code == 200


def device_batches(
    afternoons: list[Afternoon], courses: list[dict[str, Any]], chance: random.Random
) -> Iterator[list[dict[str, Any]]]:
    """Batches that report each session in pieces, in no order, some of them again."""
    items = []
    for each in afternoons:
        whole = {
            "sessionId": each.id,
            "courseIdentifier": courses[each.course]["id"],
            "topic": "Number",
            "sessionStart": iso(each.start - WRONG),
        }
        ends = {} if each.end is None else {"sessionEnd": iso(each.end - WRONG)}
        for at, stats in each.events:
            piece = {"moduleStats": [stats | {"recordedAt": iso(at - WRONG)}]}
            items.append(whole | piece | (ends if chance.random() < 0.5 else {}))
        items.append(whole | ends)
    items += chance.sample(items, len(items) // 3)
    chance.shuffle(items)
    for first in range(0, len(items), PER_BATCH):
        yield items[first : first + PER_BATCH]


def send_interrupted(server: Server, person: Person, batch: list[dict[str, Any]], chance: random.Random) -> None:
    """Send a batch until it is answered; before or after, the server may be killed."""
    if chance.random() < 0.1:
        send_by_device(person, batch)  # the answer was lost
        kill(server)
        server.process = start_server(server.data, port=server.port, SENECA_SESSION_TIMEOUT_HOURS="0").process
    assert {each["status"] for each in results(send_by_device(person, batch))} <= {200, 201}


def send_by_device(person: Person, batch: list[dict[str, Any]]) -> httpx.Response:
    return send(person, *batch, sentAt=iso(datetime.now(UTC) - WRONG))


def whole_study(person: Person) -> list[dict[str, Any]]:
    """Every session: its times in whole minutes after its start, the latter to the second before and after; modules by name."""
    sessions = []
    target: str | None = "/stats/user/sessions?limit=1000"
    while target:
        answer = person.get(target)
        assert answer.status_code == 200, answer.text
        sessions += answer.json()
        target = answer.links.get("next", {}).get("url")
    for each in sessions:
        start = datetime.fromisoformat(each.pop("sessionStart"))
        for name in ("sessionEnd", "lastActivityAt"):
            if each[name] is not None:
                each[name] = (datetime.fromisoformat(each[name]) - start) // timedelta(minutes=1)
        each["modulesStats"].sort(key=lambda stats: stats["moduleName"])
        each["start"] = round(start.timestamp() / 30)
        del each["userId"], each["courseId"], each["courseTitle"]
    return sorted(sessions, key=lambda each: str(each["id"]))


def test_an_offline_device_equals_an_online_one_though_the_server_is_killed_between_batches(tmp_path: Path):
    chance = random.Random()
    afternoons = three_days(chance)
    studies, minutes = [], []
    for name in ("online", "offline"):
        with (
            running(tmp_path / name, SENECA_SESSION_TIMEOUT_HOURS="0") as server,
            httpx.Client(base_url=server.url, timeout=60) as client,
        ):
            tara, alice = sign_up(client, "tara", role="admin"), sign_up(client, "alice")
            courses = [make_course(tara), make_course(tara)]
            if name == "online":
                study_online(alice, afternoons, courses)
            else:
                for batch in device_batches(afternoons, courses, chance):
                    send_interrupted(server, alice, batch, chance)
            studies.append(whole_study(alice))
            minutes.append([alice.get(f"/stats/user/courses/{course['id']}").json() for course in courses])
        assert seneca("stats", "verify", "--data", tmp_path / name).returncode == 0
    online, offline = studies
    assert len(online) == SESSIONS
    for one, other in zip(online, offline, strict=True):
        assert abs(one.pop("start") - other.pop("start")) <= 1
        assert one == other
    for one, other in zip(*minutes, strict=True):
        assert abs(one["sessionTime"]["timeInMinutes"] - other["sessionTime"]["timeInMinutes"]) <= 1
        del one["sessionTime"], other["sessionTime"]
        assert one == other


def test_a_voided_session_does_not_come_back_from_an_offline_device(alice: Person, tara: Person, course):
    chance = random.Random()
    afternoons = three_days(chance)[:20]
    batches = list(device_batches(afternoons, [course, course], chance))
    for batch in batches:
        send_by_device(alice, batch)
    voided = {each.id for each in afternoons[::2]}
    for session_id in voided:
        assert tara.delete(f"/session/{session_id}").status_code == 204
    before = alice.get("/stats/user/sessions").content, alice.get("/stats/user").content
    for batch in batches:
        for each in results(send_by_device(alice, batch)):
            if each["sessionId"] in voided:
                assert (each["status"], each["problem"]["code"]) == (409, "session-voided")
            else:
                assert each["status"] == 200
    assert (alice.get("/stats/user/sessions").content, alice.get("/stats/user").content) == before


def test_an_end_that_an_administrator_set_stays_whatever_a_device_sends(alice: Person, tara: Person, course):
    chance = random.Random()
    afternoons = three_days(chance)[:10]
    batches = list(device_batches(afternoons, [course, course], chance))
    for batch in batches:
        send_by_device(alice, batch)
    for each in afternoons:
        body = {"sessionStart": iso(each.start - timedelta(hours=1)), "sessionEnd": iso(each.start + 90 * SECOND)}
        assert tara.patch(f"/session/{each.id}", body).status_code == 200
    before = alice.get("/stats/user/sessions").content, alice.get("/stats/user").content
    for batch in batches:
        assert alice.post(PATH, {"sessions": batch, "sentAt": iso(datetime.now(UTC) - WRONG)}).status_code == 200
    assert alice.get("/stats/user").content == before[1]
    times = [
        (each["sessionStart"], each["sessionEnd"], each["endedBy"]) for each in alice.get("/stats/user/sessions").json()
    ]
    for each in afternoons:
        start = iso(each.start - timedelta(hours=1)).replace("+00:00", "Z")
        assert (start, iso(each.start + 90 * SECOND).replace("+00:00", "Z"), "administrator") in times
