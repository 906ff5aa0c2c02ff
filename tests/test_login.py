"""POST /auth/login."""

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argon2
import bcrypt
import httpx
import pytest

from seneca import accounts
from seneca.auth import passwords
from seneca.common.ids import new_id
from seneca.database import open_database
from tests.helpers.accounts import Person, sign_up
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.engines import engine
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server, running
from tests.helpers.wire import clients_of_workers, signed_out_within

PATH = "/auth/login"


def login(person: Person, username: str, password: str = PASSWORD) -> httpx.Response:
    return person.post(PATH, {"username": username, "password": password})


def parts_of(token: str) -> list[dict[str, Any]]:
    """The header and the payload of a token, as the reference's clients read them."""
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]]


def test_answers_a_token_and_records_the_sign_in(server: Server, nobody: Person, alice: Person):
    before = int(time.time())
    answer = login(nobody, alice.username)
    assert answer.status_code == 200
    body = answer.json()
    assert body == {
        "token": body["token"],
        "refreshToken": body["refreshToken"],
        "tokenType": "Bearer",
        "expiresIn": 3600,
    }
    header, payload = parts_of(body["token"])
    assert header["alg"] == "HS256"
    assert header["kid"]
    assert payload["id"] == payload["sub"] == alice.id
    assert payload["role"] == "user"
    assert payload["iss"] == payload["aud"] == "seneca"
    assert before <= payload["iat"] <= time.time()
    assert payload["exp"] == payload["iat"] + 3600
    assert payload["jti"] != payload["sid"]
    ((started, live, used),) = server.rows(
        "SELECT started_at, live_hash, used_hash FROM sign_ins WHERE account_id = :a AND id = :s",
        a=alice.id,
        s=payload["sid"],
    )
    assert before <= started // 1000 <= time.time()
    assert re.fullmatch("[0-9a-f]{64}", live)
    assert used == ""
    assert Person(nobody.client, body["token"]).get("/auth/me").json()["id"] == alice.id


def test_an_administrators_token_says_so(tara: Person):
    assert parts_of(str(tara.token))[1]["role"] == "admin"


def test_every_sign_in_is_its_own(server: Server, nobody: Person, alice: Person):
    tokens = {login(nobody, alice.username).json()["token"] for _ in range(3)}
    assert len(tokens) == 3
    assert server.rows("SELECT count(*) FROM sign_ins WHERE account_id = :a", a=alice.id) == [(4,)]


def test_an_account_has_fifty_sign_ins_and_the_oldest_ends(tmp_path: Path):
    """Also those that were begun when there was no limit; on every worker."""
    with running(tmp_path, "--workers", "2") as server, httpx.Client(base_url=server.url, timeout=30) as client:
        alice = sign_up(client, "alice", role="admin")
        everywhere = [Person(worker, alice.token) for worker in clients_of_workers(server, 2)]
        copy = """
        INSERT INTO sign_ins (bucket, account_id, id, started_at, family_hash, live_hash, used_hash, salt, refreshed_at)
        SELECT bucket, account_id, :id, started_at + :later, family_hash, live_hash, used_hash, salt, refreshed_at
        FROM sign_ins WHERE account_id = :account AND family_hash <> ''
        """
        (first,) = (row[0] for row in server.rows("SELECT id FROM sign_ins"))
        for number in range(1, 60):
            copy_one = copy + " AND id = :first"
            engine().change(tmp_path, copy_one, id=new_id(), later=number, account=alice.id, first=first)
        newest = Person(client, login(alice, alice.username).json()["token"])
        rows = server.rows("SELECT id FROM sign_ins WHERE account_id = :a ORDER BY started_at", a=alice.id)
        assert len(rows) == 50
        assert (first,) not in rows
        assert len(server.rows("SELECT 1 FROM revocations")) == 11
        deadline = time.monotonic() + 5
        for there in everywhere:
            signed_out_within(deadline - time.monotonic(), there)
            there.client.close()
        assert newest.get("/auth/me").status_code == 200
        login(alice, alice.username)
        assert len(server.rows("SELECT 1 FROM sign_ins")) == 50


def test_takes_the_address_and_any_way_to_write_a_name(nobody: Person, alice: Person):
    fullwidth = "".join(chr(ord(c) + 0xFEE0) for c in alice.username)
    for name in (alice.username.upper(), alice.email, alice.email.title(), fullwidth):
        assert parts_of(login(nobody, name).json()["token"])[1]["id"] == alice.id


