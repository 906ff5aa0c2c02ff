"""POST /auth/refresh."""

import base64
import threading
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from seneca.auth.refresh_tokens import RefreshToken
from tests.helpers.accounts import Person, sign_up
from tests.helpers.assertions import refused
from tests.helpers.engines import engine, free_port
from tests.helpers.server import PASSWORD, Server, running, start_server
from tests.helpers.wire import signed_out_within

PATH = "/auth/refresh"
DAY = 24 * 60 * 60 * 1000


def sign_in(person: Person) -> dict[str, Any]:
    answer = person.client.post("/auth/login", json={"username": person.username, "password": PASSWORD})
    assert answer.status_code == 200
    return dict(answer.json())


def refresh(client: httpx.Client, token: str) -> httpx.Response:
    return client.post(PATH, json={"refreshToken": token})


def good(client: httpx.Client, token: str) -> dict[str, Any]:
    answer = refresh(client, token)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def is_refused(client: httpx.Client, token: str, code: str = "signed-out") -> None:
    assert "Sign in again." in refused(refresh(client, token), 401, code)["detail"]


def changed(server: Server, sign_in_id: str, column: str, milliseconds: int) -> None:
    """Let something about a sign-in have happened that much later (before: less than 0)."""
    sql = f"UPDATE sign_ins SET {column} = {column} + :more WHERE id = :id"
    assert engine().change(server.data, sql, more=milliseconds, id=sign_in_id) == 1


def test_answers_as_a_sign_in_does(server: Server, alice: Person):
    first = sign_in(alice)
    second = good(alice.client, first["refreshToken"])
    assert second == {**second, "tokenType": "Bearer", "expiresIn": 3600}
    assert second.keys() == first.keys()
    assert second["refreshToken"] != first["refreshToken"]
    before, after = claims(first["token"]), claims(second["token"])
    assert {name: before[name] for name in ("id", "role", "sid")} == {
        name: after[name] for name in ("id", "role", "sid")
    }
    assert before["jti"] != after["jti"]
    for token in (first["token"], second["token"]):
        assert Person(alice.client, token).get("/test/user").status_code == 200


def test_goes_on_and_on(alice: Person):
    token = sign_in(alice)["refreshToken"]
    seen = {token}
    for _ in range(20):
        token = good(alice.client, token)["refreshToken"]
        assert token not in seen
        seen.add(token)


def test_keeps_only_hashes(server: Server, alice: Person):
    first = sign_in(alice)["refreshToken"]
    second = good(alice.client, first)["refreshToken"]
    stored = repr(server.rows("SELECT * FROM sign_ins WHERE account_id = :id", id=alice.id))
    for token in (first, second):
        raw = base64.urlsafe_b64decode(token + "=")
        for secret in (raw[32:48], raw[48:]):
            assert secret.hex() not in stored
            assert base64.b64encode(secret).decode().rstrip("=") not in stored
        assert token not in stored
        assert not any(token in line for line in server.log_lines())


# -- the same token again ----------------------------------------------------------------------


def test_a_lost_answer_is_given_again(alice: Person):
    first = sign_in(alice)["refreshToken"]
    child = good(alice.client, first)["refreshToken"]
    assert good(alice.client, first)["refreshToken"] == child
    assert good(alice.client, first)["refreshToken"] == child
    grandchild = good(alice.client, child)["refreshToken"]
    assert good(alice.client, grandchild)


def test_once_its_child_was_used_it_ends_the_sign_in(server: Server, alice: Person):
    another = sign_in(alice)
    signed_in = sign_in(alice)
    first = signed_in["refreshToken"]
    child = good(alice.client, first)
    grandchild = good(alice.client, child["refreshToken"])
    is_refused(alice.client, first)
    for token in (first, child["refreshToken"], grandchild["refreshToken"]):
        is_refused(alice.client, token)
    for token in (signed_in["token"], child["token"], grandchild["token"]):  # at once, on the worker that answered
        assert "ended" in refused(Person(alice.client, token).get("/test"), 401, "signed-out")["detail"]
    assert good(alice.client, another["refreshToken"]), "the account's other sign-ins go on"


def test_after_ten_seconds_it_ends_the_sign_in(server: Server, alice: Person):
    signed_in = sign_in(alice)
    child = good(alice.client, signed_in["refreshToken"])["refreshToken"]
    changed(server, claims(signed_in["token"])["sid"], "refreshed_at", -9_000)
    assert good(alice.client, signed_in["refreshToken"])["refreshToken"] == child
    changed(server, claims(signed_in["token"])["sid"], "refreshed_at", -1_500)
    is_refused(alice.client, signed_in["refreshToken"])
    is_refused(alice.client, child)


def test_a_very_old_one_ends_the_sign_in(alice: Person):
    tokens = [sign_in(alice)["refreshToken"]]
    for _ in range(5):
        tokens.append(good(alice.client, tokens[-1])["refreshToken"])
    is_refused(alice.client, tokens[0])
    is_refused(alice.client, tokens[-1])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_of_twenty_at_once_one_child_lives(tmp_path: Path, workers: str):
    with running(tmp_path, "--workers", workers) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        alice = sign_up(client, "alice")
        token = sign_in(alice)["refreshToken"]
        ready, children = threading.Barrier(20), []

        def ask() -> None:
            with httpx.Client(base_url=server.url, timeout=30) as own:
                ready.wait()
                children.append(good(own, token)["refreshToken"])

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(children) == 20
        assert len(set(children)) == 1
        assert good(client, children[0])
        is_refused(client, token)


