"""PUT /auth/password."""

import pytest

from seneca.auth import passwords
from tests.helpers.accounts import Person
from tests.helpers.assertions import refused
from tests.helpers.server import PASSWORD, Server
from tests.helpers.wire import refuses_methods
from tests.test_refresh import good, is_refused, sign_in

PATH = "/auth/password"
NEW = "another-secret-42"


def change(person: Person, token: str, current: str = PASSWORD, new: str = NEW):
    return Person(person.client, token).put(PATH, {"currentPassword": current, "newPassword": new})


def stored_hash(server: Server, person: Person) -> str:
    return str(server.rows("SELECT hash FROM passwords WHERE account_id = :id", id=person.id)[0][0])


def test_changes_it_and_every_other_sign_in_ends(server: Server, alice: Person):
    mine, another = sign_in(alice), sign_in(alice)
    answer = change(alice, mine["token"])
    assert (answer.status_code, answer.content) == (204, b"")
    assert passwords.verify(stored_hash(server, alice), NEW)
    for token in (another["token"], str(alice.token)):
        refused(Person(alice.client, token).get("/test"), 401, "signed-out")
    is_refused(alice.client, another["refreshToken"])
    assert Person(alice.client, mine["token"]).get("/test").status_code == 200
    assert good(alice.client, mine["refreshToken"])
    login = {"username": alice.username, "password": PASSWORD}
    refused(alice.client.post("/auth/login", json=login), 401, "invalid-credentials")
    assert alice.client.post("/auth/login", json=login | {"password": NEW}).status_code == 200


def test_a_wrong_password_changes_nothing(server: Server, alice: Person):
    before = stored_hash(server, alice)
    refused(change(alice, str(alice.token), current="wrong-password"), 401, "invalid-credentials")
    assert stored_hash(server, alice) == before
    assert alice.get("/test").status_code == 200


def test_guessing_with_a_stolen_token_is_slowed_like_signing_in(alice: Person):
    statuses = [change(alice, str(alice.token), current=f"guess-{n}-wrong").status_code for n in range(6)]
    assert statuses == [401] * 5 + [429]
    answer = change(alice, str(alice.token))
    refused(answer, 429, "too-many-requests")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("new", ["short", "x" * 129, "password123", "a\0bcdefgh", None, 5])
def test_refuses_bad_new_passwords(server: Server, alice: Person, new: object):
    before = stored_hash(server, alice)
    answer = alice.put(PATH, {"currentPassword": PASSWORD, "newPassword": new})
    refused(answer, 400, "invalid-input", "newPassword")
    assert stored_hash(server, alice) == before


def test_the_new_one_must_not_be_the_name_or_the_address(alice: Person):
    for new in (alice.username.upper(), alice.email):
        refused(change(alice, str(alice.token), new=new), 400, "invalid-input", "newPassword")


def test_refuses_missing_and_unknown_members(alice: Person):
    refused(alice.put(PATH, {"newPassword": NEW}), 400, "invalid-input", "currentPassword")
    refused(alice.put(PATH, {"currentPassword": PASSWORD}), 400, "invalid-input", "newPassword")
    payload = {"currentPassword": PASSWORD, "newPassword": NEW, "password": NEW}
    refused(alice.put(PATH, payload), 400, "invalid-input", "password")


def test_405(nobody: Person):
    refuses_methods(nobody, PATH, "PUT")
