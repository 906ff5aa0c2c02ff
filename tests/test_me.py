"""GET /auth/me."""

import pytest

from seneca.common.times import to_iso
from tests.helpers.accounts import Person
from tests.helpers.assertions import refused
from tests.helpers.server import Server

PATH = "/auth/me"


@pytest.mark.parametrize("who", ["alice", "tara"])
def test_answers_the_callers_account(server: Server, request: pytest.FixtureRequest, who: str):
    person: Person = request.getfixturevalue(who)
    answer = person.get(PATH)
    assert answer.status_code == 200
    ((created,),) = server.rows("SELECT created_at FROM accounts WHERE id = :id", id=person.id)
    assert answer.json() == {
        "id": person.id,
        "username": person.username,
        "email": person.email,
        "role": "admin" if who == "tara" else "user",
        "createdAt": to_iso(created),
    }


def test_answers_names_as_they_were_given(client, nobody: Person):
    payload = {"username": "Straße-Ａ", "email": "Straße.A@Example.org", "password": "securePassword123"}
    assert nobody.post("/auth/register", payload).status_code == 201
    token = nobody.post("/auth/login", {"username": "STRASSE-a", "password": payload["password"]}).json()["token"]
    me = Person(client, token).get(PATH).json()
    assert (me["username"], me["email"]) == (payload["username"], payload["email"])


def test_errors(nobody: Person, alice: Person):
    refused(nobody.get(PATH), 401, "token-missing")
    refused(nobody.get(PATH + "?x=1"), 401, "token-missing")
    refused(alice.get(PATH + "?x=1"), 400, "invalid-input", "x")
    for method in ("POST", "PUT", "PATCH"):
        answer = nobody.request(method, PATH)
        refused(answer, 405, "method-not-allowed")
        assert {"GET", "HEAD", "DELETE"} <= set(answer.headers["allow"].split(", "))
        assert method not in answer.headers["allow"]
