"""A request is authorised when it is executed, not when its head arrived: on every worker, whatever ended the sign-in in between."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.helpers.accounts import Person, make_course, sign_in, sign_up
from tests.helpers.assertions import refused
from tests.helpers.engines import engine
from tests.helpers.load import wait_for
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server, running
from tests.helpers.wire import Held, clients_of_workers, counts, worker_of
from tests.test_authorisation import ROWS, Row, Stage, set_stage
from tests.test_tokens import decoded

NEW = "another-secret-42"
PRIVATE = "/auth"  # what people do to their own account


@pytest.fixture(scope="module")
def stage(client: httpx.Client, tara: Person) -> Stage:
    return set_stage(client, tara)


def name_of(row: Row) -> str:
    return f"{row.method} {row.template}"


def each(rows: list[Row]) -> Any:
    return pytest.mark.parametrize("row", rows, ids=map(name_of, rows))


def needs_token(row: Row) -> bool:
    return row.nobody == 401


WITH_BODY = [row for row in ROWS if row.body is not None and needs_token(row)]
OF_ADMINISTRATORS = [
    row for row in ROWS if row.alice == 403 and (row.method != "GET" or row.template == "/users/{userId}/export")
]
"""Every route on which an administrator changes something; an export leaves an entry in the audit log."""
OF_EVERYBODY = [row for row in ROWS if row.template.startswith(PRIVATE) and row.method != "GET" and needs_token(row)]


def somebody(stage: Stage, row: Row) -> Person:
    """Somebody new who may do what this row says."""
    return sign_up(stage.alice.client, "mallory", role="user" if row.alice < 300 else "admin", by=stage.tara)


def end_unseen(server: Server, person: Person) -> None:
    """End a person's sign-in as another worker would a moment ago: it is in the database, and not yet in this worker's memory."""
    sign_in_id = decoded(str(person.token))[1]["sid"]
    assert engine().change(server.data, "DELETE FROM sign_ins WHERE id = :id", id=sign_in_id) == 1


# -- on the worker that knows ------------------------------------------------------------------


@each(WITH_BODY)
def test_a_body_that_comes_after_the_sign_in_has_ended_is_not_obeyed(server: Server, stage: Stage, row: Row):
    mallory = somebody(stage, row)
    path, body = row.path(stage), row.body(stage) if row.body else None
    held = Held(server, mallory, row.method, path, body)
    assert mallory.post("/auth/logout").status_code == 204
    before = counts(server)
    refused(held.release(), 401, "signed-out")
    assert counts(server) == before


# -- on a worker that does not know yet --------------------------------------------------------


@each(OF_ADMINISTRATORS)
@pytest.mark.parametrize("how", ["signed out", "demoted", "erased"])
def test_no_act_of_an_administrator_is_done_for_a_former_one(server: Server, stage: Stage, row: Row, how: str):
    """Whatever this worker believes, the transaction looks."""
    mallory = somebody(stage, row)
    assert mallory.get("/test/admin").status_code == 200
    path, body = row.path(stage), row.body(stage) if row.body else None
    if how == "demoted":
        sql = "UPDATE accounts SET role = 'user' WHERE id = :id"
        assert engine().change(server.data, sql, id=mallory.id) == 1
    else:
        end_unseen(server, mallory)
    if how == "erased":
        for table in ("passwords", "account_names", "familiar_addresses"):
            engine().change(server.data, f"DELETE FROM {table} WHERE account_id = :id", id=mallory.id)
        engine().change(server.data, "DELETE FROM accounts WHERE id = :id", id=mallory.id)
    assert mallory.get("/test/admin").status_code == 200, "this worker knows nothing of it"
    before = counts(server)
    answer = mallory.request(row.method, path, **({"json": body} if body else {}))
    if how == "demoted":
        refused(answer, 403, "forbidden")
    else:
        refused(answer, 401, "signed-out")
    assert counts(server) == before
    assert server.rows("SELECT 1 FROM audit WHERE actor = :id", id=mallory.id) == []


def test_nobody_is_registered_for_a_former_administrator(server: Server, stage: Stage):
    for role in ("user", "admin"):
        mallory = sign_up(stage.alice.client, "mallory", role="admin", by=stage.tara)
        end_unseen(server, mallory)
        before = counts(server)
        name = unique("accomplice")
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD, "role": role}
        refused(mallory.post("/auth/register", body), 401, "signed-out")
        assert counts(server) == before


@each(OF_EVERYBODY)
def test_nothing_about_an_account_is_changed_for_a_sign_in_that_has_ended(server: Server, stage: Stage, row: Row):
    alice = sign_up(stage.alice.client, "alice")
    end_unseen(server, alice)
    before = counts(server)
    (hash_before,) = server.rows("SELECT hash FROM passwords WHERE account_id = :id", id=alice.id)
    refused(row.ask(stage, alice.token), 401, "signed-out")
    after = counts(server)
    assert {table: after[table] for table in before if table not in ("throttles", "familiar_addresses")} == {
        table: before[table] for table in before if table not in ("throttles", "familiar_addresses")
    }
    assert server.rows("SELECT hash FROM passwords WHERE account_id = :id", id=alice.id) == [hash_before]


# -- one worker, and two -----------------------------------------------------------------------


@dataclass
class Place:
    """A server; where a sign-in is ended, and where the requests wait."""

    server: Server
    tara: Person
    there: int | None
    """The process where they wait; None: there is only one."""


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    data = tmp_path_factory.mktemp("place")
    with running(data, "--workers", str(request.param)) as server:
        here, *others = clients_of_workers(server, request.param)
        with closing(here):
            tara = sign_up(here, "tara", role="admin")
            there = None
            for other in others:
                with other.stream("GET", "/health") as answer:
                    there = worker_of(server, answer.extensions["network_stream"].get_extra_info("client_addr")[1])
                    answer.read()
                other.close()
            yield Place(server, tara, there)


def demote(tara: Person, mallory: Person) -> None:
    assert tara.patch(f"/users/{mallory.id}", {"role": "user"}).status_code == 200


def erase(tara: Person, mallory: Person) -> None:
    assert tara.delete(f"/users/{mallory.id}").status_code == 204


def sign_out(_: Person, mallory: Person) -> None:
    assert mallory.post("/auth/logout").status_code == 204


def change_password(tara: Person, mallory: Person) -> None:
    """The account's owner does, where a thief has the other token."""
    owner = sign_in(tara.client, mallory.username)
    new = {"currentPassword": PASSWORD, "newPassword": NEW}
    assert owner.put("/auth/password", new).status_code == 204


