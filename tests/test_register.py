"""POST /auth/register, for learners. The first administrator has a file of their own."""

import threading
from typing import Any

import httpx
import pytest

from seneca.auth import passwords
from seneca.common import text_types
from seneca.common.ids import bucket_of, parse_uuid
from tests.helpers.accounts import Person
from tests.helpers.assertions import refused
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server

PATH = "/auth/register"


def registration(**members: Any) -> dict[str, Any]:
    """A good registration of a new name, with these members instead."""
    name = unique("rae")
    return {"username": name, "email": f"{name}@example.org", "password": PASSWORD} | members


def accounts_of(server: Server, username: str) -> list[tuple[Any, ...]]:
    return server.rows("SELECT id, username, email, role FROM accounts WHERE username = :u", u=username)


def test_registers_a_learner(server: Server, nobody: Person):
    payload = registration(role="user")
    answer = nobody.post(PATH, payload)
    assert answer.status_code == 201
    user_id = answer.json()["userId"]
    assert answer.json() == {"message": "User registered successfully", "userId": user_id}
    assert parse_uuid(user_id) == user_id
    assert user_id[14] == "7"

    (row,) = server.rows("SELECT username, email, role, bucket, created_at FROM accounts WHERE id = :id", id=user_id)
    assert row[:3] == (payload["username"], payload["email"], "user")
    (buckets,) = server.rows("SELECT value FROM properties WHERE name = 'buckets'")[0]
    assert row[3] == bucket_of(user_id, int(buckets))
    assert server.rows("SELECT name_key FROM account_names WHERE account_id = :id ORDER BY name_key", id=user_id) == [
        (payload["username"],),
        (payload["email"],),
    ]
    ((stored,),) = server.rows("SELECT hash FROM passwords WHERE account_id = :id", id=user_id)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.verify(stored, PASSWORD)
    assert server.rows("SELECT id FROM sign_ins WHERE account_id = :id", id=user_id) == []


def test_the_role_is_user_unless_said(server: Server, nobody: Person):
    payload = registration()
    assert nobody.post(PATH, payload).status_code == 201
    assert accounts_of(server, payload["username"])[0][3] == "user"


@pytest.mark.parametrize("authorization", ["Bearer stale", "Bearer", "Basic eDp5", ""])
def test_no_token_is_looked_at_where_none_is_needed(nobody: Person, authorization: str):
    assert nobody.post(PATH, registration(), headers={"Authorization": authorization}).status_code == 201


def test_the_username_may_be_the_address(server: Server, nobody: Person):
    address = f"{unique('rae')}@example.org"
    user_id = nobody.post(PATH, registration(username=address, email=address)).json()["userId"]
    assert server.rows("SELECT name_key FROM account_names WHERE account_id = :id", id=user_id) == [(address,)]


@pytest.mark.parametrize("stem", ["ß", "Ω", "名前", "🦉", "o'neill", "a.b_c-d", "robert');drop", "%_", "\\", "é"])
def test_names_may_be_of_any_script(server: Server, nobody: Person, stem: str):
    name = unique(stem)
    assert nobody.post(PATH, registration(username=name)).status_code == 201
    assert accounts_of(server, name)[0][1] == name
    assert nobody.post("/auth/login", {"username": name, "password": PASSWORD}).status_code == 200


def test_a_name_has_up_to_64_characters(server: Server, nobody: Person):
    name = unique("名").ljust(64, "名")
    assert nobody.post(PATH, registration(username=name)).status_code == 201
    assert len(accounts_of(server, name)) == 1


def fullwidth(name: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in name)


TAKEN = {
    "the same name": lambda name, _: {"username": name},
    "in capitals": lambda name, _: {"username": name.upper()},
    "in fullwidth letters": lambda name, _: {"username": fullwidth(name)},
    "in fullwidth capitals": lambda name, _: {"username": fullwidth(name.upper())},
    "SS for ß": lambda name, _: {"username": name.replace("ß", "SS")},
    "ẞ for ß": lambda name, _: {"username": name.replace("ß", "ẞ")},
    "ligature ﬁ for fi": lambda name, _: {"username": name.replace("fi", "ﬁ")},
    "decomposed é": lambda name, _: {"username": name.replace("é", "e\u0301")},
    "the same address": lambda _, email: {"email": email},
    "the address in capitals": lambda _, email: {"email": email.upper()},
    "both": lambda name, email: {"username": name, "email": email},
}


@pytest.mark.parametrize("alike", TAKEN.values(), ids=TAKEN.keys())
def test_refuses_a_taken_name_or_address(server: Server, nobody: Person, alike):
    first = registration(username=unique("rafißé"), email=f"{unique('rafi')}@example.org")
    assert nobody.post(PATH, first).status_code == 201
    second = registration() | alike(first["username"], first["email"])
    answer = nobody.post(PATH, second)
    body = refused(answer, 409, "name-taken")
    assert body == {
        "type": "/docs#name-taken",
        "title": "Username or email already in use",
        "status": 409,
        "detail": "Username or email already in use",
        "code": "name-taken",
        "message": "Username or email already in use",
    }
    keys = {text_types.key(second[member]) for member in ("username", "email")}
    holders = {
        row[0] for key in keys for row in server.rows("SELECT account_id FROM account_names WHERE name_key = :k", k=key)
    }
    assert len(holders) == 1, "nothing of a refused registration is stored"
    assert len(accounts_of(server, second["username"])) == (second["username"] == first["username"])


