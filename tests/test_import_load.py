"""seneca import FILE: very many sessions, beside a running server."""

import random
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from seneca.transfer.importing import MANY
from tests.conftest import make_course, running, seneca, sign_in
from tests.exchange import ALICE_ID, BCRYPT, COURSE_ID, Line, Shell, course, module, session, user

pytestmark = pytest.mark.embedded  # about the file

INDEXES = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name"


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
        before = server.rows(INDEXES)
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
        assert server.rows(INDEXES) == before
        make_course(tara)  # a write goes on as before
    assert shell.true()
    assert shell.rows("PRAGMA integrity_check") == [("ok",)]


def test_a_load_that_fails_leaves_all_as_it_was(tmp_path: Path):
    people, some = load()
    shell = Shell(tmp_path)
    assert shell.load(*people)[0] == 0
    before = shell.rows(INDEXES)
    status, said = shell.load(*some, session(userId=ALICE_ID, courseId=ALICE_ID))
    assert (status, f"line {MANY + 1}: courseId: is no course's" in said) == (1, True)
    assert shell.rows(INDEXES) == before
    assert shell.counts() == (1, 51, 0, 0, 0, 0)
    assert seneca("stats", "verify", "--data", tmp_path).returncode == 0