def test_what_has_ended_stays_so_after_a_restart(tmp_path: Path):
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        alice = sign_up(client, "alice")
        stolen, going_on = sign_in(alice), sign_in(alice)
        child = good(client, stolen["refreshToken"])["refreshToken"]
        last = good(client, child)
        is_refused(client, stolen["refreshToken"])
        server.stop()
        again = start_server(tmp_path, port=server.port)
        try:
            for token in (stolen["refreshToken"], child, last["refreshToken"]):
                is_refused(client, token)
            for token in (stolen["token"], last["token"]):
                refused(Person(client, token).get("/test"), 401, "signed-out")
            assert good(client, going_on["refreshToken"])
        finally:
            again.stop()


# -- how long it is good -----------------------------------------------------------------------


@pytest.mark.parametrize(("column", "days"), [("refreshed_at", 14), ("started_at", 30)])
def test_good_for_fourteen_days_and_thirty_in_all(server: Server, alice: Person, column: str, days: int):
    signed_in = sign_in(alice)
    sign_in_id = claims(signed_in["token"])["sid"]
    changed(server, sign_in_id, column, -days * DAY + 60_000)
    token = good(alice.client, signed_in["refreshToken"])["refreshToken"]
    if column == "refreshed_at":
        changed(server, sign_in_id, column, -days * DAY)
    changed(server, sign_in_id, column, -60_000)
    is_refused(alice.client, token)
    assert server.rows("SELECT * FROM sign_ins WHERE id = :id", id=sign_in_id) == []


def test_what_has_expired_is_removed_at_the_next_sign_in(server: Server, alice: Person):
    expired = [claims(sign_in(alice)["token"])["sid"] for _ in range(2)]
    changed(server, expired[0], "refreshed_at", -15 * DAY)
    changed(server, expired[1], "started_at", -31 * DAY)
    sign_in(alice)
    left = {row[0] for row in server.rows("SELECT id FROM sign_ins WHERE account_id = :id", id=alice.id)}
    assert not left & set(expired)
    assert len(left) == 2


def test_the_role_is_as_it_is_now_or_the_sign_in_has_ended(server: Server, tara: Person, alice: Person):
    token = sign_in(alice)["refreshToken"]
    assert tara.patch(f"/users/{alice.id}", {"role": "admin"}).status_code == 200
    is_refused(alice.client, token)
    assert claims(sign_in(alice)["token"])["role"] == "admin"
    tara.patch(f"/users/{alice.id}", {"role": "user"})


# -- what is not a token -----------------------------------------------------------------------


def test_nobody_ends_a_sign_in_without_a_token_of_it(server: Server, alice: Person):
    """Its id stands in every access token; that is not enough."""
    token = RefreshToken.parse(sign_in(alice)["refreshToken"])
    assert token is not None
    forged = RefreshToken.first(token.account_id, token.sign_in)
    is_refused(alice.client, forged.text)
    is_refused(alice.client, RefreshToken(token.account_id, token.sign_in, b"\0" * 16, token.secret).text)
    assert good(alice.client, token.text)


def test_an_account_cannot_take_anothers(alice: Person, charlie: Person):
    hers, his = (RefreshToken.parse(sign_in(person)["refreshToken"]) for person in (alice, charlie))
    assert hers is not None
    assert his is not None
    is_refused(alice.client, RefreshToken(his.account_id, hers.sign_in, hers.family, hers.secret).text)
    assert good(alice.client, hers.text)


@pytest.mark.parametrize("token", ["", "x", "é", "a" * 106, "a" * 108, "=" * 107, "\ud7ff", " ", "x" * 1024])
@pytest.mark.http
def test_what_is_no_token_is_refused_alike(nobody: Person, token: str):
    is_refused(nobody.client, token, "token-invalid")


@pytest.mark.http
def test_a_token_of_no_sign_in_is_one_of_a_sign_in_that_has_ended(nobody: Person):
    is_refused(nobody.client, "A" * 107)


@pytest.mark.parametrize("value", [None, 5, ["a"], {}, True, "a\0b", "a" * 1025])
@pytest.mark.http
def test_refuses_bad_members_and_names_them(nobody: Person, value: object):
    refused(nobody.post(PATH, {"refreshToken": value}), 400, "invalid-input", "refreshToken")
    refused(nobody.post(PATH, {}), 400, "invalid-input", "refreshToken")
    refused(nobody.post(PATH, {"refreshToken": "x", "token": "y"}), 400, "invalid-input", "token")


def test_needs_no_access_token_nor_minds_a_bad_one(alice: Person):
    token = sign_in(alice)["refreshToken"]
    assert Person(alice.client, "rubbish").post(PATH, {"refreshToken": token}).status_code == 200


def test_tokens_of_a_sign_in_are_good_on_every_server(tmp_path: Path):
    """And what one server ends, the other refuses within five seconds."""
    with (
        running(tmp_path) as one,
        running(tmp_path, port=free_port()) as other,
        httpx.Client(base_url=one.url, timeout=30) as first,
        httpx.Client(base_url=other.url, timeout=30) as second,
    ):
        alice = sign_up(first, "alice")
        signed_in = sign_in(alice)
        child = good(second, signed_in["refreshToken"])
        assert good(first, signed_in["refreshToken"])["refreshToken"] == child["refreshToken"]
        assert Person(second, child["token"]).post("/auth/logout").status_code == 204
        signed_out_within(5, Person(first, child["token"]))
        is_refused(first, child["refreshToken"])
