"""GET /users."""

import re
import time
from typing import Any

import httpx
import pytest

from seneca.common.times import to_iso
from tests.helpers.accounts import Person, sign_up
from tests.helpers.assertions import refused
from tests.helpers.engines import engine
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server

PATH = "/users"


def register(nobody: Person, username: str, email: str) -> str:
    answer = nobody.post("/auth/register", {"username": username, "email": email, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["userId"])


def follow(person: Person, path: str) -> list[list[dict[str, Any]]]:
    """Every page, from this one on."""
    pages = []
    link: str | None = path
    while link is not None:
        answer = person.get(link)
        assert answer.status_code == 200, answer.text
        pages.append(answer.json())
        header = answer.headers.get("link")
        match = header and re.fullmatch(r'<(/users\?[!-;=?-~]+)>; rel="next"', header)
        assert header is None or match, header
        link = match[1] if match else None
    return pages


@pytest.fixture
def pupils(nobody: Person) -> tuple[str, list[str]]:
    """Five accounts whose names have a stem of their own; the stem, and their ids by creation."""
    stem = unique("pupil")
    ids = []
    for number in range(5):
        ids.append(register(nobody, f"{stem}.{number}", f"{number}@{stem}.example"))
        time.sleep(0.002)  # another millisecond
    return stem, ids


def test_lists_every_account_by_creation(server: Server, tara: Person, alice: Person):
    listed = [account for page in follow(tara, PATH + "?limit=1000") for account in page]
    stored = server.rows(
        "SELECT id, username, email, role, created_at FROM accounts WHERE erased_at IS NULL ORDER BY created_at, id"
    )
    assert listed == [
        {"id": row[0], "username": row[1], "email": row[2], "role": row[3], "createdAt": to_iso(row[4])}
        for row in stored
    ]
    assert {"alice", "tara"} <= {account["username"].partition("-")[0] for account in listed}
    assert tara.get(PATH).json() == listed[:500]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_pages_follow_the_link_to_the_end(tara: Person, pupils, limit: int):
    stem, ids = pupils
    pages = follow(tara, f"{PATH}?q={stem}&limit={limit}")
    assert [account["id"] for page in pages for account in page] == ids
    assert [len(page) for page in pages[:-1]] == (len(pages) - 1) * [limit]
    assert 1 <= len(pages[-1]) <= limit


def test_accounts_of_one_millisecond_are_ordered_by_id_and_none_is_lost(server: Server, tara: Person, nobody: Person):
    stem = unique("twin")
    ids = sorted(register(nobody, f"{stem}.{number}", f"{number}@{stem}.example") for number in range(4))
    for id_ in ids:
        engine().change(server.data, "UPDATE accounts SET created_at = 1740000000000 WHERE id = :id", id=id_)
    pages = follow(tara, f"{PATH}?q={stem}&limit=1")
    assert [page[0]["id"] for page in pages] == ids
    assert {page[0]["createdAt"] for page in pages} == {"2025-02-19T21:20:00.000Z"}


def test_an_account_made_while_pages_are_read_is_on_a_later_page(tara: Person, nobody: Person, pupils):
    stem, ids = pupils
    first = tara.get(f"{PATH}?q={stem}&limit=3")
    last = register(nobody, f"{stem}.last", f"last@{stem}.example")
    link = first.headers["link"].partition(">")[0][1:]
    rest = [account["id"] for page in follow(tara, link) for account in page]
    assert [account["id"] for account in first.json()] + rest == [*ids, last]


def fullwidth(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in text)


@pytest.mark.parametrize("form", [str, str.upper, fullwidth])
def test_q_finds_names_and_addresses_however_written(tara: Person, nobody: Person, form):
    stem = unique("Quentin")
    by_name = register(nobody, f"x{stem}ß", f"{unique('a')}@example.org")
    by_address = register(nobody, unique("b"), f"y{stem}@example.org")
    register(nobody, unique("c"), f"{unique('c')}@example.org")
    found = tara.get(PATH, params={"q": form(stem)})
    assert [account["id"] for account in found.json()] == [by_name, by_address]
    assert [a["id"] for a in tara.get(PATH, params={"q": stem + "SS"}).json()] == [by_name]


@pytest.mark.parametrize("wild", ["%", "_", "\\", "'", '"', ";", "?", "%25"])
def test_q_is_taken_at_its_word(tara: Person, nobody: Person, wild: str):
    stem = unique("w")
    with_it = register(nobody, f"{stem}{wild}z", f"{unique('w')}@example.org")
    register(nobody, f"{stem}az", f"{unique('w')}@example.org")
    assert [account["id"] for account in tara.get(PATH, params={"q": f"{stem}{wild}z"}).json()] == [with_it]


def test_q_that_nothing_contains_and_an_empty_one(tara: Person, alice: Person):
    answer = tara.get(PATH, params={"q": unique("nothing")})
    assert (answer.status_code, answer.json()) == (200, [])
    assert "link" not in answer.headers
    assert tara.get(PATH, params={"q": ""}).json() == tara.get(PATH).json()
    assert tara.get(PATH, params={"q": "ﷺ" * 200}).json() == []  # 18 characters each, once compared


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(
            (f"limit={value}", "limit")
            for value in ("0", "1001", "-1", "+5", "5.0", "1e2", "x", "", "5%20", "٣", "9" * 5000)
        ),
        ("limit=5&limit=6", "limit"),
        ("q=a&q=b", "q"),
        ("q=%00", "q"),
        (f"q={'x' * 201}", "q"),
        *((f"cursor={value}", "cursor") for value in ("", "x", "%FF", "!!!!", "W10=", "bnVsbA==", "AAAA", "x" * 5000)),
        ("offset=5", "offset"),
        ("Limit=5", "Limit"),
        ("limit=5&page=2", "page"),
    ],
)
@pytest.mark.http
def test_refuses_a_bad_query(tara: Person, query: str, field: str):
    refused(tara.get(f"{PATH}?{query}"), 400, "invalid-input", field)


