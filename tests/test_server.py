"""`seneca serve`: how it starts, refuses to start, stops, and is killed; nothing acknowledged is lost."""

import os
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from uuid import uuid4

import apsw
import httpx
import pytest

from tests.conftest import Person, Server, free_port, make_course, running, seneca, sign_in, sign_up, start_server


def workers(server: Server) -> list[int]:
    """The process ids of a server's workers."""
    threads = Path(f"/proc/{server.process.pid}/task").iterdir()
    return [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]


def wait_for(what, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def answers(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/health", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def stage(data: Path, *arguments: str) -> Iterator[tuple[Server, Person, dict]]:
    """A server of one's own with an administrator and a course."""
    with running(data, *arguments) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara = sign_up(client, "tara", role="admin")
        yield server, tara, make_course(tara)


class Load:
    """Learners who record results without pause; keeps what was acknowledged and what was sent.

    Each result is worth a point and has a name of its own, so that one that is lost or counted twice shows.
    """

    def __init__(self, url: str, alice: Person, course: dict, clients: int = 4) -> None:
        self.url = url
        self.alice = alice
        self.course = course
        self.sent: dict[str, set[str]] = {}
        self.acknowledged: dict[str, set[str]] = {}
        self.refusals: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._study) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_for(lambda: sum(map(len, self.acknowledged.values())) > 20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _study(self) -> None:
        session_id = str(uuid4())
        sent = self.sent.setdefault(session_id, set())
        acknowledged = self.acknowledged.setdefault(session_id, set())
        while not self._stop.is_set():
            try:
                with httpx.Client(base_url=self.url, timeout=30) as client:
                    alice = Person(client, self.alice.token)
                    start = {
                        "courseIdentifier": self.course["id"],
                        "topic": self.course["topicsAndModules"][0]["topic"],
                        "sessionId": session_id,
                    }
                    assert alice.post("/session/startSession", start).status_code in (200, 201)
                    while not self._stop.is_set() and len(sent) < 1000:
                        name = f"Module {len(sent)}"
                        sent.add(name)
                        answer = alice.put(
                            "/session/updateSession",
                            {"sessionId": session_id, "moduleStats": [{"moduleName": name, "quiz": {"score": 1}}]},
                        )
                        if answer.status_code == 200:
                            acknowledged.add(name)
                        else:
                            self.refusals.append(answer.text)
                    return
            except (httpx.TransportError, AssertionError):
                time.sleep(0.02)  # the server is away

    def check(self, server: Server) -> None:
        """Everything acknowledged is stored once, nothing is that was not sent, and every figure says so."""
        for session_id, sent in self.sent.items():
            rows = server.rows("SELECT module_name FROM results WHERE session_id = :id", id=session_id)
            stored = [row[0] for row in rows]
            assert len(stored) == len(set(stored))
            assert self.acknowledged[session_id] <= set(stored) <= sent
            sessions = server.rows("SELECT 1 FROM sessions WHERE id = :id", id=session_id)
            assert len(sessions) == 1 or (sessions == [] and not sent)
        assert server.rows("PRAGMA integrity_check") == [("ok",)]
        verified = seneca("stats", "verify", "--data", server.data)
        assert verified.returncode == 0, verified.stdout + verified.stderr


def alice_of(server: Server, tara: Person) -> Person:
    return sign_up(tara.client, "alice")


# -- stopping ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_requests_under_way_are_answered_before_it_stops(tmp_path: Path, how: signal.Signals):
    with stage(tmp_path) as (server, tara, course):
        alice = alice_of(server, tara)
        session_id = alice.start(course)
        lock = apsw.Connection(str(tmp_path / "seneca.db"))
        lock.set_busy_timeout(5000)
        lock.execute("BEGIN IMMEDIATE")  # so that the updates are surely under way
        body = {"sessionId": session_id}
        with ThreadPoolExecutor(8) as pool:
            waiting = [
                pool.submit(
                    alice.put, "/session/updateSession", body | {"moduleStats": [{"moduleName": f"Module {n}"}]}
                )
                for n in range(8)
            ]
            time.sleep(0.5)
            server.process.send_signal(how)
            time.sleep(0.5)
            assert not any(future.done() for future in waiting)
            lock.execute("COMMIT")
            assert [future.result().status_code for future in waiting] == [200] * 8
        lock.close()
        assert server.process.wait(timeout=30) == 0
        assert server.rows("SELECT results FROM sessions WHERE id = :id", id=session_id) == [(8,)]
        assert not answers(server)


def test_stopping_under_load_loses_nothing_acknowledged(tmp_path: Path):
    with stage(tmp_path, "--workers", "2") as (server, tara, course):
        with Load(server.url, alice_of(server, tara), course) as load:
            assert server.stop() == 0
        load.check(server)
        assert load.refusals == []
        again = start_server(tmp_path, port=server.port)
        try:
            load.check(again)
        finally:
            again.stop()


def test_stops_soon_though_clients_keep_their_connections(tmp_path: Path):
    with stage(tmp_path) as (server, tara, _):
        assert tara.get("/auth/me").status_code == 200  # and the connection stays open
        idle = socket.create_connection(("127.0.0.1", server.port))
        assert server.stop() == 0
        idle.close()


# -- being killed ------------------------------------------------------------------------------


def kill(server: Server) -> None:
    """End every process of a server at once, as a loss of power would."""
    found = workers(server)
    os.kill(server.process.pid, signal.SIGSTOP)  # or it would start new workers
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    server.process.kill()
    server.process.wait()
    wait_for_end(found)


def wait_for_end(pids: list[int]) -> None:
    wait_for(lambda: not any(Path(f"/proc/{pid}/fd/0").exists() for pid in pids))


def test_kills_under_load_lose_nothing_acknowledged_and_double_nothing(tmp_path: Path):
    with stage(tmp_path) as (server, tara, course), Load(server.url, alice_of(server, tara), course) as load:
        for _ in range(5):
            before = sum(map(len, load.acknowledged.values()))
            kill(server)
            load.check(server)
            server.process = start_server(tmp_path, port=server.port).process
            wait_for(lambda: sum(map(len, load.acknowledged.values())) > before + 20)  # noqa: B023
        load._stop.set()
        kill(server)
        load.check(server)


def test_a_worker_that_died_is_replaced(tmp_path: Path):
    with stage(tmp_path) as (server, tara, _):
        for pid in workers(server):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: answers(server))
        assert tara.get("/auth/me").status_code == 200


def test_workers_whose_server_was_killed_leave(tmp_path: Path):
    with stage(tmp_path, "--workers", "2") as (server, _, _):
        found = workers(server)
        server.process.kill()
        server.process.wait()
        wait_for_end(found)  # one may still answer after the other has gone
        again = start_server(tmp_path, port=server.port)
        assert answers(again)
        again.stop()


# -- a full disk -------------------------------------------------------------------------------


def limit_files(server: Server, most_bytes: int) -> None:
    for pid in [server.process.pid, *workers(server)]:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


def test_a_full_disk_is_answered_503_and_over_when_there_is_room(tmp_path: Path):
    with stage(tmp_path) as (server, tara, course):
        alice = alice_of(server, tara)
        session_id = alice.start(course)
        text = ["x" * 1000] * 200

        def update(n: int) -> httpx.Response:
            module = {"moduleName": f"Module {n}", "quiz": {"answers": text, "score": 1}}
            return alice.put("/session/updateSession", {"sessionId": session_id, "moduleStats": [module]})

        limit_files(server, 2 * 1024 * 1024)
        with ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(update, range(16)))
        statuses = [answer.status_code for answer in outcomes]
        assert set(statuses) == {200, 503}
        refusal = next(answer for answer in outcomes if answer.status_code == 503)
        assert refusal.json()["code"] == "unavailable"
        assert int(refusal.headers["retry-after"]) > 0
        course_of_alice = f"/stats/user/courses/{course['id']}"
        assert alice.get(course_of_alice).json()["scores"]["totalSessionPoints"] == statuses.count(200)
        limit_files(server, resource.RLIM_INFINITY)
        missing = [n for n, status in enumerate(statuses) if status == 503]
        assert {update(n).status_code for n in missing} == {200}
        assert alice.get(course_of_alice).json()["scores"]["totalSessionPoints"] == 16
        assert seneca("stats", "verify", "--data", tmp_path).returncode == 0
        assert '"bug"' not in server.log.read_text()


