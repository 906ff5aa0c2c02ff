"""POST /auth/logout."""

from tests.helpers.accounts import Person
from tests.helpers.assertions import refused
from tests.helpers.engines import engine
from tests.helpers.server import Server
from tests.helpers.wire import refuses_methods
from tests.test_refresh import claims, good, is_refused, sign_in

PATH = "/auth/logout"


def test_this_sign_ins_tokens_stop_working_and_no_others(server: Server, alice: Person):
    leaving, staying = sign_in(alice), sign_in(alice)
    refreshed = good(alice.client, leaving["refreshToken"])
    answer = Person(alice.client, leaving["token"]).post(PATH)
    assert (answer.status_code, answer.content) == (204, b"")
    for token in (leaving["token"], refreshed["token"]):
        assert "ended" in refused(Person(alice.client, token).get("/test"), 401, "signed-out")["detail"]
    for token in (leaving["refreshToken"], refreshed["refreshToken"]):
        is_refused(alice.client, token)
    assert Person(alice.client, staying["token"]).get("/test").status_code == 200
    assert good(alice.client, staying["refreshToken"])
    sign_in_id = claims(leaving["token"])["sid"]
    assert server.rows("SELECT * FROM sign_ins WHERE id = :id", id=sign_in_id) == []
    assert len(server.rows("SELECT * FROM revocations WHERE sign_in = :id", id=sign_in_id)) == 1


def test_twice_is_once_too_often(alice: Person):
    assert alice.post(PATH).status_code == 204
    refused(alice.post(PATH), 401, "signed-out")


def test_old_revocations_are_forgotten(server: Server, alice: Person):
    ((bucket,),) = server.rows("SELECT bucket FROM accounts WHERE id = :id", id=alice.id)
    first = sign_in(alice)
    Person(alice.client, first["token"]).post(PATH)
    sql = "UPDATE revocations SET ended_at = ended_at - 7200001 WHERE bucket = :bucket"
    assert engine().change(server.data, sql, bucket=bucket) >= 1
    second = sign_in(alice)
    Person(alice.client, second["token"]).post(PATH)
    left = server.rows("SELECT sign_in FROM revocations WHERE bucket = :bucket", bucket=bucket)
    assert left == [(claims(second["token"])["sid"],)]


def test_405(nobody: Person):
    refuses_methods(nobody, PATH, "POST")
