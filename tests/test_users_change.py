"""PATCH /users/{userId}."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest

from seneca.accounts import commands
from seneca.auth import passwords
from seneca.auth.authorisation import COMMAND_LINE
from seneca.common.ids import new_id
from seneca.common.times import to_iso
from seneca.database import open_database
from seneca.errors import LastAdministrator
from tests.helpers.accounts import Person, sign_in, sign_up
from tests.helpers.assertions import refused
from tests.helpers.engines import engine
from tests.helpers.load import wait_for
from tests.helpers.server import PASSWORD, Server, running, start_server
from tests.helpers.wire import clients_of_workers, signed_out_within

NEW = "another-secret-42"


def stored(server: Server, person: Person) -> tuple[str, str]:
    """The role and the password's hash."""
    sql = "SELECT role, hash FROM accounts a JOIN passwords p ON p.account_id = a.id WHERE a.id = :id"
    return server.rows(sql, id=person.id)[0]


def open_sign_ins(server: Server, person: Person) -> int:
    sql = "SELECT count(*) FROM sign_ins WHERE account_id = :id"
    return int(server.rows(sql, id=person.id)[0][0])


def login(person: Person, password: str) -> httpx.Response:
    return person.client.post("/auth/login", json={"username": person.username, "password": password})


def test_changes_the_role_and_ends_the_sign_ins(server: Server, tara: Person, alice: Person):
    another = sign_in(alice.client, alice.username)
    before = int(time.time() * 1000)
    answer = tara.patch(f"/users/{alice.id}", {"role": "admin"})
    assert answer.status_code == 200
    ((created,),) = server.rows("SELECT created_at FROM accounts WHERE id = :id", id=alice.id)
    assert answer.json() == {
        "id": alice.id,
        "username": alice.username,
        "email": alice.email,
        "role": "admin",
        "createdAt": to_iso(created),
    }
    role, password_hash = stored(server, alice)
    assert role == "admin"
    assert passwords.verify(password_hash, PASSWORD)
    assert open_sign_ins(server, alice) == 0
    for person in (alice, another):
        sign_in_id = jwt.decode(str(person.token), options={"verify_signature": False})["sid"]
        ((at,),) = server.rows("SELECT ended_at FROM revocations WHERE sign_in = :id", id=sign_in_id)
        assert before <= at <= time.time() * 1000
    for old in (alice, another):  # at once, on the worker that answered
        body = refused(old.get("/test"), 401, "signed-out")
        assert "ended" in body["detail"]
    assert sign_in(alice.client, alice.username).get("/test/admin").status_code == 200
    tara.patch(f"/users/{alice.id}", {"role": "user"})


def test_changes_the_password_and_ends_the_sign_ins(server: Server, tara: Person, alice: Person):
    answer = tara.patch(f"/users/{alice.id.upper()}", {"password": NEW})
    assert answer.status_code == 200
    assert answer.json()["role"] == "user"
    assert NEW not in answer.text
    role, password_hash = stored(server, alice)
    assert role == "user"
    assert passwords.verify(password_hash, NEW)
    assert open_sign_ins(server, alice) == 0
    refused(alice.get("/auth/me"), 401, "signed-out")
    refused(login(alice, PASSWORD), 401, "invalid-credentials")
    assert login(alice, NEW).status_code == 200


def test_changes_both(server: Server, tara: Person, alice: Person):
    assert tara.patch(f"/users/{alice.id}", {"role": "admin", "password": NEW}).json()["role"] == "admin"
    role, password_hash = stored(server, alice)
    assert (role, passwords.verify(password_hash, NEW)) == ("admin", True)
    tara.patch(f"/users/{alice.id}", {"role": "user"})


def test_the_same_role_again_ends_the_sign_ins_too(server: Server, tara: Person, alice: Person):
    assert tara.patch(f"/users/{alice.id}", {"role": "user"}).status_code == 200
    assert open_sign_ins(server, alice) == 0
    refused(alice.get("/test"), 401, "signed-out")


def test_nobody_elses_sign_ins_end(tara: Person, alice: Person, charlie: Person):
    tara.patch(f"/users/{alice.id}", {"password": NEW})
    assert charlie.get("/test").status_code == 200
    assert tara.get("/test").status_code == 200