def test_a_name_may_be_the_accounts_own_address_and_no_other(server: Server, nobody: Person):
    address = f"{unique('rae')}@example.org"
    for name in (address, address.upper(), address.replace("@", "＠"), "a@b", "é@ü.x@y"):
        body = refused(nobody.post(PATH, registration(username=name)), 400, "invalid-input")
        rule = "must not be an email address, unless it is the account's own"
        assert body["errors"] == [{"field": "username", "message": rule}]
        assert accounts_of(server, name) == []
    assert nobody.post(PATH, registration(username=address.upper(), email=address)).status_code == 201
    refused(nobody.post(PATH, registration(email=address)), 409, "name-taken")
    for name in (unique("@rae"), unique("rae@")):
        assert nobody.post(PATH, registration(username=name)).status_code in (201, 400)


def test_never_says_which_was_taken(nobody: Person):
    first = registration()
    nobody.post(PATH, first)
    by_name = nobody.post(PATH, registration(username=first["username"]))
    by_address = nobody.post(PATH, registration(email=first["email"]))
    assert (by_name.status_code, by_name.content) == (by_address.status_code, by_address.content)


def test_one_of_many_at_once_gets_the_name(server: Server):
    name, ready, answers = unique("rae"), threading.Barrier(8), []

    def register(number: int) -> None:
        payload = registration(username=name, email=f"{name}.{number}@example.org")
        ready.wait()
        answers.append(httpx.post(server.url + PATH, json=payload, timeout=30))

    threads = [threading.Thread(target=register, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(a.status_code for a in answers) == [201] + 7 * [409]
    (winner,) = [a.json()["userId"] for a in answers if a.status_code == 201]
    ((id_, *_),) = accounts_of(server, name)
    assert id_ == winner
    assert len(server.rows("SELECT 1 FROM account_names WHERE name_key LIKE :p", p=f"{name}%")) == 2


BAD = [
    *(
        ("username", value)
        for value in (
            "",
            "n" * 65,
            "two words",
            "tab\tbed",
            "line\n",
            "\r",
            "no\u00a0break",
            "em\u2003space",
            "\u3000",
            "bell\u0007",
            "nel\u0085",
            "del\u007f",
            "nul\0",
            5,
            None,
            True,
            ["a"],
            {"a": "b"},
        )
    ),
    *(
        ("email", value)
        for value in (
            "",
            "rae",
            "rae@",
            "@example.org",
            "rae@@example.org",
            "r@e@example.org",
            "rae@-example.org",
            "rae@example..org",
            "rae@.org",
            ".rae@example.org",
            "rae.@example.org",
            "rae@exa mple.org",
            "rae@example.org\n",
            "Rae <rae@example.org>",
            "rae\0@example.org",
            "rae@exam\u0000ple.org",
            "rae@[127.0.0.1]",
            "r" * 250 + "@example.org",
            5,
            None,
        )
    ),
    *(
        ("password", value)
        for value in (
            "",
            "seven77",
            "p" * 129,
            "nul\0nul\0",
            "password123",
            "PASSWORD123",
            "ｐassword1",
            12345678,
            None,
        )
    ),
    *(("role", value) for value in ("teacher", "", "Admin", "USER", 1, None, ["admin"])),
]


@pytest.mark.parametrize(("field", "value"), BAD)
@pytest.mark.http
def test_refuses_bad_members_and_names_them(server: Server, nobody: Person, field: str, value: object):
    payload = registration(**{field: value})
    refused(nobody.post(PATH, payload), 400, "invalid-input", field)
    assert server.rows("SELECT 1 FROM accounts WHERE email = :e", e=str(payload["email"])) == []
    assert accounts_of(server, str(payload["username"])) == []


@pytest.mark.parametrize("field", ["username", "email", "password"])
def test_refuses_a_missing_member(nobody: Person, field: str):
    payload = registration()
    del payload[field]
    body = refused(nobody.post(PATH, payload), 400, "invalid-input", field)
    assert body["errors"] == [{"field": field, "message": "is required"}]


def test_refuses_an_unknown_member(server: Server, nobody: Person):
    payload = registration(nickname="rae")
    body = refused(nobody.post(PATH, payload), 400, "invalid-input", "nickname")
    assert body["errors"] == [{"field": "nickname", "message": "is not a known member"}]
    assert accounts_of(server, payload["username"]) == []


@pytest.mark.parametrize("form", [str, str.upper, fullwidth])
@pytest.mark.parametrize("member", ["username", "email"])
def test_refuses_the_own_name_or_address_as_password(server: Server, nobody: Person, member: str, form):
    payload = registration()
    payload["password"] = form(payload[member])
    answer = nobody.post(PATH, payload)
    refused(answer, 400, "invalid-input", "password")
    assert accounts_of(server, payload["username"]) == []


@pytest.mark.parametrize(
    "password", ["kq7vz2mx", "tr0ub4dor&3" * 11 + "1234567", "  spaces count  ", "пароль-дома", "🦉🐌🦔🐿🦇🦌🐗🦡"]
)
def test_accepts_any_other_password(nobody: Person, password: str):
    payload = registration(password=password)
    assert nobody.post(PATH, payload).status_code == 201
    assert nobody.post("/auth/login", {"username": payload["username"], "password": password}).status_code == 200
    for other in (password.strip() + "x", password[:-1]):
        wrong = nobody.post("/auth/login", {"username": payload["username"], "password": other})
        refused(wrong, 401, "invalid-credentials")


@pytest.mark.parametrize("secret", ["seven77", "password123", "sup3r-s3cret\0word"])
def test_never_repeats_the_secret(nobody: Person, secret: str):
    answer = nobody.post(PATH, registration(password=secret))
    assert answer.status_code == 400
    assert secret.rstrip("\0") not in answer.text
    assert "s3cret" not in answer.text


@pytest.mark.parametrize(
    "domain",
    [
        "school.test",
        "school.example",
        "school.invalid",
        "school.local",
        "school.localhost",
        "school.onion",
        "home.arpa",
        "school.internal",
        "localhost",
        "intranet",
        "schön.example",
    ],
)
def test_accepts_addresses_of_special_use_domains(server: Server, nobody: Person, domain: str):
    payload = registration(email=f"{unique('rae')}@{domain}")
    assert nobody.post(PATH, payload).status_code == 201
    assert accounts_of(server, payload["username"])[0][2] == payload["email"]


def test_405(nobody: Person):
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
        answer = nobody.request(method, PATH)
        assert answer.status_code == 405
        assert "POST" in answer.headers["allow"]
        assert "GET" not in answer.headers["allow"]
    refused(nobody.get(PATH), 405, "method-not-allowed")


def test_the_order_of_errors(nobody: Person, tara: Person):
    taken = registration()
    nobody.post(PATH, taken)
    large = b"x" * 300_000
    # 405 before 413, 413 before 415, 415 before 400, 400 before 409
    refused(nobody.put(PATH, content=large), 405, "method-not-allowed")
    refused(nobody.post(PATH, content=large, headers={"Content-Type": "text/plain"}), 413, "payload-too-large")
    refused(nobody.post(PATH + "?x=1", content=large), 413, "payload-too-large")
    refused(nobody.post(PATH, content=b"{", headers={"Content-Type": "text/plain"}), 415, "unsupported-media-type")
    refused(
        nobody.post(PATH + "?x=1", content=b"{", headers={"Content-Type": "text/plain"}), 415, "unsupported-media-type"
    )
    refused(nobody.post(PATH + "?x=1", taken), 400, "invalid-input", "x")
    refused(nobody.post(PATH, taken | {"password": "password123"}), 400, "invalid-input", "password")
    refused(nobody.post(PATH, taken), 409, "name-taken")
    # 401 before 403, 403 before 400 and 409
    admin = taken | {"role": "admin", "password": "password123"}
    refused(nobody.post(PATH, admin, headers={"Authorization": "Bearer bad"}), 401, "token-invalid")
    refused(nobody.post(PATH, admin), 403, "registration-closed")
    refused(tara.post(PATH, admin), 400, "invalid-input", "password")


HIDDEN = ["\u200b", "\u200d", "\u00ad", "\ufe0f", "\U000e0041", "\u2060", "\u034f"]


@pytest.mark.parametrize("hidden", HIDDEN)
def test_characters_that_are_not_shown_make_no_other_name(server: Server, nobody: Person, hidden: str):
    first = registration(username=unique("mila"))
    assert nobody.post(PATH, first).status_code == 201
    name = first["username"]
    for alike in (name[:2] + hidden + name[2:], hidden + name.upper()):
        refused(nobody.post(PATH, registration(username=alike)), 409, "name-taken")
        login = nobody.post("/auth/login", {"username": f"\t{alike}\n", "password": first["password"]})
        assert login.status_code == 200


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("\u2800", "must have at least one visible character"),
        ("\u3164", "must have at least one visible character"),
        ("\ufeff", "must have at least one visible character"),
        ("\u202eecila", "bidirectional formatting characters"),
        ("alice\u200f", "bidirectional formatting characters"),
        ("a\u2066b", "bidirectional formatting characters"),
        ("\u061ca", "bidirectional formatting characters"),
        ("а" + "lice", "must not mix Latin, Greek and Cyrillic letters in one word"),
    ],
)
def test_names_that_look_like_others_or_like_nothing_are_refused(server: Server, nobody: Person, name: str, rule: str):
    problem = refused(nobody.post(PATH, registration(username=name)), 400, "invalid-input", "username")
    assert rule in problem["errors"][0]["message"]
    assert accounts_of(server, name) == []