def test_an_unknown_name_and_a_wrong_password_answer_the_same_bytes(server: Server, nobody: Person, alice: Person):
    answers = [
        login(nobody, alice.username, "wrong-password"),
        login(nobody, alice.email, "wrong-password"),
        login(nobody, unique("nobody"), "wrong-password"),
        login(nobody, unique("nobody"), PASSWORD),
        login(nobody, alice.username, PASSWORD.upper()),
        login(nobody, alice.username, ""),
        login(nobody, "", PASSWORD),
        login(nobody, alice.username, PASSWORD + " "),
    ]
    assert refused(answers[0], 401, "invalid-credentials") == {
        "type": "/docs#invalid-credentials",
        "title": "Invalid credentials",
        "status": 401,
        "detail": "Invalid credentials",
        "code": "invalid-credentials",
        "message": "Invalid credentials",
    }
    each_its_own = {"x-request-id", "date"}
    headers = [{k: v for k, v in answer.headers.items() if k not in each_its_own} for answer in answers]
    assert all(answer.status_code == 401 for answer in answers)
    assert {answer.content for answer in answers} == {answers[0].content}
    assert all(h == headers[0] for h in headers)
    assert server.rows("SELECT count(*) FROM sign_ins WHERE account_id = :a", a=alice.id) == [(1,)]


def test_an_account_without_a_password_cannot_sign_in(server: Server, nobody: Person, alice: Person, tara: Person):
    engine().change(server.data, "DELETE FROM passwords WHERE account_id = :id", id=alice.id)
    wrong = login(nobody, unique("nobody"))
    for password in (PASSWORD, "", "nobody's"):
        answer = login(nobody, alice.username, password)
        refused(answer, 401, "invalid-credentials")
        assert answer.content == wrong.content
    assert tara.patch(f"/users/{alice.id}", {"password": PASSWORD}).status_code == 200
    assert login(nobody, alice.username).status_code == 200


# -- hashes that were not made here ------------------------------------------------------------

LONG = "correct horse battery staple, " * 4  # 120 bytes; bcrypt looked at 72
WIDE = "é" * 60  # 120 bytes, too; the 72nd ends a character


def of_bcrypt(password: str, prefix: bytes = b"2b") -> str:
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4, prefix)).decode()


