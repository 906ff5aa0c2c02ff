"""The reference service's example data, moved over: it is answered as that service answers it."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.accounts import Person, sign_in
from tests.helpers.commands import seneca
from tests.helpers.server import Server, running

REFERENCE = json.loads((Path(__file__).parent / "data" / "reference.json").read_text())


def lines() -> Iterator[dict[str, Any]]:
    """The data in the exchange format."""
    for course in REFERENCE["courses"]:
        yield {"kind": "course", **course}
    for user in REFERENCE["users"]:
        members = {name: value for name, value in user.items() if name != "password"}
        yield {"kind": "user", **members, "passwordHash": user["password"]}
    for session in REFERENCE["sessions"]:
        yield {"kind": "session", **{name: value for name, value in session.items() if name != "sessionPoints"}}


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("moved")
    file = data / "reference.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines()))
    imported = seneca("import", file, "--data", data)
    assert imported.returncode == 0, imported.stderr
    assert "10 courses, 5 accounts, 11 sessions" in imported.stderr
    with running(data) as server:
        yield server


@pytest.fixture(scope="module")
def people(moved: Server) -> Iterator[dict[str, Person]]:
    """Everyone, signed in with the password that the reference service hashed."""
    with httpx.Client(base_url=moved.url, timeout=30) as client:
        yield {user["username"]: sign_in(client, user["username"]) for user in REFERENCE["users"]}


@pytest.mark.parametrize("answer", REFERENCE["answers"], ids=lambda a: f"{a['signedInAs']} {a['get']}")
def test_answers_as_recorded(people: dict[str, Person], answer: dict[str, Any]):
    response = people[answer["signedInAs"]].get(answer["get"])
    assert response.status_code == 200, response.text
    if "sessionIds" in answer:
        assert sorted(session["id"] for session in response.json()) == answer["sessionIds"]  # recorded in that order
    else:
        assert response.json() == answer["body"]


def test_sessions_are_shown_whole(people: dict[str, Person]):
    for session in REFERENCE["sessions"]:
        start, end = (datetime.fromisoformat(session[name]) for name in ("sessionStart", "sessionEnd"))
        known = {
            "lastActivityAt": session["sessionEnd"],
            "activeMinutes": min(5, (end - start) // timedelta(minutes=1)),
            "endedBy": "learner",
        }
        assert people["admin"].get(f"/session/{session['id']}").json() == session | known


def test_all_answers_are_there():
    assert len(REFERENCE["answers"]) == 86


def test_a_bcrypt_password_is_hashed_again_at_sign_in(moved: Server, people: dict[str, Person]):
    (hashed,) = moved.rows(
        "SELECT hash FROM passwords WHERE account_id = (SELECT id FROM accounts WHERE username = 'alice')"
    )
    assert hashed[0].startswith("$argon2id$")
    again = sign_in(people["alice"].client, "alice")
    assert again.get("/auth/me").json()["username"] == "alice"


def test_an_imported_administrator_is_the_first(moved: Server, people: dict[str, Person]):
    body = {"username": "mallory", "email": "mallory@example.org", "password": "securePassword123", "role": "admin"}
    assert Person(people["alice"].client).post("/auth/register", body).status_code == 403
    assert moved.rows("SELECT count(*) FROM accounts WHERE role = 'admin'") == [(1,)]
