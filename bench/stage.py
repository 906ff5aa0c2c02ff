"""A running Seneca with people in it: an administrator, learners with tokens and open sessions, two courses."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import httpx

from bench.rounds import Contender
from bench.wrk import NUMBER, Failed, Request, drive

PASSWORD = "securePassword123"
LEARNERS = 64
SESSIONS_EACH = 30
MODULES = ["Integers", "Fractions", "Decimals"]
PART = {"answers": ["A", "B"], "isCompleted": True, "score": NUMBER}
UPDATED = [
    {"moduleName": MODULES[0], "quiz": PART},
    {"moduleName": MODULES[1], "adaptive": PART, "quiz": PART},
    {"moduleName": MODULES[2], "adaptive": PART},
]
"""Three modules of results, as an update carries them."""
ENDABLE = 10_000  # sessions that must be there before ending them is measured

UNENDED = """
SELECT s.learner_id, s.id FROM sessions s
WHERE s.course_id = :course_id AND s.topic = 'Starting' AND s.ended_at IS NULL
"""


@dataclass(frozen=True)
class Learner:
    """Someone who is signed in and has a session open."""

    name: str
    id: str
    token: str
    session_id: str


@dataclass(frozen=True)
class Stage:
    """Who and what is there. The written course is another than the read one where reading must stay comparable."""

    port: int
    data: Path
    admin: str
    learners: Sequence[Learner]
    read_course: str
    written_course: str
    unended: Callable[[str], list[tuple[str, str]]]
    """Of a course: the learner and the id of each session that the benchmark started and has not ended."""

    def contender(self) -> Contender:
        """Every operation, as requests to this server."""
        one, each = self._one, self._each
        return Contender(
            self.port,
            {
                "no-op": lambda: one("GET", "/health"),
                "course": lambda: one("GET", f"/course/{self.read_course}"),
                "statistic of a course": lambda: one("GET", f"/stats/courses/{self.read_course}", self.admin),
                "statistic of a learner": lambda: each("GET", f"/stats/user/courses/{self.read_course}"),
                "list of 30 sessions": lambda: each("GET", "/stats/user/sessions?limit=30"),
                "start": self._starts,
                "update with three modules": self._updates,
                "end": self._ends,
                "sign-in": lambda: [
                    Request("POST", "/auth/login", "", {"username": learner.name, "password": PASSWORD})
                    for learner in self.learners
                ],
            },
        )

    def _one(self, method: str, path: str, token: str = "") -> list[Request]:
        return [Request(method, path, token)]

    def _each(self, method: str, path: str, body: object = None) -> list[Request]:
        return [Request(method, path, learner.token, body) for learner in self.learners]

    def _starts(self) -> list[Request]:
        body = {"courseIdentifier": self.written_course, "topic": "Starting"}
        return self._each("POST", "/session/startSession", body)

    def _updates(self) -> list[Request]:
        return [
            Request(
                "PUT",
                "/session/updateSession",
                learner.token,
                {"sessionId": learner.session_id, "moduleStats": UPDATED},
            )
            for learner in self.learners
        ]

    def _ends(self) -> list[Request]:
        """One request for each session that was started and has not ended, of which there are enough."""
        while len(rows := self.unended(self.written_course)) < ENDABLE:
            drive(self.port, self._starts(), connections=16, seconds=1)
        tokens = {learner.id: learner.token for learner in self.learners}
        return [
            Request("PUT", "/session/endSession", tokens[learner_id], {"sessionId": session_id}, once=True)
            for learner_id, session_id in rows
        ]


def unended_of(data: Path, course_id: str) -> list[tuple[str, str]]:
    """What ``Stage.unended`` asks of a data directory's SQLite."""
    connection = apsw.Connection(str(data / "seneca.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(UNENDED, {"course_id": course_id}).fetchall()
    finally:
        connection.close()


def ask(client: httpx.Client, method: str, path: str, body: object = None, token: str = "") -> Any:
    """Ask once, while things are prepared; returns the answer's JSON.

    Raises:
        Failed: it was refused.

    """
    answer = client.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"} if token else {})
    if not answer.is_success:
        raise Failed(f"{method} {path}: {answer.status_code} {answer.text}")
    return answer.json()


def sign_in(client: httpx.Client, name: str) -> str:
    """A token. Raises Failed."""
    return str(ask(client, "POST", "/auth/login", {"username": name, "password": PASSWORD})["token"])


def set_up(port: int, data: Path) -> Stage:
    """Fill a new Seneca over HTTP: ``LEARNERS`` learners with ``SESSIONS_EACH`` sessions of three modules each.

    Raises:
        Failed: a request was refused.

    """
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        _register(client, "tara", "admin")
        admin = sign_in(client, "tara")
        read_course, written_course = (
            _create_course(client, admin, title) for title in ("Mathematics - GCSE", "Statistics - GCSE")
        )
        with ThreadPoolExecutor(4) as pool:
            learners = list(pool.map(lambda n: _study(client, f"learner-{n}", read_course), range(LEARNERS)))
    return Stage(port, data, admin, learners, read_course, written_course, partial(unended_of, data))


def _register(client: httpx.Client, name: str, role: str) -> str:
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD, "role": role}
    return str(ask(client, "POST", "/auth/register", body)["userId"])


def _create_course(client: httpx.Client, admin: str, title: str) -> str:
    topics = [{"topic": topic, "modules": MODULES} for topic in ("Number", "Starting")]
    body = {"courseTitle": title, "qualification": "GCSE", "topicsAndModules": topics}
    return str(ask(client, "POST", "/course/create", body, admin)["newCourse"]["id"])


def _study(client: httpx.Client, name: str, course_id: str) -> Learner:
    """A new learner who has studied; the last session stays open."""
    id_ = _register(client, name, "user")
    token = sign_in(client, name)
    session_id = ""
    for number in range(SESSIONS_EACH):
        start = {"courseIdentifier": course_id, "topic": "Number"}
        session_id = ask(client, "POST", "/session/startSession", start, token)["sessionId"]
        update = {"sessionId": session_id, "moduleStats": scored(UPDATED, number)}
        ask(client, "PUT", "/session/updateSession", update, token)
    return Learner(name, id_, token, session_id)


def scored(modules: Any, score: int) -> Any:
    """Modules with this score wherever one is to vary."""
    if isinstance(modules, dict):
        return {key: scored(value, score) for key, value in modules.items()}
    if isinstance(modules, list):
        return [scored(value, score) for value in modules]
    return score if modules == NUMBER else modules
