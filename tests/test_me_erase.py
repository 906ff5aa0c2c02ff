"""DELETE /auth/me."""

import hashlib
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest

from seneca.common.ids import bucket_of
from seneca.common.times import to_iso
from tests.helpers.accounts import Person, make_course, sign_in, sign_up
from tests.helpers.assertions import refused
from tests.helpers.erasure import KEPT_OF_THE_ERASED, check_totals, erase_self, noted, tables_with
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server, running, start_server
from tests.helpers.wire import (
    NOTHING,
    module,
    refuses_bodies,
    refuses_callers,
    refuses_methods,
    signed_out_within,
    statistics,
)

PATH = "/auth/me"
BODY = {"password": PASSWORD}


def test_everything_of_the_account_goes(server: Server, tara: Person, alice: Person, course):
    word = unique("only-alice-studied-this")
    session = alice.start(course)
    alice.update(session, module(word, 78, 74.5))
    before = int(time.time() * 1000)
    answer = erase_self(alice)
    assert (answer.status_code, answer.content) == (204, b"")
    assert tables_with(server, alice.id) <= KEPT_OF_THE_ERASED
    assert tables_with(server, alice.username, alice.email, word, session) == set()
    ((bucket, at),) = server.rows("SELECT bucket, erased_at FROM erasures WHERE account_id = :id", id=alice.id)
    assert bucket == bucket_of(alice.id, 64)
    assert before <= at <= time.time() * 1000
    assert {"id": alice.id, "erasedAt": to_iso(at)} in noted(server.data)
    assert (server.data / "erased-accounts").stat().st_mode & 0o777 == 0o600
    check_totals(server)


def test_every_total_is_corrected(server: Server, tara: Person, alice: Person, charlie: Person, course):
    path = f"/stats/courses/{course['id']}"
    for person, names in ((alice, ("Integers", "Fractions")), (charlie, ("Integers",))):
        session = person.start(course)
        person.update(session, *(module(name, 10, 20.5) for name in names))
        person.end(session)
    open_session = alice.start(course)
    alice.update(open_session, module("Equations", 1))
    assert tara.get(path).json()["moduleAmount"]["moduleNames"] == ["Equations", "Fractions", "Integers"]
    assert erase_self(alice).status_code == 204
    assert tara.get(path).json() == statistics("Integers", points=30.5, mean=15.25)
    assert charlie.get("/stats/user").json() == statistics("Integers", points=30.5, mean=15.25)
    refused(tara.get(f"/stats/users/{alice.id}"), 404, "account-not-found")
    assert [session["userId"] for session in tara.get(f"/stats/sessions/{course['id']}").json()] == [charlie.id]
    assert erase_self(charlie).status_code == 204
    assert tara.get(path).json() == NOTHING
    assert tara.get(f"/stats/sessions/{course['id']}").json() == []
    assert tara.delete(f"/course/{course['id']}").status_code == 204, "nothing refers to the course any more"
    check_totals(server)


def test_sign_ins_end_at_once_here_and_within_five_seconds_elsewhere(server: Server, tara: Person, alice: Person):
    other = start_server(server.data)
    try:
        with httpx.Client(base_url=other.url, timeout=30) as client:
            again, there = sign_in(alice.client, alice.username), Person(client, alice.token)
            assert there.get("/test").status_code == 200
            assert erase_self(alice).status_code == 204
            for person in (alice, again):
                refused(person.get("/auth/me"), 401, "signed-out")
            signed_out_within(5, there)
    finally:
        other.stop()


def test_the_refresh_token_is_good_no_more(client: httpx.Client, alice: Person):
    signed_in = client.post("/auth/login", json={"username": alice.username, "password": PASSWORD}).json()
    erase_self(alice)
    answer = client.post("/auth/refresh", json={"refreshToken": signed_in["refreshToken"]})
    refused(answer, 401, "signed-out")
    refused(client.post("/auth/login", json={"username": alice.username, **BODY}), 401, "invalid-credentials")


def test_the_name_is_free_again_for_somebody_else(
    server: Server, client: httpx.Client, tara: Person, alice: Person, course
):
    alice.update(alice.start(course), module("Integers", 1))
    assert erase_self(alice).status_code == 204
    body = {"username": alice.username, "email": alice.email, "password": PASSWORD}
    registered = client.post("/auth/register", json=body)
    assert registered.status_code == 201
    another = sign_in(client, alice.username, id=registered.json()["userId"])
    assert another.id != alice.id
    assert another.get("/stats/user").json() == NOTHING


def test_what_was_tried_is_forgotten(server: Server, client: httpx.Client, tara: Person, alice: Person):
    """Failures under the name, from elsewhere and from here, and where the account has signed in from."""

    def counted() -> list[object]:
        sql = "SELECT key FROM throttles WHERE tries > 0 AND (key LIKE :of_account OR key = :of_name)"
        of_name = hashlib.sha256(f"name {alice.username}".encode()).hexdigest()
        return [key for (key,) in server.rows(sql, of_account=f"account {alice.id}%", of_name=of_name)]

    here = hashlib.sha256(b"127.0.0.1").hexdigest()
    bob = sign_up(client, "bob")
    wrong = client.post("/auth/login", json={"username": alice.username, "password": "wrong-password"})
    refused(wrong, 401, "invalid-credentials")
    assert counted() == [f"account {alice.id} {here}"]
    assert erase_self(alice).status_code == 204
    assert counted() == []
    assert server.rows("SELECT 1 FROM familiar_addresses WHERE account_id = :id", id=alice.id) == []
    assert server.rows("SELECT 1 FROM familiar_addresses WHERE account_id = :id", id=bob.id) == [(1,)]