def test_ones_own_account_does_not_change_here(server: Server, tara: Person):
    """The routes under /auth ask for the current password; 409 comes after 400."""
    ada = sign_up(tara.client, "ada", role="admin", by=tara)
    before = stored(server, ada)
    for body in ({"password": NEW}, {"role": "user"}, {"role": "admin"}, {"role": "user", "password": NEW}):
        for own in (ada.id, ada.id.upper()):
            assert "PUT /auth/password" in refused(ada.patch(f"/users/{own}", body), 409, "own-account")["detail"]
    refused(ada.patch(f"/users/{ada.id}", {}), 400, "invalid-input", "")
    refused(ada.patch(f"/users/{ada.id}", {"password": ada.username}), 400, "invalid-input", "password")
    assert stored(server, ada) == before
    assert ada.get("/test/admin").status_code == 200
    assert server.rows("SELECT 1 FROM audit WHERE actor = :id", id=ada.id) == []
    tara.patch(f"/users/{ada.id}", {"role": "user"})


# -- the last administrator --------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[tuple[Server, Person]]:
    """A server with one administrator."""
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        yield server, sign_up(client, "ada", role="admin")


def test_the_last_administrator_cannot_be_demoted(alone: tuple[Server, Person]):
    """By nobody: not by herself, and there is no other who could."""
    server, ada = alone
    before = stored(server, ada)
    refused(ada.patch(f"/users/{ada.id}", {"role": "user", "password": NEW}), 409, "own-account")
    assert stored(server, ada) == before, "nothing of a refused change is stored"
    assert open_sign_ins(server, ada) == 1
    assert ada.get("/test/admin").status_code == 200
    database = open_database(engine().url(server.data))
    try:
        with pytest.raises(LastAdministrator), database.write_transaction() as tx:
            commands.change(tx, COMMAND_LINE, ada.id, role="user", now=0)
    finally:
        database.close()
    assert stored(server, ada) == before


def test_two_administrators_cannot_both_be_demoted_at_once(alone: tuple[Server, Person]):
    server, ada = alone
    eve = sign_up(ada.client, "eve", role="admin", by=ada)
    ready, statuses = threading.Barrier(2), []

    def demote(who: Person, whom: Person) -> None:
        headers = {"Authorization": f"Bearer {who.token}"}
        ready.wait()
        answer = httpx.patch(f"{server.url}/users/{whom.id}", json={"role": "user"}, headers=headers, timeout=30)
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=demote, args=pair) for pair in ((ada, eve), (eve, ada))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 401], "the second one's sign-in has ended by then"
    assert server.rows("SELECT count(*) FROM accounts WHERE role = 'admin'") == [(1,)]


# -- on other workers --------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"role": "admin"}, {"password": NEW}], ids=str)
def test_another_server_refuses_the_token_within_five_seconds(server: Server, tara: Person, alice: Person, change):
    other = start_server(server.data)
    try:
        with httpx.Client(base_url=other.url, timeout=30) as client:
            there = Person(client, alice.token)
            assert there.get("/test").status_code == 200
            assert tara.patch(f"/users/{alice.id}", change).status_code == 200
            refused(alice.get("/test"), 401, "signed-out")
            signed_out_within(5, there)
            assert login(alice, change.get("password", PASSWORD)).status_code == 200
    finally:
        other.stop()
        tara.patch(f"/users/{alice.id}", {"role": "user"})


def test_every_worker_refuses_the_token_within_five_seconds(tmp_path: Path):
    with running(tmp_path, "--workers", "2") as server, httpx.Client(base_url=server.url, timeout=30) as client:
        ada = sign_up(client, "ada", role="admin")
        alice = sign_up(client, "alice")
        everywhere = [Person(worker, alice.token) for worker in clients_of_workers(server, 2)]
        assert [there.get("/test").status_code for there in everywhere] == [200, 200]
        assert ada.patch(f"/users/{alice.id}", {"password": NEW}).status_code == 200
        deadline = time.monotonic() + 5
        for there in everywhere:
            signed_out_within(deadline - time.monotonic(), there)
            there.client.close()


