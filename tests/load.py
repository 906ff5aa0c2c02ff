"""Learners who write without end, while servers are stopped, killed, and started again."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from uuid import uuid4

import httpx

from tests import engines
from tests.conftest import Person, Server, make_course, running, seneca, sign_up


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


def alice_of(tara: Person) -> Person:
    """A learner, new."""
    return sign_up(tara.client, "alice")


class Load:
    """Learners who record results without end; keeps what was acknowledged and what was sent.

    Each result is worth a point and has a name of its own, so that one that is lost or counted twice shows.
    """

    def __init__(self, url: str, alice: Person, course: dict, clients: int = 4, pause: float = 0) -> None:
        self.url = url
        self.alice = alice
        self.course = course
        self.sent: dict[str, set[str]] = {}
        self.acknowledged: dict[str, set[str]] = {}
        self.refusals: list[int] = []
        self._pause = pause
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._study) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self.written > 20)
        return self

    @property
    def written(self) -> int:
        """How many results were acknowledged so far."""
        return sum(map(len, self.acknowledged.values()))

    def stop(self) -> None:
        """Send nothing more."""
        self._stop.set()

    def __exit__(self, *_: object) -> None:
        self.stop()
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
                    started = alice.post("/session/startSession", start)
                    if started.status_code not in (200, 201):
                        self.refusals.append(started.status_code)
                        time.sleep(0.05)
                        continue
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
                            self.refusals.append(answer.status_code)
                        time.sleep(self._pause)
                    return
            except httpx.TransportError:
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
        engines.engine().check(server.data)
        verified = seneca("stats", "verify", "--data", server.data)
        assert verified.returncode == 0, verified.stdout + verified.stderr


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
