"""seneca import FILE: very many sessions, beside a running server."""

import random
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from seneca.transfer.importing import MANY
from tests.conftest import make_course, running, seneca, sign_in
from tests.engines import Databases, Postgres, engine
from tests.exchange import ALICE_ID, BCRYPT, COURSE_ID, Line, Shell, course, module, session, user

KEPT = {
    "sqlite": "SELECT name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name",
    "postgres": """
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 2
    """,
}


def kept(data: Path) -> list[tuple[Any, ...]]:
    """Indexes, and on PostgreSQL constraints."""
    return engine().rows(data, KEPT["postgres" if isinstance(engine(), Databases) else "sqlite"])


def load(learners: int = 50) -> tuple[list[Line], list[Line]]:
    """A course, an administrator and learners, and just as many sessions as make it a load."""
    chance = random.Random(1)
    people = [user(id=str(UUID(int=n)), username=f"learner-{n}") for n in range(learners)]
    some = [
        session(
            id=str(UUID(int=chance.getrandbits(128), version=4)),
            userId=chance.choice(people)["id"],
            modulesStats=[module(f"Module {chance.randrange(9)}", adaptive=None)],
        )
        for _ in range(MANY)
    ]
    return [course(), user(username="tara", role="admin", passwordHash=BCRYPT), *people], some


def test_a_load_is_seen_at_once_by_a_running_server(tmp_path: Path):
    people, some = load()
    shell = Shell(tmp_path)
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        assert shell.load(*people)[0] == 0
        tara = sign_in(client, "tara")
        before = kept(tmp_path)
        assert tara.get(f"/stats/sessions/{COURSE_ID}").json() == []
        assert tara.get(f"/session/{some[7]['id']}").status_code == 404
        status, said = shell.load(*some)
        assert status == 0, said
        assert tara.get(f"/session/{some[7]['id']}").json()["userId"] == some[7]["userId"]
        page = tara.get(f"/stats/sessions/{COURSE_ID}", params={"limit": 1000}).json()
        assert [entry["id"] for entry in page] == sorted(line["id"] for line in some)[:1000]
        statistics = tara.get(f"/stats/courses/{COURSE_ID}").json()
        assert statistics["sessionTime"]["timeInMinutes"] == 30 * MANY
        assert statistics["moduleAmount"]["totalModulesStudied"] == 9
        assert kept(tmp_path) == before
        make_course(tara)  # a write goes on as before
    assert shell.true()
    engine().check(tmp_path)


def test_a_load_that_fails_leaves_all_as_it_was(tmp_path: Path):
    people, some = load()
    shell = Shell(tmp_path)
    assert shell.load(*people)[0] == 0
    before = kept(tmp_path)
    status, said = shell.load(*some, session(userId=ALICE_ID, courseId=ALICE_ID))
    assert (status, f"line {MANY + 1}: courseId: is no course's" in said) == (1, True)
    assert kept(tmp_path) == before
    assert shell.counts() == (1, 51, 0, 0, 0, 0)
    assert seneca("stats", "verify", "--data", tmp_path).returncode == 0


@pytest.mark.postgres
def test_a_load_waits_for_no_reader_where_somebody_has_a_session(tmp_path: Path):
    people, some = load()
    shell = Shell(tmp_path)
    assert shell.load(*people, some[0])[0] == 0
    cluster = engine()
    assert isinstance(cluster, Postgres)
    with psycopg.connect(cluster.url(tmp_path)) as reader:
        reader.execute("SELECT 1 FROM sessions, results LIMIT 1")
        status, said = shell.load(*some)
        assert status == 0, said
    assert shell.counts()[2] == MANY