def test_a_restart_does_not_bring_ended_sign_ins_back(tmp_path: Path):
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        ada = sign_up(client, "ada", role="admin")
        alice = sign_up(client, "alice")
        ada.patch(f"/users/{alice.id}", {"password": NEW})
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        refused(Person(client, alice.token).get("/test"), 401, "signed-out")
        going_on = Person(client, ada.token)
        wait_for(lambda: going_on.get("/test").status_code == 200)  # 503, if a busy machine let the worker poll late


# -- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ""),
        *(({"role": value}, "role") for value in ("teacher", "", "ADMIN", None, 1, ["user"])),
        *(({"password": value}, "password") for value in ("seven77", "p" * 129, "nul\0nul\0", "password123", None, 1)),
        *(({"role": "admin", name: "x"}, name) for name in ("username", "email", "id", "createdAt", "passwordHash")),
        ({"role": "admin", "password": "seven77"}, "password"),
        ({"role": "teacher", "password": NEW}, "role"),
        ([], ""),
    ],
)
def test_refuses_bad_input_and_changes_nothing(server: Server, tara: Person, alice: Person, body, field: str):
    before = stored(server, alice)
    refused(tara.patch(f"/users/{alice.id}", body), 400, "invalid-input", field)
    assert stored(server, alice) == before
    assert alice.get("/test").status_code == 200


@pytest.mark.parametrize("member", ["username", "email"])
def test_refuses_the_accounts_own_name_or_address_as_password(tara: Person, alice: Person, member: str):
    own = getattr(alice, member).upper()
    body = refused(tara.patch(f"/users/{alice.id}", {"password": own}), 400, "invalid-input", "password")
    assert own not in str(body)


def test_errors_and_their_order(server: Server, nobody: Person, alice: Person, charlie: Person, tara: Person):
    path, good = f"/users/{alice.id}", {"role": "admin"}
    large, plain = b"x" * 300_000, {"Content-Type": "text/plain"}
    answer = nobody.put(path, good)
    refused(answer, 405, "method-not-allowed")
    assert {"GET", "HEAD", "PATCH"} <= set(answer.headers["allow"].split(", "))
    refused(nobody.patch(path + "?x=1", content=large, headers=plain), 401, "token-missing")
    for learner in (alice, charlie):
        refused(learner.patch(path + "?x=1", content=large, headers=plain), 403, "forbidden")
        refused(learner.patch(path, good), 403, "forbidden")
    refused(tara.patch(path + "?x=1", content=large, headers=plain), 413, "payload-too-large")
    refused(tara.patch(path + "?x=1", content=b"{", headers=plain), 415, "unsupported-media-type")
    refused(tara.patch(path, content=b"{", headers={"Content-Type": "application/json"}), 400, "malformed-json")
    unknown = f"/users/{new_id()}"
    refused(tara.patch(unknown + "?x=1", good), 400, "invalid-input", "x")
    refused(tara.patch("/users/no-uuid", good), 400, "invalid-input", "userId")
    refused(tara.patch(unknown, {}), 400, "invalid-input", "")
    refused(tara.patch(unknown, {"password": "password123"}), 400, "invalid-input", "password")
    refused(tara.patch(unknown, good), 404, "account-not-found")
    refused(tara.patch(unknown, {"password": NEW}), 404, "account-not-found")
    assert stored(server, alice)[0] == "user"
    assert alice.get("/test").status_code == 200


def test_an_account_without_a_password_gets_one(server: Server, tara: Person, alice: Person):
    engine().change(server.data, "DELETE FROM passwords WHERE account_id = :id", id=alice.id)
    assert tara.patch(f"/users/{alice.id}", {"role": "user"}).status_code == 200
    assert server.rows("SELECT 1 FROM passwords WHERE account_id = :id", id=alice.id) == []
    assert tara.patch(f"/users/{alice.id}", {"password": NEW}).status_code == 200
    assert login(alice, NEW).status_code == 200


def test_a_promoted_learner_keeps_their_sessions(server: Server, tara: Person, alice: Person, course):
    session_id = alice.start(course)
    tara.patch(f"/users/{alice.id}", {"role": "admin"})
    assert server.rows("SELECT learner_id FROM sessions WHERE id = :id", id=session_id) == [(alice.id,)]
    assert tara.get(f"/session/{session_id}").json()["userId"] == alice.id
    tara.patch(f"/users/{alice.id}", {"role": "user"})
    assert sign_in(alice.client, alice.username).get(f"/session/{session_id}").status_code == 200