def test_a_wrong_password_erases_nothing(server: Server, alice: Person, course):
    session = alice.start(course)
    refused(erase_self(alice, "not-her-password"), 401, "invalid-credentials")
    assert alice.get(f"/session/{session}").status_code == 200
    assert server.rows("SELECT 1 FROM erasures WHERE account_id = :id", id=alice.id) == []


def test_who_guesses_waits(alice: Person):
    for _ in range(5):
        refused(erase_self(alice, "not-her-password"), 401, "invalid-credentials")
    answer = erase_self(alice)
    refused(answer, 429, "too-many-requests")
    assert int(answer.headers["retry-after"]) >= 1


def test_the_last_administrator_stays(tmp_path: Path):
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        ada = sign_up(client, "ada", role="admin")
        refused(erase_self(ada), 409, "last-administrator")
        eve = sign_up(client, "eve", role="admin", by=ada)
        assert erase_self(ada).status_code == 204
        refused(erase_self(eve), 409, "last-administrator")
        assert eve.get("/test/admin").status_code == 200
        body = {"username": "x", "email": "x@example.org", "password": PASSWORD, "role": "admin"}
        refused(client.post("/auth/register", json=body), 403, "registration-closed")


def test_two_administrators_cannot_both_erase_themselves(tmp_path: Path):
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        ada = sign_up(client, "ada", role="admin")
        for _ in range(3):
            eve = sign_up(client, "eve", role="admin", by=ada)
            answers = at_once(partial(erase_self, ada), partial(erase_self, eve))
            assert sorted(answer.status_code for answer in answers) == [204, 409]
            ada = ada if answers[0].status_code == 409 else eve
        assert server.rows("SELECT count(*) FROM accounts WHERE role = 'admin'") == [(1,)]


def at_once(*jobs) -> list[httpx.Response]:
    ready, answers = threading.Barrier(len(jobs)), [None] * len(jobs)

    def run(index: int) -> None:
        ready.wait(10)
        answers[index] = jobs[index]()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_twice_at_once_is_once(server: Server, client: httpx.Client, tara: Person):
    for _ in range(3):
        bob = sign_up(client, "bob")
        by_tara = partial(tara.delete, f"/users/{bob.id}")
        answers = at_once(partial(erase_self, bob), partial(erase_self, bob), by_tara)
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(204) == 1, statuses
        assert set(statuses) <= {204, 401, 404}
        assert server.rows("SELECT count(*) FROM audit WHERE subject = :id AND act = 'account.erased'", id=bob.id) == [
            (1,)
        ]


@pytest.mark.parametrize("attempt", range(3))
def test_a_learner_who_studies_during_their_erasure_is_signed_out(
    server: Server, client: httpx.Client, tara: Person, attempt: int
):
    """Every request is answered, none with a 500, and nothing of the account is left."""
    course = make_course(tara)
    bob = sign_up(client, "bob")
    stopped, said = threading.Event(), set()

    def study(number: int) -> None:
        with httpx.Client(base_url=server.url, timeout=30) as own:
            person = Person(own, bob.token)
            while not stopped.is_set():
                start = person.post("/session/startSession", {"courseIdentifier": course["id"], "topic": "Number"})
                said.add((start.status_code, start.json().get("code")))
                if start.status_code == 201:
                    session = start.json()["sessionId"]
                    stats = [module(f"Module {number}", 1), module("Integers", 2, 3)]
                    update = person.put("/session/updateSession", {"sessionId": session, "moduleStats": stats})
                    end = person.put("/session/endSession", {"sessionId": session})
                    said.update((answer.status_code, answer.json().get("code")) for answer in (update, end))

    threads = [threading.Thread(target=study, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: (201, None) in said)
    answer = tara.delete(f"/users/{bob.id}")
    wait_for(lambda: (401, "signed-out") in said)
    stopped.set()
    for thread in threads:
        thread.join()
    assert answer.status_code == 204
    assert {(201, None), (401, "signed-out")} <= said
    assert said <= {(201, None), (200, None), (401, "signed-out"), (404, "session-not-found")}
    assert tables_with(server, bob.id) <= KEPT_OF_THE_ERASED
    assert tara.get(f"/stats/courses/{course['id']}").json() == NOTHING
    check_totals(server)


def wait_for(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_another_server_that_does_not_know_yet_answers_401_to_a_start(
    server: Server, tara: Person, alice: Person, course
):
    other = start_server(server.data)
    try:
        with httpx.Client(base_url=other.url, timeout=30) as client:
            there = Person(client, alice.token)
            session = there.start(course)
            assert erase_self(alice).status_code == 204
            body = {"courseIdentifier": course["id"], "topic": "Number"}
            refused(there.post("/session/startSession", body), 401, "signed-out")
            update = {"sessionId": session, "moduleStats": [module("Integers", 1)]}
            answers = [
                there.put("/session/updateSession", update),
                there.put("/session/endSession", {"sessionId": session}),
                there.get("/auth/me"),
                there.get("/auth/me/export"),
                erase_self(there),
            ]
            assert {answer.status_code for answer in answers} <= {401, 404}
    finally:
        other.stop()


def test_errors(nobody: Person, alice: Person, tara: Person):
    refuses_methods(nobody, PATH, "GET", "DELETE")
    refuses_callers(nobody, "DELETE", PATH, but=alice)
    refuses_bodies(alice, "DELETE", PATH)
    for body, field in (({}, "password"), ({"password": 1}, "password"), (BODY | {"sure": True}, "sure")):
        refused(alice.delete(PATH, json=body), 400, "invalid-input", field)
    refused(alice.delete(PATH + "?sure=1", json=BODY), 400, "invalid-input", "sure")
    assert alice.get(PATH).status_code == 200
