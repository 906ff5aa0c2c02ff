"""Many at once: every result is there, every total exact, whichever worker process answers."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import TypeVar
from uuid import uuid4

import httpx
import pytest

from tests.helpers import engines
from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.commands import seneca
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server, running
from tests.helpers.wire import NOTHING, clients_of_workers, module, new_session, statistics

T = TypeVar("T")
CLIENTS = 64
RESULTS_OF_COURSE = """
SELECT count(*), sum(coalesce(adaptive_score, 0) + coalesce(quiz_score, 0))
FROM sessions s JOIN results r ON r.bucket = s.bucket AND r.learner_id = s.learner_id AND r.session_id = s.id
WHERE s.course_id = :id
"""
TIME_OF_COURSE = "SELECT count(*), sum(ended_at - started_at) FROM sessions WHERE course_id = :id"


@dataclass
class Crowd:
    """A server, its administrator, and a connection for each of many clients."""

    server: Server
    workers: int
    clients: list[httpx.Client]
    tara: Person

    def learners(self, count: int) -> list[Person]:
        """New learners, each with a connection of their own."""
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(lambda client: sign_up(client, "learner"), self.clients[:count]))

    def devices(self, person: Person) -> list[Person]:
        """One person, on each of the connections."""
        return [Person(client, person.token, person.id) for client in self.clients]

    def at_once(self, people: list[Person], act: Callable[[int, Person], T]) -> list[T]:
        """What each does, all beginning at the same moment."""
        barrier = Barrier(len(people))

        def begin(number: int, person: Person) -> T:
            barrier.wait(timeout=60)
            return act(number, person)

        with ThreadPoolExecutor(len(people)) as threads:
            return list(threads.map(begin, range(len(people)), people))


WORKERS = [2] if engines.chosen == "sqlite" else [4]


@pytest.fixture(scope="module", params=WORKERS, ids=lambda workers: f"{workers}-workers")
def crowd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    workers: int = request.param
    with running(tmp_path_factory.mktemp("crowd"), "--workers", str(workers)) as server:
        limits = httpx.Limits(keepalive_expiry=600)
        clients = [httpx.Client(base_url=server.url, timeout=60, limits=limits) for _ in range(CLIENTS)]
        try:
            yield Crowd(server, workers, clients, sign_up(clients[0], "tara", role="admin"))
            verified = seneca("stats", "verify", "--data", server.data)
            assert verified.returncode == 0, verified.stdout
        finally:
            for client in clients:
                client.close()


def agrees_with_rows(crowd: Crowd, course: dict) -> dict:
    """Assert that a course's statistics are what the rows add up to; returns them."""
    [(results, thousandths)] = crowd.server.rows(RESULTS_OF_COURSE, id=course["id"])
    [(sessions, milliseconds)] = crowd.server.rows(TIME_OF_COURSE, id=course["id"])
    found = crowd.tara.get(f"/stats/courses/{course['id']}").json()
    assert found["scores"] == {
        "totalSessionPoints": thousandths / 1000,
        "overallAverageScore": thousandths / (2000 * results),
    }
    assert found["sessionTime"]["timeInMinutes"] == (milliseconds or 0) // 60_000
    kept = "SELECT sum(sessions), sum(results), sum(points), sum(milliseconds) FROM {} WHERE course_id = :id"
    for table in ("course_totals", "learner_totals"):
        assert crowd.server.rows(kept.format(table), id=course["id"]) == [
            (sessions, results, thousandths, milliseconds or 0)
        ]
    return found


def test_64_clients_append_to_one_session(crowd: Crowd):
    course = make_course(crowd.tara)
    [alice] = crowd.learners(1)
    session_id = alice.start(course)

    def append(number: int, device: Person) -> None:
        for step in range(4):
            device.update(session_id, module(f"C{number:02} S{step}", 0.1, number), module("Shared", step, 0.001))

    crowd.at_once(crowd.devices(alice), append)
    session = alice.get(f"/session/{session_id}").json()
    names = {f"C{number:02} S{step}" for number in range(CLIENTS) for step in range(4)} | {"Shared"}
    stats = {entry["moduleName"]: entry for entry in session["modulesStats"]}
    assert set(stats) == names
    assert len(session["modulesStats"]) == len(names) == 257
    for number in range(CLIENTS):
        for step in range(4):
            entry = stats[f"C{number:02} S{step}"]
            assert (entry["adaptive"]["score"], entry["quiz"]["score"]) == (0.1, number)
    shared = stats["Shared"]["adaptive"]["score"]
    assert shared in range(4)
    assert stats["Shared"]["quiz"]["score"] == 0.001
    points = (4 * (100 * CLIENTS + 1000 * sum(range(CLIENTS))) + 1000 * shared + 1) / 1000
    assert session["sessionPoints"] == points
    positions = crowd.server.rows("SELECT position FROM results WHERE session_id = :id ORDER BY 1", id=session_id)
    assert positions == [(i,) for i in range(257)]
    found = agrees_with_rows(crowd, course)
    assert found["moduleAmount"] == {"totalModulesStudied": 257, "moduleNames": sorted(names)}
    assert found["scores"]["totalSessionPoints"] == points
    assert alice.get(f"/stats/courses/{course['id']}").json() == found