# -- refusing to start -------------------------------------------------------------------------


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Assert that a command was refused with exit status 1 and one line; returns the line."""
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith("seneca: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_port_that_is_taken_is_one_clear_line(server: Server, tmp_path: Path):
    said = one_line(seneca("serve", "--data", tmp_path, "--port", str(server.port)))
    assert f"Port {server.port} on 127.0.0.1 is taken" in said
    assert "--port" in said
    assert answers(server)


def test_an_address_that_is_not_this_machines_is_one_clear_line(tmp_path: Path):
    assert "192.0.2.1" in one_line(seneca("serve", "--data", tmp_path, "--host", "192.0.2.1"))
    assert "no such host" in one_line(seneca("serve", "--data", tmp_path, "--host", "no such host"))


def test_an_unknown_setting_is_one_clear_line(tmp_path: Path):
    done = seneca("serve", "--data", tmp_path, env=os.environ | {"SENECA_PROT": "3000"})
    said = one_line(done)
    assert "Unknown setting SENECA_PROT" in said
    assert "SENECA_PORT" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SENECA_PORT", "65536"),
        ("SENECA_PORT", "-1"),
        ("SENECA_WORKERS", "0"),
        ("SENECA_REGISTRATION", "closed"),
        ("SENECA_LOG_FORMAT", "xml"),
        ("SENECA_SECRET_KEY", "short"),
        ("SENECA_SECRET_KEY", "a" * 64),
        ("SENECA_DATABASE_URL", "mysql://localhost/seneca"),
    ],
)
def test_a_value_that_a_setting_cannot_have_is_one_clear_line(tmp_path: Path, name: str, value: str):
    given = {"SENECA_PORT": str(free_port()), name: value}
    assert name in one_line(seneca("serve", "--data", tmp_path, env=os.environ | given))


@pytest.mark.parametrize(("name", "value"), [("SENECA_PORT", "http"), ("SENECA_WORKERS", "two")])
def test_a_value_of_another_type_is_wrong_usage(tmp_path: Path, name: str, value: str):
    done = seneca("serve", "--data", tmp_path, env=os.environ | {name: value})
    assert (done.returncode, done.stdout) == (2, "")
    assert name in done.stderr
    assert "Traceback" not in done.stderr


# -- several servers ---------------------------------------------------------------------------


def test_two_servers_work_on_one_data_directory(tmp_path: Path):
    with stage(tmp_path) as (server, tara, course), running(tmp_path) as other:
        alice = alice_of(server, tara)
        with httpx.Client(base_url=other.url, timeout=30) as client:
            here, there = alice, sign_in(client, alice.username)
            assert Person(client, alice.token).get("/test/user").text == "User Functionality"
            session_id = here.start(course)
            with ThreadPoolExecutor(8) as pool:
                outcomes = pool.map(
                    lambda n: (here, there)[n % 2].update(
                        session_id, {"moduleName": f"Module {n}", "quiz": {"score": 0.5}}
                    ),
                    range(64),
                )
                assert len(list(outcomes)) == 64
            end = there.end(session_id)
            path = f"/stats/user/courses/{course['id']}"
            assert here.get(path).json() == there.get(path).json()
            assert here.get(path).json()["scores"]["totalSessionPoints"] == 32
            assert here.get(f"/session/{session_id}").json()["sessionEnd"] == end
        assert seneca("stats", "verify", "--data", tmp_path).returncode == 0


def test_start_to_first_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Printed, not asserted: the machine's other work counts too."""
    start_server(tmp_path).stop()
    began = time.monotonic()
    server = start_server(tmp_path)
    seconds = time.monotonic() - began
    server.stop()
    with capsys.disabled():
        print(f"\nstart to first answer: {seconds:.2f} s")  # noqa: T201 this is what the test is for
