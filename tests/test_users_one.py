"""GET /users/{userId}."""

import pytest

from seneca.common.ids import new_id
from seneca.common.times import to_iso
from tests.helpers.accounts import Person
from tests.helpers.assertions import refused
from tests.helpers.server import Server


def test_answers_an_account(server: Server, tara: Person, alice: Person):
    answer = tara.get(f"/users/{alice.id}")
    assert answer.status_code == 200
    ((created,),) = server.rows("SELECT created_at FROM accounts WHERE id = :id", id=alice.id)
    assert answer.json() == {
        "id": alice.id,
        "username": alice.username,
        "email": alice.email,
        "role": "user",
        "createdAt": to_iso(created),
    }
    assert tara.get(f"/users/{alice.id.upper()}").json() == answer.json()
    assert tara.get(f"/users/{tara.id}").json()["role"] == "admin"


@pytest.mark.parametrize(
    "id_", ["1", "me", "%00", "%FF", "0" * 36, "a" * 5000, "f0e1c82a6c234b7fb2a735776e22fc3f", "{{{id}}}", "{id}%20"]
)
@pytest.mark.http
def test_refuses_what_is_no_uuid(tara: Person, alice: Person, id_: str):
    body = refused(tara.get(f"/users/{id_.format(id=alice.id)}"), 400, "invalid-input", "userId")
    assert body["errors"] == [{"field": "userId", "message": "must be a UUID"}]


def test_errors_and_their_order(nobody: Person, alice: Person, charlie: Person, tara: Person):
    path = f"/users/{alice.id}"
    refused(nobody.get(path + "?x=1"), 401, "token-missing")
    for learner in (alice, charlie):
        refused(learner.get(path), 403, "forbidden")
        refused(learner.get("/users/no-uuid?x=1"), 403, "forbidden")
        refused(learner.get(f"/users/{new_id()}"), 403, "forbidden")
    refused(tara.get(f"/users/{new_id()}?x=1"), 400, "invalid-input", "x")
    refused(tara.get(f"/users/{new_id()}"), 404, "account-not-found")
    for method in ("POST", "PUT"):
        answer = nobody.request(method, path)
        refused(answer, 405, "method-not-allowed")
        assert {"GET", "HEAD", "PATCH"} <= set(answer.headers["allow"].split(", "))
        assert method not in answer.headers["allow"].split(", ")
