"""GET /users/{userId}/export."""

from seneca.common.ids import new_id
from tests.helpers.accounts import Person
from tests.helpers.assertions import refused
from tests.helpers.server import Server
from tests.helpers.wire import UNKNOWN, module, refuses_callers, refuses_methods, refuses_query


def test_is_what_the_account_itself_gets_and_is_recorded(server: Server, tara: Person, alice: Person, course):
    alice.update(alice.start(course), module("Integers", 78, 74.5))
    answer = tara.get(f"/users/{alice.id.upper()}/export")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == f'attachment; filename="seneca-{alice.id}.json"'
    found, own = answer.json(), alice.get("/auth/me/export").json()
    assert found | {"exportedAt": None} == own | {"exportedAt": None}
    (entry,) = found["audit"]
    assert (entry["actor"], entry["act"], entry["subject"]) == (tara.id, "account.exported", alice.id)


def test_an_account_without_a_password(server: Server, tara: Person, alice: Person):
    from tests.helpers.engines import engine

    engine().change(server.data, "DELETE FROM passwords WHERE account_id = :id", id=alice.id)
    assert tara.get(f"/users/{alice.id}/export").json()["hasPassword"] is False


def test_errors(server: Server, nobody: Person, alice: Person, tara: Person):
    path = f"/users/{alice.id}/export"
    before = server.rows("SELECT count(*) FROM audit")
    refuses_methods(nobody, path, "GET")
    refuses_callers(nobody, "GET", path, but=tara, wrong_role=alice)
    refuses_query(tara, "GET", path)
    refused(tara.get("/users/no-uuid/export"), 400, "invalid-input", "userId")
    for unknown in (UNKNOWN, new_id()):
        refused(tara.get(f"/users/{unknown}/export"), 404, "account-not-found")
    assert server.rows("SELECT count(*) FROM audit") == before
