"""seneca demo."""

import json
import time
from pathlib import Path

import httpx
import pytest

from tests.helpers.commands import seneca
from tests.helpers.exchange import Shell, user
from tests.helpers.server import running

COURSES = json.loads((Path(__file__).parent / "data" / "reference.json").read_text())["courses"]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_fills_an_empty_database_and_one_learner_can_sign_in(shell: Shell):
    done = seneca("demo", "--data", shell.data)
    assert done.returncode == 0, done.stderr
    username, password = done.stdout.split()
    with running(shell.data) as server:
        answer = httpx.post(f"{server.url}/auth/login", json={"username": username, "password": password})
        assert answer.status_code == 200
        token = {"Authorization": f"Bearer {answer.json()['token']}"}
        stats = httpx.get(f"{server.url}/stats/user", headers=token).json()
        assert stats["sessionTime"]["timeInMinutes"] > 600
        courses = httpx.get(f"{server.url}/course", headers=token).json()
    assert [{name: value for name, value in course.items() if name != "createdAt"} for course in courses] == sorted(
        COURSES, key=lambda course: course["courseTitle"]
    )


def test_is_plausible_and_true(shell: Shell):
    assert seneca("demo", "--data", shell.data).returncode == 0
    now = time.time() * 1000
    ((first, last),) = shell.rows("SELECT min(started_at), max(ended_at) FROM sessions")
    assert now - 150 * 86_400_000 < first < now - 90 * 86_400_000
    assert now - 7 * 86_400_000 < last < now
    ((learners,),) = shell.rows("SELECT count(*) FROM accounts")
    assert learners >= 10
    assert shell.rows("SELECT count(*) FROM accounts WHERE role = 'admin'") == [(0,)]
    assert shell.rows("SELECT count(*) FROM passwords") == [(1,)]
    assert shell.rows("SELECT 1 FROM properties WHERE name = 'administrator-existed'") == []
    assert shell.rows("SELECT count(DISTINCT learner_id) FROM sessions") == [(learners,)]
    assert shell.rows("SELECT 1 FROM results WHERE adaptive_score NOT BETWEEN 0 AND 100000") == []
    modules = {
        (course["id"], entry["topic"], name)
        for course in COURSES
        for entry in course["topicsAndModules"]
        for name in entry["modules"]
    }
    studied = shell.rows(
        "SELECT DISTINCT s.course_id, s.topic, r.module_name FROM sessions s JOIN results r "
        "ON (r.bucket, r.learner_id, r.session_id) = (s.bucket, s.learner_id, s.id)"
    )
    assert set(studied) <= modules
    assert shell.true()


def test_is_the_same_every_time_but_for_the_password(tmp_path: Path):
    shells = [Shell(tmp_path / name) for name in "ab"]
    printed = [seneca("demo", "--data", shell.data).stdout for shell in shells]
    assert printed[0] != printed[1]
    for sql in ("SELECT * FROM results ORDER BY 1, 2, 3, 4", "SELECT * FROM learner_names ORDER BY 1, 2, 3, 4"):
        assert shells[0].rows(sql) == shells[1].rows(sql)


def test_refuses_a_database_that_is_not_empty(shell: Shell):
    assert shell.load(user())[0] == 0
    done = seneca("demo", "--data", shell.data)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "seneca: Demo data needs an empty database; this one has courses or accounts.\n"
    assert shell.counts() == (0, 1, 0, 0, 0, 0)
    assert seneca("demo", "--if-empty", "--data", shell.data).returncode == 0
    assert shell.counts() == (0, 1, 0, 0, 0, 0)