def test_64_learners_study_one_course(crowd: Crowd):
    course = make_course(crowd.tara)
    learners = crowd.learners(CLIENTS)

    def study(number: int, learner: Person) -> dict:
        session_id = learner.start(course)
        learner.update(session_id, module("Integers", 0.1, 0.2), module(f"Own {number:02}", 1))
        learner.update(session_id, module("Fractions", number), module("Integers", None, 0.3))
        learner.end(session_id)
        return learner.get(f"/stats/courses/{course['id']}").json()

    for number, seen in enumerate(crowd.at_once(learners, study)):
        thousandths = 1400 + 1000 * number
        expected = statistics(
            "Fractions", "Integers", f"Own {number:02}", points=thousandths / 1000, mean=thousandths / 6000
        )
        assert seen | {"sessionTime": None} == expected | {"sessionTime": None}
    found = agrees_with_rows(crowd, course)
    assert found["scores"]["totalSessionPoints"] == (1400 * CLIENTS + 1000 * sum(range(CLIENTS))) / 1000
    assert found["moduleAmount"]["moduleNames"] == [
        "Fractions",
        "Integers",
        *(f"Own {number:02}" for number in range(CLIENTS)),
    ]


def test_of_64_equal_starts_one_starts_a_session(crowd: Crowd):
    course = make_course(crowd.tara)
    [alice] = crowd.learners(1)
    session_id = str(uuid4())
    payload = {"courseIdentifier": course["id"], "topic": "Number", "sessionId": session_id}
    answers = crowd.at_once(crowd.devices(alice), lambda _, device: device.post("/session/startSession", payload))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: CLIENTS - 1}
    assert {answer.content for answer in answers} == {answers[0].content}
    assert crowd.server.rows("SELECT count(*) FROM sessions WHERE id = :id", id=session_id) == [(1,)]
    totals = "SELECT sessions FROM {} WHERE course_id = :id"
    for table in ("learner_totals", "course_totals"):
        assert crowd.server.rows(totals.format(table), id=course["id"]) == [(1,)]


def test_64_learners_start_with_one_id(crowd: Crowd):
    course = make_course(crowd.tara)
    session_id = str(uuid4())

    def start(number: int, learner: Person) -> float:
        assert learner.start(course, sessionId=session_id) == session_id
        learner.update(session_id, module("Integers", number))
        return learner.get(f"/session/{session_id}").json()["sessionPoints"]

    assert crowd.at_once(crowd.learners(CLIENTS), start) == list(range(CLIENTS))
    agrees_with_rows(crowd, course)


def end(payload: dict, _: int, device: Person) -> httpx.Response:
    return device.put("/session/endSession", payload)


def test_of_two_racing_ends_one_ends_the_session(crowd: Crowd):
    course = make_course(crowd.tara)
    [alice] = crowd.learners(1)
    for _ in range(10):
        payload = {"sessionId": new_session(alice, course, module("Integers", 1))}
        ends = crowd.at_once(crowd.devices(alice)[:2], partial(end, payload))
        assert sorted(answer.status_code for answer in ends) == [200, 409]
        assert ends[0].json()["sessionEnd"] == ends[1].json()["sessionEnd"]
    agrees_with_rows(crowd, course)


def test_an_end_among_updates(crowd: Crowd):
    course = make_course(crowd.tara)
    [alice] = crowd.learners(1)
    session_id = alice.start(course)

    def act(number: int, device: Person) -> tuple[int, bool]:
        if number == CLIENTS // 2:
            device.end(session_id)
            return number, False
        body = {"sessionId": session_id, "moduleStats": [module(f"M{number}", 1)]}
        status = device.put("/session/updateSession", body).status_code
        assert status in (200, 409)
        return number, status == 200

    recorded = {f"M{number}" for number, done in crowd.at_once(crowd.devices(alice), act) if done}
    session = alice.get(f"/session/{session_id}").json()
    assert {entry["moduleName"] for entry in session["modulesStats"]} == recorded
    assert (session["isEnd"], session["sessionPoints"]) == (True, len(recorded))


def test_a_full_session_stays_within_its_limit(crowd: Crowd):
    course = make_course(crowd.tara)
    [alice] = crowd.learners(1)
    session_id = alice.start(course)
    for start in range(0, 980, 196):
        alice.update(session_id, *(module(f"M{i}", 1) for i in range(start, start + 196)))

    def append(number: int, device: Person) -> int:
        body = {"sessionId": session_id, "moduleStats": [module(f"A{number}", 1), module(f"B{number}", 1)]}
        return device.put("/session/updateSession", body).status_code

    assert Counter(crowd.at_once(crowd.devices(alice), append)) == {200: 10, 409: CLIENTS - 10}
    assert alice.get(f"/session/{session_id}").json()["sessionPoints"] == 1000
    agrees_with_rows(crowd, course)


