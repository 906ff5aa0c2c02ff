"""seneca backup, seneca restore, and on PostgreSQL its own tools: what comes back, and what must not."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.conftest import PASSWORD, Person, Server, make_course, refused, running, seneca, sign_in, sign_up
from tests.engines import Postgres, engine, name_of

DATA = Path(__file__).parent / "data"
OF_THE_MOMENT = {"sign_ins", "revocations", "properties"}
"""Tables in which a restore is meant to change something."""
Kept = dict[str, list[tuple[Any, ...]]]


def kept(data: Path) -> Kept:
    """Every row of every table that a restore brings back.

    ``name_changes`` goes on, and so there may be rows of totals that count nothing.
    """
    found = {}
    for table in sorted(set(engine().tables(data)) - OF_THE_MOMENT):
        columns = [column for column in engine().columns(data, table) if column != "name_changes"]
        counting = " WHERE sessions > 0" if table in ("learner_totals", "course_totals") else ""
        found[table] = sorted(engine().rows(data, f"SELECT {', '.join(columns)} FROM {table}{counting}"), key=repr)
    return found


def back_up(data: Path, file: Path) -> None:
    """As docs/backup.md says for this engine."""
    used = engine()
    if isinstance(used, Postgres):
        command = [used.binaries / "pg_dump", "--format=custom", "--no-owner", f"--file={file}", used.url(data)]
        subprocess.run(command, check=True)
    else:
        done = seneca("backup", file, "--data", data)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


def put_back(file: Path, data: Path) -> str:
    """As docs/backup.md says for this engine: on PostgreSQL no server may run. Returns what the command said."""
    used = engine()
    if isinstance(used, Postgres):
        with psycopg.connect(used.url(data).rsplit("/", 1)[0] + "/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name_of(data)}")
            connection.execute(f"CREATE DATABASE {name_of(data)} ENCODING 'UTF8' TEMPLATE template0")
        command = [used.binaries / "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={used.url(data)}", file]
        subprocess.run(command, check=True)
        done = seneca("restore", "--in-place", "--data", data)
    else:
        done = seneca("restore", file, "--yes", "--data", data)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr


def client_of(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=30)


def answers(tara: Person) -> dict[str, bytes]:
    """What the courses and the statistics answer, byte for byte."""
    courses = [course["id"] for course in tara.get("/course").json()]
    learners = [user["id"] for user in tara.get("/users?limit=1000").json()][::20]
    paths = [
        *(f"/course/{id}" for id in courses),
        *(f"/stats/courses/{id}" for id in courses),
        *(f"/stats/users/{id}" for id in learners),
        *(f"/stats/users/{id}/courses/{courses[0]}" for id in learners),
        *(f"/stats/users/{id}/sessions" for id in learners),
    ]
    return {path: tara.get(path).content for path in paths}


def true(data: Path) -> bool:
    return seneca("stats", "verify", "--data", data).returncode == 0


# -- the drill ---------------------------------------------------------------------------------


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A database of demo data and of two real courses, on which nobody works yet."""
    data = tmp_path / "used"
    assert seneca("demo", "--data", data).returncode == 0
    assert seneca("import", DATA / "oulad-aaa.jsonl.gz", "--data", data).returncode == 0
    return data


def test_the_drill(used: Path, tmp_path: Path):
    file = tmp_path / "backup"
    with running(used) as server, client_of(server) as client:
        tara = sign_up(client, "tara", role="admin")
        alice = sign_up(client, "alice")
        course = make_course(tara)
        session_id = alice.start(course)
        alice.update(session_id, {"moduleName": "Integers", "quiz": {"answers": ["é\u2028"], "score": 74.125}})
        before, answered = kept(used), answers(tara)
        assert len(before["sessions"]) > 3500
        back_up(used, file)
        alice.update(session_id, {"moduleName": "Fractions", "quiz": {"score": -1}})
        alice.end(session_id)
        charlie = sign_up(client, "charlie")
        later = make_course(tara)
        charlie.update(charlie.start(later), {"moduleName": "Equations"})
        charlie.update(charlie.start(course), {"moduleName": "Equations"})
        assert kept(used) != before
        if isinstance(engine(), Postgres):
            server.stop()
        put_back(file, used)
        assert kept(used) == before
    empty = tmp_path / "empty"
    put_back(file, empty)
    assert kept(empty) == before
    for data in (used, empty):
        assert true(data)
        engine().check(data)
        with running(data) as server, client_of(server) as client:
            for person in (tara, alice, charlie):
                refused(Person(client, person.token).get("/auth/me"), 401, "not-signed-in")
            back = sign_in(client, tara.username)
            assert answers(back) == answered
            again = sign_in(client, alice.email)
            again.update(session_id, {"moduleName": "Fractions"})
            assert again.get(f"/stats/user/courses/{course['id']}").json()["moduleAmount"] == {
                "totalModulesStudied": 2,
                "moduleNames": ["Fractions", "Integers"],
            }
            body = {"username": charlie.username, "password": PASSWORD}
            refused(client.post("/auth/login", json=body), 401, "wrong-credentials")
        assert true(data)