ENDS: list[Callable[[Person, Person], None]] = [demote, erase, sign_out, change_password]


@pytest.mark.parametrize("end", ENDS)
def test_what_an_administrator_has_kept_waiting_is_refused_when_it_is_released(
    place: Place, end: Callable[[Person, Person], None]
):
    tara, server = place.tara, place.server
    mallory = sign_up(tara.client, "mallory", role="admin", by=tara)
    accomplice, victim = (sign_up(tara.client, name) for name in ("accomplice", "victim"))
    course, name = make_course(tara), unique("mole")
    mole = {"username": name, "email": f"{name}@example.org", "password": PASSWORD, "role": "admin"}
    topics = [{"topic": "Number", "modules": []}]
    wanted = [
        ("PATCH", f"/users/{accomplice.id}", {"role": "admin"}),
        ("PATCH", f"/users/{mallory.id}", {"role": "admin"}),
        ("PATCH", f"/users/{victim.id}", {"password": NEW}),
        ("POST", "/auth/register", mole),
        ("PUT", f"/course/{course['id']}", {"qualification": "A level"}),
        ("POST", "/course/create", {"courseTitle": name, "qualification": "x", "topicsAndModules": topics}),
        ("PUT", "/auth/password", {"currentPassword": PASSWORD, "newPassword": "yet-another-secret-43"}),
        ("DELETE", "/auth/me", {"password": PASSWORD}),
    ]
    held = [Held(server, mallory, *request, worker=place.there) for request in wanted]
    audited = server.rows("SELECT count(*) FROM audit WHERE actor = :id", id=mallory.id)
    time.sleep(0.3)  # the server has begun with each
    end(tara, mallory)
    before = counts(server)
    answers = [request.release() for request in held]
    elsewhere = {
        f"/users/{mallory.id}": "own-account",
        "/auth/me": "account-not-found",
        "/auth/password": "account-not-found",
    }
    for (method, path, _), answer in zip(wanted, answers, strict=True):
        code = answer.json()["code"]
        is_late_news = place.there is not None and code == elsewhere.get(path)
        assert code in ("signed-out", "invalid-credentials") or is_late_news, (method, path, answer.text)
    after = counts(server)
    assert {table: after[table] - before[table] for table in before if table != "throttles"} == dict.fromkeys(
        (table for table in before if table != "throttles"), 0
    )
    assert [tara.get(f"/users/{person.id}").json()["role"] for person in (accomplice, victim)] == ["user", "user"]
    assert sign_in(tara.client, victim.username).get("/test/user").status_code == 200
    assert tara.get(f"/course/{course['id']}").json() == course
    own = 1 if end is change_password else 0
    now = server.rows("SELECT count(*) FROM audit WHERE actor = :id", id=mallory.id)
    assert now[0][0] == audited[0][0] + own


def test_nothing_is_done_once_the_demotion_is_answered_however_fast_one_goes_on(place: Place):
    """Requests of the former administrator that race with the demotion come before it, whole, or not at all."""
    tara, server = place.tara, place.server
    mallory = sign_up(tara.client, "mallory", role="admin", by=tara)
    stopped, statuses = threading.Event(), set()

    def go_on() -> None:
        while not stopped.is_set():  # each on a connection of its own, so on any worker
            headers = {"Authorization": f"Bearer {mallory.token}"}
            body = {"courseTitle": unique("Mallory"), "qualification": "x", "topicsAndModules": []}
            answer = httpx.post(f"{server.url}/course/create", json=body, headers=headers, timeout=30)
            statuses.add(answer.status_code)

    threads = [threading.Thread(target=go_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: 201 in statuses)
    demote(tara, mallory)
    done = server.rows("SELECT count(*) FROM audit WHERE actor = :id", id=mallory.id)
    wait_for(lambda: 401 in statuses)
    time.sleep(0.5)
    stopped.set()
    for thread in threads:
        thread.join()
    assert server.rows("SELECT count(*) FROM audit WHERE actor = :id", id=mallory.id) == done
    assert statuses == {201, 401}


def test_two_administrators_who_change_each_other_do_not_wait_for_each_other(place: Place):
    """A deadlock would take PostgreSQL a second to find."""
    tara, server = place.tara, place.server
    for _ in range(5):
        ada, eve = (sign_up(tara.client, name, role="admin", by=tara) for name in ("ada", "eve"))
        ready, seen = threading.Barrier(2), []

        def change(who: Person, whom: Person, ready=ready, seen=seen) -> None:
            headers, body = {"Authorization": f"Bearer {who.token}"}, {"role": "user"}
            ready.wait(10)
            answer = httpx.patch(f"{server.url}/users/{whom.id}", json=body, headers=headers, timeout=30)
            seen.append(answer.status_code)

        threads = [threading.Thread(target=change, args=pair) for pair in ((ada, eve), (eve, ada))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == [200, 401]