IMPORTED = {
    "short": ("pw", of_bcrypt("pw")),
    "empty": ("", of_bcrypt("")),
    "long": (LONG, of_bcrypt(LONG)),
    "long-a": (LONG, of_bcrypt(LONG, b"2a")),
    "short-y": ("pw", of_bcrypt("pw").replace("$2b$", "$2y$")),
    "wide": (WIDE, of_bcrypt("x" + WIDE)),
    "costly": ("old-and-costly", argon2.PasswordHasher(time_cost=3, memory_cost=65_536).hash("old-and-costly")),
    "cheap": ("old-and-cheap", argon2.PasswordHasher(time_cost=1, memory_cost=8_192).hash("old-and-cheap")),
    "racer": ("racing-at-once", of_bcrypt("racing-at-once")),
}
IMPORTED["wide"] = ("x" + WIDE, IMPORTED["wide"][1])  # the 72nd byte is half a character


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose accounts came with the hashes that they had elsewhere."""
    data = tmp_path_factory.mktemp("imported")
    database = open_database(engine().url(data))
    with database.write_transaction() as tx:
        for name, (_, password_hash) in IMPORTED.items():
            accounts.create(
                tx,
                id=new_id(),
                username=name,
                email=f"{name}@example.org",
                role="user",
                password_hash=password_hash,
                created_at=1_740_000_000_000,
            )
    database.close()
    with running(data) as server:
        yield server


def stored_hash(server: Server, name: str) -> str:
    sql = "SELECT hash FROM passwords p JOIN accounts a ON a.id = p.account_id WHERE username = :name"
    return str(server.rows(sql, name=name)[0][0])


@pytest.mark.parametrize("name", [name for name in IMPORTED if name != "racer"])
def test_an_imported_hash_signs_in_and_is_renewed(imported: Server, name: str):
    password, given = IMPORTED[name]
    with httpx.Client(base_url=imported.url) as client:
        nobody = Person(client)
        refused(login(nobody, name, "wrong" + password), 401, "invalid-credentials")
        assert stored_hash(imported, name) == given, "a failure renews nothing"
        assert login(nobody, name, password).status_code == 200
        renewed = stored_hash(imported, name)
        assert renewed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert passwords.verify(renewed, password)
        assert login(nobody, name, password).status_code == 200
        assert stored_hash(imported, name) == renewed, "a current hash is left alone"
        if len(password.encode()) > 72:  # from now on all of it counts
            refused(login(nobody, name, password[:-1]), 401, "invalid-credentials")


def failure_seconds(client: httpx.Client, name: str) -> float:
    began = time.monotonic()
    assert client.post(PATH, json={"username": name, "password": "wrong-password"}).status_code == 401
    return time.monotonic() - began


def test_a_costly_imported_hash_slows_every_failure_alike(tmp_path: Path):
    """Verifying 64 MiB in 5 passes takes 257 to 268 ms, and would show in the time."""
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        sign_up(client, "tara", role="admin")
        assert failure_seconds(client, unique("nobody")) >= 0.25
        line = {"kind": "user", "id": new_id(), "username": "old", "email": "old@example.org", "role": "user"}
        hasher = argon2.PasswordHasher(time_cost=5, memory_cost=65_536, parallelism=1)
        lines = tmp_path / "users.jsonl"
        lines.write_text(json.dumps(line | {"passwordHash": hasher.hash("old-and-costly")}) + "\n")
        done = seneca("import", lines, "--data", tmp_path)
        assert done.returncode == 0, done.stderr
        assert server.rows("SELECT value FROM properties WHERE name = 'login-failure-ms'") == [("500",)]
        for name in (unique("nobody"), "old", unique("nobody")):
            assert failure_seconds(client, name) >= 0.5
        assert client.post(PATH, json={"username": "old", "password": "old-and-costly"}).status_code == 200


def test_many_first_sign_ins_at_once_all_succeed(imported: Server):
    ready, statuses = threading.Barrier(4), []
    password, _ = IMPORTED["racer"]

    def sign_in() -> None:
        ready.wait()
        answer = httpx.post(imported.url + PATH, json={"username": "racer", "password": password}, timeout=30)
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=sign_in) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == 4 * [200]
    assert passwords.verify(stored_hash(imported, "racer"), password)


# -- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("username", value) for value in (None, 5, ["a"], {}, True, "a\0b", "a" * 1025)),
        *(("password", value) for value in (None, 5, ["a"], {}, True, "a\0b", "a" * 1025)),
    ],
)
@pytest.mark.http
def test_refuses_bad_members_and_names_them(nobody: Person, field: str, value: object):
    answer = nobody.post(PATH, {"username": "rae", "password": PASSWORD} | {field: value})
    refused(answer, 400, "invalid-input", field)


@pytest.mark.parametrize("field", ["username", "password"])
def test_refuses_a_missing_member(nobody: Person, field: str):
    given = {"username": "rae", "password": PASSWORD}
    del given[field]
    body = refused(nobody.post(PATH, given), 400, "invalid-input", field)
    assert body["errors"] == [{"field": field, "message": "is required"}]


def test_refuses_an_unknown_member(nobody: Person, alice: Person):
    given = {"username": alice.username, "password": PASSWORD, "email": alice.email}
    body = refused(nobody.post(PATH, given), 400, "invalid-input", "email")
    assert PASSWORD not in json.dumps(body)


def test_405(nobody: Person):
    refused(nobody.get(PATH), 405, "method-not-allowed")
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
        answer = nobody.request(method, PATH)
        assert answer.status_code == 405
        assert "POST" in answer.headers["allow"]
        assert "GET" not in answer.headers["allow"]


def test_the_order_of_errors(nobody: Person):
    wrong = {"username": unique("nobody"), "password": PASSWORD}
    plain = {"Content-Type": "text/plain"}
    refused(nobody.put(PATH, content=b"x" * 300_000), 405, "method-not-allowed")
    refused(nobody.post(PATH + "?x=1", content=b"x" * 300_000, headers=plain), 413, "payload-too-large")
    refused(nobody.post(PATH + "?x=1", content=b"{", headers=plain), 415, "unsupported-media-type")
    refused(nobody.post(PATH, content=b"{", headers={"Content-Type": "application/json"}), 400, "malformed-json")
    refused(nobody.post(PATH + "?x=1", wrong), 400, "invalid-input", "x")
    refused(nobody.post(PATH, wrong), 401, "invalid-credentials")


def test_a_role_that_changed_since_is_in_the_next_token(nobody: Person, tara: Person, client: httpx.Client):
    rae = sign_up(client, "rae")
    tara.patch(f"/users/{rae.id}", {"role": "admin"})
    assert parts_of(login(nobody, rae.username).json()["token"])[1]["role"] == "admin"
