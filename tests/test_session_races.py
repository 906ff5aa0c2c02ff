"""Corrections, batches, timeouts, erasure, prune and import at once: totals are right, the audit is complete, nothing deadlocks."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from seneca.database import open_database
from seneca.privacy import retention
from seneca.sessions import timeouts
from tests.helpers import engines
from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.commands import seneca, seneca_process
from tests.helpers.engines import engine
from tests.helpers.exchange import write
from tests.helpers.server import Server
from tests.helpers.wire import module
from tests.test_session_batch import item, results, send
from tests.test_session_times import ago, iso, session

ROUNDS = 4
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
OLD = ago(days=20)
Items = list[dict[str, Any]]


def at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """Run jobs that begin at the same moment; returns what each returns."""
    barrier = threading.Barrier(len(jobs))

    def begin(job: Callable[[], Any]) -> Any:
        barrier.wait(30)
        return job()

    with ThreadPoolExecutor(len(jobs)) as threads:
        return [future.result() for future in [threads.submit(begin, job) for job in jobs]]


@contextmanager
def connection(server: Server, person: Person) -> Iterator[Person]:
    """The same person with a connection of their own."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield Person(client, person.token, person.id)


def repeat_batch(server: Server, learner: Person, items: Items, times: int) -> Counter[int]:
    """Send a batch again and again, in both orders; counts the statuses of requests and items."""
    statuses: Counter[int] = Counter()
    with connection(server, learner) as own:
        for number in range(times):
            answer = send(own, *(items if number % 2 else items[::-1]))
            statuses[answer.status_code] += 1
            if answer.status_code == 200:
                statuses.update(each["status"] for each in results(answer))
    return statuses


def update(server: Server, learner: Person, items: Items) -> Counter[int]:
    with connection(server, learner) as own:
        bodies = [{"sessionId": each["sessionId"], "moduleStats": [module("U", quiz=1)]} for each in items]
        return Counter(own.put("/session/updateSession", body).status_code for body in bodies)


def correct(server: Server, tara: Person, learner: Person, items: Items) -> Counter[int]:
    body = {"sessionStart": iso(OLD - timedelta(minutes=1)), "sessionEnd": iso(OLD + timedelta(minutes=50))}
    with connection(server, tara) as own:
        paths = [f"/session/{each['sessionId']}?userId={learner.id}" for each in items]
        return Counter(own.patch(path, body).status_code for path in paths)


def void(server: Server, tara: Person, learner: Person, items: Items) -> Counter[int]:
    with connection(server, tara) as own:
        paths = [f"/session/{each['sessionId']}?userId={learner.id}" for each in items]
        return Counter(own.delete(path).status_code for path in paths)


def end_forgotten(server: Server) -> int:
    before = time.time_ns() // 1_000_000 - 12 * 3_600_000
    with closing(open_database(engine().url(server.data))) as database:
        return asyncio.run(timeouts.end_all_forgotten(database, before))


def prune(server: Server, minutes: int) -> None:
    before = int((OLD + timedelta(minutes=minutes)).timestamp() * 1000)
    with closing(open_database(engine().url(server.data))) as database:
        asyncio.run(retention.prune(database, months=1, before=before, now=before))


def verified(server: Server) -> None:
    done = seneca("stats", "verify", "--data", server.data)
    assert done.returncode == 0, done.stdout
    assert "unhandled exception" not in server.log.read_text()
    if engines.chosen.startswith("postgres"):  # which would end one of two deadlocked transactions, and it is run again
        assert server.rows(DEADLOCKS) == [(0,)]


def study(courses: list[dict[str, Any]], number: int) -> Items:
    """A dozen sessions in turn on each course, of which every third is open."""
    return [
        item(
            courses[n % 2],
            module(f"M{n % 3}", quiz=n),
            module(f"R{number}", adaptive=n),
            sessionStart=iso(OLD + timedelta(minutes=n)),
            **({"sessionEnd": iso(OLD + timedelta(minutes=n + 5))} if n % 3 else {}),
        )
        for n in range(12)
    ]


def test_corrections_race_with_updates_batches_timeouts_and_prune(server: Server, tara: Person):
    courses = [make_course(tara), make_course(tara)]
    learners = [sign_up(tara.client, "racer") for _ in range(3)]
    first, second, third = learners
    corrected = voided = 0
    for number in range(ROUNDS):
        items = [study(courses, number) for _ in learners]
        for learner, each in zip(learners, items, strict=True):
            assert {result["status"] for result in results(send(learner, *each))} == {201}
        late = [[each | {"moduleStats": [module(f"Late {number}")]} for each in batch] for batch in items]
        outcome = at_once(
            partial(correct, server, tara, first, items[0]),
            partial(correct, server, tara, second, items[1][::-1]),
            partial(void, server, tara, first, items[0][::3]),
            partial(void, server, tara, first, items[0][::-3]),
            *(partial(repeat_batch, server, *pair, 3) for pair in zip(learners, late, strict=True)),
            *(partial(update, server, *pair) for pair in zip(learners, items, strict=True)),
            partial(prune, server, 4 * (number % 2)),
            partial(end_forgotten, server),
            partial(end_forgotten, server),
        )
        corrections, voids = outcome[0] + outcome[1], outcome[2] + outcome[3]
        assert set(corrections) <= {200, 404}
        assert set(voids) <= {204, 404}
        assert set().union(*outcome[4:10]) <= {200, 201, 404, 409}
        corrected += corrections[200]
        voided += voids[204]
        verified(server)
    assert tara.delete(f"/users/{third.id}").status_code == 204
    verified(server)
    acts = "SELECT count(*) FROM audit WHERE act = :act AND subject IN (:first, :second)"
    ids = {"first": first.id, "second": second.id}
    assert server.rows(acts, act="session.voided", **ids) == [(voided,)]
    assert server.rows(acts, act="session.corrected", **ids) == [(corrected,)]
    assert server.rows("SELECT count(*) FROM voided_sessions WHERE learner_id = :id", id=first.id) == [(voided,)]