@pytest.mark.parametrize("limit", [1, 1000])
def test_limits_at_their_bounds(tara: Person, limit: int):
    assert tara.get(f"{PATH}?limit={limit}").status_code == 200


def cursor_of(answer: httpx.Response) -> str:
    match = re.search(r"cursor=([^&>]+)", answer.headers["link"])
    assert match
    return match[1]


def test_refuses_the_cursor_of_another_list(tara: Person, nobody: Person, pupils):
    stem, _ = pupils
    cursor = cursor_of(tara.get(f"{PATH}?q={stem}&limit=1"))
    assert tara.get(f"{PATH}?q={stem}&cursor={cursor}").status_code == 200
    refused(tara.get(f"{PATH}?cursor={cursor}"), 400, "invalid-input", "cursor")
    refused(tara.get(f"{PATH}?q={stem}.1&cursor={cursor}"), 400, "invalid-input", "cursor")
    refused(tara.get(f"/course?q={stem}&cursor={cursor}"), 400, "invalid-input", "cursor")
    refused(tara.get(f"{PATH}?q={stem}&cursor={cursor[:-8]}"), 400, "invalid-input", "cursor")


def test_refuses_the_cursor_of_a_list_of_courses(tara: Person):
    for _ in range(2):
        body = {"courseTitle": unique("Paging"), "qualification": "GCSE", "topicsAndModules": []}
        topics = {"topicsAndModules": [{"topic": "One", "modules": ["A"]}]}
        assert tara.post("/course/create", body | topics).status_code == 201
    cursor = cursor_of(tara.get("/course?limit=1"))
    refused(tara.get(f"{PATH}?cursor={cursor}"), 400, "invalid-input", "cursor")


def test_a_trailing_slash_pages_as_well(tara: Person, pupils):
    stem, ids = pupils
    pages = follow(tara, f"{PATH}/?q={stem}&limit=2")
    assert [account["id"] for page in pages for account in page] == ids


def test_errors_and_their_order(nobody: Person, alice: Person, tara: Person, client: httpx.Client):
    refused(nobody.get(PATH + "?limit=0"), 401, "token-missing")
    refused(alice.get(PATH + "?limit=0"), 403, "forbidden")
    refused(tara.get(PATH + "?limit=0&x=1"), 400, "invalid-input")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = nobody.request(method, PATH)
        refused(answer, 405, "method-not-allowed")
        assert {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))
        assert method not in answer.headers["allow"].split(", ")
    rae = sign_up(client, "rae")
    assert rae.email not in alice.get(PATH).text