def test_of_racing_courses_with_one_title_one_is_made(crowd: Crowd):
    body = {"courseTitle": str(uuid4())[:30], "qualification": "GCSE", "topicsAndModules": []}
    answers = crowd.at_once(crowd.devices(crowd.tara), lambda _, tara: tara.post("/course/create", body))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: CLIENTS - 1}
    assert crowd.server.rows("SELECT count(*) FROM courses WHERE title = :t", t=body["courseTitle"]) == [(1,)]


def delete_or_start(course: dict, number: int, person: Person) -> int:
    if number == 0:
        return person.delete(f"/course/{course['id']}").status_code
    return person.post("/session/startSession", {"courseIdentifier": course["id"], "topic": "Number"}).status_code


def test_a_course_is_deleted_or_studied_never_both(crowd: Crowd):
    [alice] = crowd.learners(1)
    tara, learner = crowd.devices(crowd.tara)[1], crowd.devices(alice)[2]
    for _ in range(10):
        course = make_course(crowd.tara)
        deleted, started = crowd.at_once([tara, learner], partial(delete_or_start, course))
        assert (deleted, started) in ((204, 404), (409, 201))


def test_no_statistic_is_stale_on_any_worker(crowd: Crowd):
    [alice] = crowd.learners(1)
    course = make_course(crowd.tara)
    connections = clients_of_workers(crowd.server, crowd.workers)
    course_id = course["id"]
    expected = NOTHING
    session_id = alice.start(course)

    def check() -> None:
        """Read everything from every worker, at once after a write."""
        for connection in connections:
            learner, tara = Person(connection, alice.token), Person(connection, crowd.tara.token)
            for person, path in (
                (learner, f"/stats/courses/{course_id}"),
                (tara, f"/stats/courses/{course_id}"),
                (learner, "/stats/user"),
                (learner, f"/stats/user/courses/{course_id}"),
                (tara, f"/stats/users/{alice.id}"),
                (tara, f"/stats/users/{alice.id}/courses/{course_id}"),
                (learner, f"/stats/courses/{course_id}/sessions/{session_id}"),
                (learner, f"/stats/user/courses/{course_id}/sessions/{session_id}"),
            ):
                found = person.get(path).json()
                assert found.pop("sessionId", session_id) == session_id
                assert found == expected, path
            session = learner.get(f"/session/{session_id}").json()
            assert session["sessionPoints"] == expected["scores"]["totalSessionPoints"]
            assert learner.get("/stats/user/sessions").json() == [session]
            assert tara.get(f"/stats/users/{alice.id}/sessions").json() == [session]
            assert tara.get(f"/stats/sessions/{course_id}").json() == [session]

    check()
    for step in range(20):
        writer = Person(connections[step % crowd.workers], alice.token)
        writer.update(session_id, module(f"M{step:02}", 1, 1), module("Again", step))
        names = [f"M{number:02}" for number in range(step + 1)]
        points = 2 * (step + 1) + step
        expected = statistics("Again", *names, points=points, mean=points / (2 * (step + 2)))
        check()
    alice.end(session_id)
    check()
    for connection in connections:
        connection.close()


def test_a_changed_course_is_seen_on_every_worker(crowd: Crowd):
    connections = clients_of_workers(crowd.server, crowd.workers)
    course = make_course(crowd.tara)
    for step in range(10):
        tara = Person(connections[step % crowd.workers], crowd.tara.token)
        course = tara.put(f"/course/{course['id']}", {"qualification": f"Q{step}"}).json()
        for connection in connections:
            assert connection.get(f"/course/{course['id']}").json() == course
    crowd.tara.delete(f"/course/{course['id']}")
    for connection in connections:
        assert connection.get(f"/course/{course['id']}").status_code == 404
        connection.close()


def test_of_64_equal_registrations_one_makes_an_account(crowd: Crowd):
    name = unique("racer")
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    answers = crowd.at_once([Person(c) for c in crowd.clients], lambda _, person: person.post("/auth/register", body))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: CLIENTS - 1}
    assert len(crowd.server.rows("SELECT 1 FROM accounts WHERE username = :name", name=name)) == 1


@pytest.mark.parametrize("workers", WORKERS)
def test_of_64_first_administrators_one_is_made(tmp_path: Path, workers: int):
    with running(tmp_path, "--workers", str(workers)) as server, ThreadPoolExecutor(CLIENTS) as threads:

        def register(number: int) -> int:
            body = {"username": f"a{number}", "email": f"a{number}@example.org", "password": PASSWORD, "role": "admin"}
            return httpx.post(f"{server.url}/auth/register", json=body, timeout=60).status_code

        assert Counter(threads.map(register, range(CLIENTS))) == {201: 1, 403: CLIENTS - 1}
        assert server.rows("SELECT count(*) FROM accounts") == [(1,)]
