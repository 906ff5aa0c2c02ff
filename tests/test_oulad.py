"""Real data: two presentations of an Open University module (tests/data/README.md)."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.helpers.accounts import Person, sign_in
from tests.helpers.commands import seneca
from tests.helpers.server import Server, running

DATA = Path(__file__).parent / "data"
EXPECTED = json.loads((DATA / "oulad-aaa.expected.json").read_text())


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("oulad")
    imported = seneca("import", DATA / "oulad-aaa.jsonl.gz", "--data", data)
    assert imported.returncode == 0, imported.stderr
    made = seneca("admin", "create", "tara", "tara@example.org", "--data", data, input="securePassword123\n")
    assert made.returncode == 0, made.stderr
    with running(data) as server:
        yield server


@pytest.fixture(scope="module")
def administrator(moved: Server) -> Iterator[Person]:
    with httpx.Client(base_url=moved.url, timeout=30) as client:
        yield sign_in(client, "tara")


@pytest.mark.parametrize("course_id", EXPECTED["courses"])
def test_courses_have_the_expected_statistics(administrator: Person, course_id: str):
    answer = administrator.get(f"/stats/courses/{course_id}")
    assert (answer.status_code, answer.json()) == (200, EXPECTED["courses"][course_id])


@pytest.mark.parametrize("course_and_learner", EXPECTED["learners"])
def test_learners_have_the_expected_statistics(administrator: Person, course_and_learner: str):
    course_id, learner_id = course_and_learner.split("/")
    answer = administrator.get(f"/stats/users/{learner_id}/courses/{course_id}")
    assert (answer.status_code, answer.json()) == (200, EXPECTED["learners"][course_and_learner])


def test_the_totals_are_true(moved: Server):
    assert len(EXPECTED["learners"]) == 30
    assert moved.rows("SELECT count(*) FROM sessions") == [(3104,)]
    verified = seneca("stats", "verify", "--data", moved.data)
    assert verified.returncode == 0, verified.stdout


def test_accounts_without_a_hash_cannot_sign_in(administrator: Person):
    body = {"username": "oulad-6516", "password": "securePassword123"}
    assert administrator.client.post("/auth/login", json=body).status_code == 401