def test_an_erasure_races_with_batches_and_corrections(server: Server, tara: Person, course):
    for _ in range(ROUNDS):
        learner = sign_up(tara.client, "leaving")
        items = [item(course, module(f"M{n}", quiz=1), sessionStart=iso(OLD)) for n in range(20)]
        assert {each["status"] for each in results(send(learner, *items))} == {201}
        more = [item(course, module("New", quiz=2)) for _ in range(20)]
        erased, sent, corrections, voids = at_once(
            partial(tara.delete, f"/users/{learner.id}"),
            partial(repeat_batch, server, learner, items + more, 2),
            partial(correct, server, tara, learner, items),
            partial(void, server, tara, learner, items[::-1]),
        )
        assert erased.status_code == 204
        assert set(sent) <= {200, 201, 401, 409}
        assert set(corrections) <= {200, 404}
        assert set(voids) <= {204, 404}
        for table in ("sessions", "results", "learner_totals", "learner_names", "voided_sessions"):
            assert server.rows(f"SELECT count(*) FROM {table} WHERE learner_id = :id", id=learner.id) == [(0,)]
    verified(server)


def test_a_voided_session_does_not_come_back_with_a_batch_that_waited_for_it(server: Server, tara: Person, course):
    for _ in range(ROUNDS):
        learner = sign_up(tara.client, "offline")
        items = [item(course, module("A", quiz=1), sessionStart=iso(OLD)) for _ in range(30)]
        send(learner, *items)
        at_once(
            *(partial(void, server, tara, learner, items[n::3]) for n in range(3)),
            *(partial(repeat_batch, server, learner, items, 8) for _ in range(3)),
        )
        assert learner.get("/stats/user/sessions").json() == []
        assert {each["problem"]["code"] for each in results(send(learner, *items))} == {"session-voided"}
    verified(server)


def test_of_equal_starts_and_batches_at_once_one_starts_each_session(server: Server, tara: Person):
    courses = [make_course(tara), make_course(tara)]
    for number in range(ROUNDS):
        learner = sign_up(tara.client, "devices")
        items = study(courses, number)
        statuses = sum(at_once(*(partial(repeat_batch, server, learner, items, 1) for _ in range(6))), Counter())
        assert statuses == {200: 6 + 5 * len(items), 201: len(items)}
        assert len(learner.get("/stats/user/sessions").json()) == len(items)
    verified(server)


def test_an_update_that_races_with_the_ending_leaves_the_session_open(server: Server, alice: Person, course):
    for _ in range(8):
        each = item(course, sessionStart=iso(ago(hours=20)))
        send(alice, each)
        _, statuses = at_once(partial(end_forgotten, server), partial(update, server, alice, [each]))
        assert statuses == {200: 1}
        whole = session(alice, each["sessionId"])
        assert (whole["isEnd"], whole["endedBy"], whole["sessionPoints"]) == (False, None, 1)
        end_forgotten(server)
        assert session(alice, each["sessionId"]) == whole
    verified(server)


def test_an_import_races_with_corrections_and_batches(server: Server, tara: Person, course, tmp_path: Path):
    learner = sign_up(tara.client, "moved")
    items = [item(course, module("A", quiz=1), sessionStart=iso(OLD)) for _ in range(60)]
    send(learner, *items[:30])
    lines = [
        {
            "kind": "session",
            "id": each["sessionId"],
            "userId": learner.id,
            "courseId": course["id"],
            "topic": each["topic"],
            "sessionStart": iso(OLD),
            "sessionEnd": iso(OLD + timedelta(hours=1)),
            "isEnd": True,
            "modulesStats": [{"moduleName": "A", "quiz": {"answers": [], "isCompleted": True, "score": 7}}],
        }
        for each in items
    ]
    file = write(tmp_path / "study.jsonl", *lines)
    imported, corrections, sent = at_once(
        partial(seneca_process, "import", file, "--update", "--data", server.data),
        partial(correct, server, tara, learner, items * 4),
        partial(repeat_batch, server, learner, items, 20),
    )
    assert imported.returncode == 0, imported.stderr
    assert set(corrections) <= {200, 404, 503}
    assert set(sent) <= {200, 201, 409, 503}
    verified(server)
