"""DELETE /users/{userId}."""

import asyncio
import threading
from pathlib import Path

import httpx

from seneca.common.ids import new_id
from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.erasure import KEPT_OF_THE_ERASED, check_totals, noted, tables_with
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server, running, start_server
from tests.helpers.wire import (
    UNKNOWN,
    module,
    refuses_callers,
    refuses_methods,
    refuses_query,
    signed_out_within,
    statistics,
)


def test_everything_of_the_account_goes(server: Server, tara: Person, alice: Person, charlie: Person, course):
    word = unique("only-alice-studied-this")
    session = alice.start(course)
    alice.update(session, module(word, 78, 74.5), module("Integers", 1))
    charlie.update(charlie.start(course), module("Integers", 3))
    answer = tara.delete(f"/users/{alice.id.upper()}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert tables_with(server, alice.id) <= KEPT_OF_THE_ERASED
    assert tables_with(server, alice.username, alice.email, word, session) == set()
    assert alice.id in [line["id"] for line in noted(server.data)]
    assert tara.get(f"/stats/courses/{course['id']}").json() == statistics("Integers", points=3, mean=1.5)
    check_totals(server)


def test_what_tells_of_the_account_tells_that_there_is_none(tara: Person, alice: Person):
    assert tara.delete(f"/users/{alice.id}").status_code == 204
    for path in ("", "/export"):
        refused(tara.get(f"/users/{alice.id}{path}"), 404, "account-not-found")
    refused(tara.get(f"/stats/users/{alice.id}"), 404, "account-not-found")
    refused(tara.patch(f"/users/{alice.id}", {"role": "admin"}), 404, "account-not-found")
    refused(tara.delete(f"/users/{alice.id}"), 404, "account-not-found")
    assert alice.username not in tara.get(f"/users?q={alice.username}").text
    refused(alice.get("/auth/me"), 401, "signed-out")


def test_another_server_refuses_the_token_within_five_seconds(server: Server, tara: Person, alice: Person):
    other = start_server(server.data)
    try:
        with httpx.Client(base_url=other.url, timeout=30) as client:
            there = Person(client, alice.token)
            assert there.get("/test").status_code == 200
            assert tara.delete(f"/users/{alice.id}").status_code == 204
            signed_out_within(5, there)
    finally:
        other.stop()


def test_the_last_administrator_stays(tmp_path: Path):
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        ada = sign_up(client, "ada", role="admin")
        own = {"password": PASSWORD}
        refused(ada.delete("/auth/me", json=own), 409, "last-administrator")
        eve = sign_up(client, "eve", role="admin", by=ada)
        for last in (ada, eve):  # whether or not there is another
            body = refused(last.delete(f"/users/{last.id.upper()}"), 409, "own-account")
            assert "DELETE /auth/me" in body["detail"]
        assert ada.delete("/auth/me", json=own).status_code == 204
        refused(ada.get("/test"), 401, "signed-out")
        refused(eve.delete("/auth/me", json=own), 409, "last-administrator")
        assert server.rows("SELECT id FROM accounts") == [(eve.id,)]


def test_of_two_administrators_one_stays_whatever_they_do_at_once(tmp_path: Path):
    """Erasing and demoting each other."""
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        ada = sign_up(client, "ada", role="admin")
        for demotes in (False, True, False, True):
            eve = sign_up(client, "eve", role="admin", by=ada)
            ready, statuses = threading.Barrier(2), {}

            def get_rid(who: Person, whom: Person, method: str, statuses=statuses, ready=ready) -> None:
                ready.wait(10)
                body = {"json": {"role": "user"}} if method == "PATCH" else {}
                statuses[who.id] = who.request(method, f"/users/{whom.id}", **body).status_code

            jobs = [(ada, eve, "DELETE"), (eve, ada, "PATCH" if demotes else "DELETE")]
            threads = [threading.Thread(target=get_rid, args=job) for job in jobs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            ((left,),) = server.rows("SELECT id FROM accounts WHERE role = 'admin'")
            ada = ada if left == ada.id else eve
            assert statuses[ada.id] in (200, 204)
            loser = next(status for id_, status in statuses.items() if id_ != ada.id)
            assert loser in (401, 404, 409)


def test_many_at_once(server: Server, client: httpx.Client, tara: Person):
    """Learners of one course, with the same module names, erased side by side: the totals stay true."""
    course = make_course(tara)
    learners = [sign_up(client, "bob") for _ in range(8)]
    for number, learner in enumerate(learners):
        names = ["Integers", "Fractions", f"Only {number}", f"Some {number % 3}"]
        learner.update(learner.start(course), *(module(name, 1, number) for name in names))
    stays = learners.pop()
    answers = []
    threads = [threading.Thread(target=lambda p=p: answers.append(tara.delete(f"/users/{p.id}"))) for p in learners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [204] * 7
    everybodys, own = tara.get(f"/stats/courses/{course['id']}").json(), stays.get("/stats/user").json()
    assert everybodys == own
    assert everybodys["moduleAmount"]["moduleNames"] == ["Fractions", "Integers", "Only 7", "Some 1"]
    check_totals(server)


def test_a_promoted_learner_is_erased_with_what_they_studied(server: Server, tara: Person, alice: Person, course):
    alice.update(alice.start(course), module("Integers", 1))
    tara.patch(f"/users/{alice.id}", {"role": "admin"})
    assert tara.delete(f"/users/{alice.id}").status_code == 204
    assert tables_with(server, alice.id) <= KEPT_OF_THE_ERASED
    check_totals(server)


def test_more_sessions_than_are_removed_together(server: Server, tara: Person, alice: Person, course, monkeypatch):
    """In several transactions, after the first of which the account exists for nobody: the totals are right at every moment."""
    for number in range(12):
        alice.update(alice.start(course), module(f"Module {number % 5}", number))
    from seneca.database import open_database
    from seneca.privacy import erasure
    from seneca.sessions import deletion
    from tests.helpers.engines import engine

    monkeypatch.setattr(deletion, "MAX_SESSIONS_PER_BATCH", 5)
    database = open_database(engine().url(server.data))
    try:
        with database.write_transaction() as tx:
            erased = erasure.erase(tx, None, alice.id, 1)
        assert (erased.sessions, erased.is_complete) == (12, False)
        check_totals(server)
        assert tables_with(server, alice.username, alice.email) == set()
        refused(tara.get(f"/users/{alice.id}"), 404, "account-not-found")
        refused(tara.delete(f"/users/{alice.id}"), 404, "account-not-found")
        refused(tara.get(f"/stats/users/{alice.id}"), 404, "account-not-found")
        assert alice.id not in tara.get("/users?limit=1000").text
        body = {"username": alice.username, "password": PASSWORD}
        refused(alice.client.post("/auth/login", json=body), 401, "invalid-credentials")
        body = {"username": alice.username, "email": alice.email, "password": PASSWORD}
        assert alice.client.post("/auth/register", json=body).status_code == 201
        done = seneca("export", "-", "--data", server.data)
        assert done.returncode == 0
        assert alice.id not in done.stdout
        with database.write_transaction() as tx:
            assert not erasure.delete_batch(tx, alice.id)
        check_totals(server)
        asyncio.run(erasure.finish_all(database))
    finally:
        database.close()
    assert tables_with(server, alice.id) <= KEPT_OF_THE_ERASED
    check_totals(server)


def test_errors(nobody: Person, alice: Person, tara: Person):
    path = f"/users/{alice.id}"
    refuses_methods(nobody, path, "GET", "PATCH", "DELETE")
    refuses_callers(nobody, "DELETE", path, but=tara, wrong_role=alice)
    refuses_query(tara, "DELETE", path)
    refused(tara.delete("/users/no-uuid"), 400, "invalid-input", "userId")
    refused(tara.delete(f"/users/{UNKNOWN}"), 404, "account-not-found")
    refused(tara.delete(f"/users/{new_id()}"), 404, "account-not-found")
    assert alice.get("/auth/me").status_code == 200
