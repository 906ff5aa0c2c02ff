"""Learners who write without end, while servers are stopped, killed, and started again."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from uuid import uuid4

import httpx

from seneca.common.times import from_iso, to_iso
from tests.helpers import engines, ledger
from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.commands import seneca
from tests.helpers.ledger import Ledger, Stored, Study
from tests.helpers.server import Server, running
from tests.helpers.wire import statistics


def children(server: Server) -> list[int]:
    """The process ids of a server's workers, and of its writer."""
    threads = Path(f"/proc/{server.process.pid}/task").iterdir()
    return [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]


def writer(server: Server) -> int | None:
    """The process id of the server's writer; None on an engine without one."""
    found = [json.loads(line)["pid"] for line in server.log_lines() if '"writer started"' in line]
    return found[-1] if found else None


def workers(server: Server) -> list[int]:
    """The process ids of a server's workers."""
    return [pid for pid in children(server) if pid != writer(server)]


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
def stage(data: Path, *arguments: str, **environment: str) -> Iterator[tuple[Server, Person, dict]]:
    """A server of one's own with an administrator and a course."""
    with (
        running(data, *arguments, **environment) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        tara = sign_up(client, "tara", role="admin")
        yield server, tara, make_course(tara)


def alice_of(tara: Person) -> Person:
    """A learner, new."""
    return sign_up(tara.client, "alice")


class Load:
    """Clients who start sessions, record results and end them without end, and keep a log of what was acknowledged.

    A request that is refused with 503, or whose answer is lost, is sent again. Two clients share a learner.
    """

    def __init__(self, server: Server, tara: Person, course: dict, clients: int = 4, pause: float = 0) -> None:
        self.ledger = Ledger()
        self.errors: list[int] = []
        self.wrong: list[str] = []
        """Answers that are not what their requests ask for."""
        self.course = course
        self._url = server.url
        self._tara = tara
        self._pause = pause
        self._learners = [alice_of(tara) for _ in range((clients + 1) // 2)]
        self._stopped = threading.Event()
        self._may_ask = threading.Event()
        self._may_ask.set()
        self._held = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self.written > 20)
        return self

    @property
    def written(self) -> int:
        """How many writes were acknowledged so far."""
        return self.ledger.written

    def stop(self) -> None:
        """Send nothing more; returns when nothing is under way."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is under way, and nobody asks for anything, until the block ends."""
        self._may_ask.clear()
        try:
            for _ in self._threads:
                assert self._held.acquire(timeout=60)
            yield
        finally:
            self._may_ask.set()

    def _goes_on(self) -> bool:
        """Whether to ask for more; waits while the load is held."""
        if not self._may_ask.is_set():
            self._held.release()
            self._may_ask.wait()
        return not self._stopped.is_set()

    # -- what a client does --------------------------------------------------------------------

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        known = self._learners[number // 2]
        with httpx.Client(base_url=self._url, timeout=30) as client:
            learner = Person(client, known.token, known.id)
            while self._goes_on():
                self._study(learner, chance)

    def _study(self, learner: Person, chance: random.Random) -> None:
        study = self._start(learner, brings_id=chance.random() < 0.5)
        for _ in range(chance.randrange(1, 25)):
            if study is None or not self._update(learner, study):
                return
        if study is not None:
            self._end(learner, study)

    def _start(self, learner: Person, *, brings_id: bool) -> Study | None:
        payload = {"courseIdentifier": self.course["id"], "topic": "Number"}
        if brings_id:
            study = Study(str(uuid4()), learner.id)
            self.ledger.studies[study.id] = study
            answer = self._answer(lambda: learner.post("/session/startSession", payload | {"sessionId": study.id}))
            study.started = answer is not None and answer.json()["sessionId"] == study.id
            return study if study.started else None

        def send() -> httpx.Response:
            self.ledger.nameless += 1
            return learner.post("/session/startSession", payload)

        answer = self._answer(send)
        if answer is None:
            return None
        study = Study(answer.json()["sessionId"], learner.id, started=True)
        self.ledger.studies[study.id] = study
        self.ledger.nameless -= 1
        return study

    def _update(self, learner: Person, study: Study) -> bool:
        study.sent += 1
        body = {"sessionId": study.id, "moduleStats": ledger.modules(study.sent)}
        answer = self._answer(lambda: learner.put("/session/updateSession", body))
        if answer is None:
            return False
        if answer.status_code != 200 or answer.json()["sessionPoints"] * 1000 != ledger.POINTS * study.sent:
            self.wrong.append(answer.text)
            return False
        study.acknowledged = study.sent
        time.sleep(self._pause)
        return True

    def _end(self, learner: Person, study: Study) -> None:
        study.ending = True
        answer = self._answer(lambda: learner.put("/session/endSession", {"sessionId": study.id}))
        if answer is not None:  # 409 where the first answer was lost
            study.ended = from_iso(answer.json()["sessionEnd"])

    def _answer(self, send: Callable[[], httpx.Response]) -> httpx.Response | None:
        """The answer to a request that is sent until it is answered; None when told to stop."""
        while self._goes_on():
            try:
                answer = send()
            except httpx.TransportError:  # the server is away
                time.sleep(0.02)
                continue
            if answer.status_code in (200, 201, 409):
                return answer
            self.errors.append(answer.status_code)
            time.sleep(0.05)
        return None

    # -- what must be so -----------------------------------------------------------------------

    def check(self, server: Server) -> dict[str, Stored]:
        """Everything acknowledged is stored once and whole, nothing else is, and every total says so.

        The load is held, or the server stopped. Returns what is stored.
        """
        stored = ledger.read(server.rows)
        found = list(self.ledger.faults(stored)) + self.wrong
        assert not found, found
        engines.engine().check(server.data)
        verified = seneca("stats", "verify", "--data", server.data)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        return stored

    def check_answers(self, server: Server) -> None:
        """As ``check``; and a running server answers what is stored. The load is held."""
        stored = self.check(server)
        course = f"/stats/courses/{self.course['id']}"
        with httpx.Client(base_url=server.url, timeout=30) as client:
            tara = Person(client, self._tara.token)
            assert tara.get(course).json() == expected(list(stored.values()))
            for known in self._learners:
                learner = Person(client, known.token)
                own = [session for session in stored.values() if session.learner == known.id]
                assert learner.get(course).json() == expected(own)
                for session in random.sample(own, min(5, len(own))):
                    check_session(learner, session)


def expected(sessions: list[Stored]) -> dict:
    """The statistics of these sessions."""
    results = sum(len(session.results) for session in sessions)
    points = sum(session.points for session in sessions)
    minutes = sum(session.ended - session.started for session in sessions if session.ended is not None) // 60_000
    return statistics(
        *sorted({name for session in sessions for name in session.results}),
        points=points / 1000,
        mean=points / (2000 * results) if results else 0,
        minutes=minutes,
        duration=f"{minutes // 60} hours {minutes % 60} minutes",
    )


def check_session(learner: Person, session: Stored) -> None:
    """A session is shown as it is stored."""
    shown = learner.get(f"/session/{session.id}").json()
    assert shown["sessionPoints"] * 1000 == session.points
    assert shown["sessionEnd"] == (None if session.ended is None else to_iso(session.ended))
    scores = {module["moduleName"]: module["quiz"]["score"] * 1000 for module in shown["modulesStats"]}
    assert scores == {name: quiz for name, (_, quiz) in session.results.items()}


# -- ending servers ----------------------------------------------------------------------------


def kill(server: Server) -> None:
    """End every process of a server at once, as a loss of power would."""
    os.kill(server.process.pid, signal.SIGSTOP)  # or it would start new workers
    found = children(server)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    server.process.kill()
    server.process.wait()
    wait_for_end(found)


def wait_for_end(pids: list[int]) -> None:
    wait_for(lambda: not any(Path(f"/proc/{pid}/fd/0").exists() for pid in pids))
