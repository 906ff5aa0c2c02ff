"""Forgotten sessions are ended at their last event."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from seneca.database import open_database
from seneca.sessions import timeouts
from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.commands import seneca
from tests.helpers.engines import engine
from tests.helpers.server import Server, running
from tests.helpers.wire import module
from tests.test_session_batch import item, results, send
from tests.test_session_times import ago, iso, session

HOUR_MS = 3_600_000
PROMPT = 2.0  # seconds; this machine has other work to do


def end_forgotten(server: Server, hours: float) -> int:
    """End sessions without an event for some hours, as a worker does."""
    database = open_database(engine().url(server.data))
    try:
        return asyncio.run(timeouts.end_all_forgotten(database, time.time_ns() // 1_000_000 - int(hours * HOUR_MS)))
    finally:
        database.close()


def wait_for_end(person: Person, session_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while not (whole := session(person, session_id))["isEnd"]:
        assert time.monotonic() < deadline, "the session was not ended"
        time.sleep(0.1)
    return whole


def test_a_server_ends_them_at_their_last_event_at_its_start(tmp_path: Path):
    with running(tmp_path) as server, httpx.Client(base_url=server.url) as client:
        tara, alice = sign_up(client, "tara", role="admin"), sign_up(client, "alice")
        course = make_course(tara)
        last = ago(days=6)
        forgotten = item(
            course, module("A", quiz=1) | {"recordedAt": iso(last)}, sessionStart=iso(last - timedelta(minutes=90))
        )
        recent = item(course, sessionStart=iso(ago(hours=11)))
        assert [each["status"] for each in results(send(alice, forgotten, recent))] == [201, 201]
        assert not session(alice, forgotten["sessionId"])["isEnd"]
    with (
        running(tmp_path, SENECA_WORKERS="2", SENECA_SESSION_TIMEOUT_HOURS="12") as server,
        httpx.Client(base_url=server.url) as client,
    ):
        alice.client = client
        whole = wait_for_end(alice, forgotten["sessionId"])
        assert whole["sessionEnd"] == whole["lastActivityAt"] == iso(last).replace("+00:00", "Z")
        assert (whole["endedBy"], whole["activeMinutes"]) == ("timeout", 5)
        assert not session(alice, recent["sessionId"])["isEnd"]
        assert alice.get("/stats/user").json()["sessionTime"]["timeInMinutes"] == 90
    assert seneca("stats", "verify", "--data", tmp_path).returncode == 0


def test_an_update_and_an_end_reopen_them(server: Server, alice: Person, course):
    first, second = (item(course, sessionStart=iso(ago(hours=20))) for _ in range(2))
    assert [each["status"] for each in results(send(alice, first, second))] == [201, 201]
    assert end_forgotten(server, 12) >= 2
    assert session(alice, first["sessionId"])["endedBy"] == "timeout"
    assert alice.update(first["sessionId"], module("A", quiz=1))["sessionPoints"] == 1
    assert session(alice, first["sessionId"])["endedBy"] is None
    alice.end(second["sessionId"])
    assert session(alice, second["sessionId"])["endedBy"] == "learner"
    end_forgotten(server, 12)  # it counts from the reopening
    assert not session(alice, first["sessionId"])["isEnd"]


def test_a_late_result_of_the_past_reopens_them_until_the_timeout_after_the_reopening(
    server: Server, alice: Person, course
):
    each = item(course, sessionStart=iso(ago(hours=20)))
    send(alice, each)
    end_forgotten(server, 12)
    late = each | {"moduleStats": [module("A", quiz=2) | {"recordedAt": iso(ago(hours=19))}]}
    assert results(send(alice, late))[0]["status"] == 200
    assert end_forgotten(server, 12) == 0
    assert not session(alice, each["sessionId"])["isEnd"]
    end_forgotten(server, -1)
    whole = session(alice, each["sessionId"])
    assert (whole["endedBy"], whole["sessionEnd"]) == ("timeout", whole["lastActivityAt"])
    assert whole["sessionEnd"] > whole["sessionStart"]


def test_two_workers_end_each_session_once_while_learners_go_on(server: Server, alice: Person, tara: Person, course):
    items = [item(course, sessionStart=iso(ago(hours=20))) for _ in range(150)]
    assert {each["status"] for each in results(send(alice, *items))} == {201}

    async def race() -> list[int]:
        databases = [open_database(engine().url(server.data)) for _ in range(2)]
        before = time.time_ns() // 1_000_000 - 12 * HOUR_MS
        try:
            return await asyncio.gather(*(timeouts.end_all_forgotten(each, before) for each in databases))
        finally:
            for database in databases:
                database.close()

    assert sum(asyncio.run(race())) >= 150
    for each in items[:3]:
        assert session(alice, each["sessionId"])["endedBy"] == "timeout"
    assert seneca("stats", "verify", "--data", server.data).returncode == 0


def test_thousands_are_ended_once_while_others_write_without_delay(server: Server, alice: Person, course):
    """The full measure, 100,000 sessions, is in docs/performance.md."""
    for _ in range(4):
        items = [item(course, sessionStart=iso(ago(hours=20, seconds=n))) for n in range(500)]
        assert {each["status"] for each in results(send(alice, *items))} == {201}
    going_on = alice.start(course)
    seconds: list[float] = []
    with ThreadPoolExecutor(2) as workers:
        endings = [workers.submit(end_forgotten, server, 12) for _ in range(2)]
        while not all(ending.done() for ending in endings):
            began = time.monotonic()
            alice.update(going_on, module("A", quiz=len(seconds)))
            seconds.append(time.monotonic() - began)
    assert sum(ending.result() for ending in endings) >= 2000
    assert max(seconds) < PROMPT
    ended = [each["endedBy"] for each in alice.get("/stats/user/sessions?limit=1000&isEnd=true").json()]
    assert ended == ["timeout"] * 1000
    assert [each["id"] for each in alice.get("/stats/user/sessions?isEnd=false").json()] == [going_on]
    assert seneca("stats", "verify", "--data", server.data).returncode == 0
