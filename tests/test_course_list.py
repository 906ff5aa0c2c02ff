"""GET /course."""

import base64
import json
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

import httpx
import pytest

from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.exchange import write
from tests.helpers.names import unique
from tests.helpers.server import Server, running
from tests.helpers.wire import (
    KIBIBYTE,
    answers_head,
    pages,
    refuses_callers,
    refuses_methods,
    refuses_pages,
    refuses_query,
)

PATH = "/course"
# in the order of code points, which is not that of UTF-16: U+FFxx comes before U+1Dxxx
SUFFIXES = ["", " b", "!", "Z", "a", "z", "É", "é", "е", "数", "\ue000", "ｚ", "𝒜", "🎓"]  # е is Cyrillic


@pytest.fixture
def many(tara: Person) -> list[dict]:
    """Courses with a common beginning, in the order of their titles."""
    stem = unique("List")
    made = {suffix: make_course(tara, courseTitle=stem + suffix) for suffix in reversed(SUFFIXES)}
    return [made[suffix] for suffix in SUFFIXES]


def test_lists_courses_by_title_in_code_points(tara: Person, alice: Person, many):
    for person in (tara, alice):
        answer = person.get(f"{PATH}?limit=1000")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        titles = [course["courseTitle"] for course in answer.json()]
        assert titles == sorted(titles)
        assert [course for course in answer.json() if course in many] == many


@pytest.mark.parametrize("limit", [1, 4, 13, 14, 15])
def test_pages_to_the_end(alice: Person, many, limit: int):
    stem = many[0]["courseTitle"]
    found = pages(alice, f"{PATH}?limit={limit}&q={stem}")
    assert [course for page in found for course in page] == many
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert 1 <= len(found[-1]) <= limit


def test_a_page_goes_on_where_the_last_one_ended(tara: Person, alice: Person, many):
    stem = many[0]["courseTitle"]
    first = alice.get(f"{PATH}?limit=3&q={stem}")
    assert first.json() == many[:3]
    tara.delete(f"/course/{many[2]['id']}")  # the very place where the page ended
    tara.delete(f"/course/{many[4]['id']}")
    between = make_course(tara, courseTitle=f"{stem}!b")
    rest = pages(alice, first.links["next"]["url"])
    assert [course for page in rest for course in page] == [between, many[3], *many[5:]]


def test_the_default_limit_is_500(tmp_path: Path):
    members = {"qualification": "GCSE", "topicsAndModules": [], "createdAt": "2026-03-01T10:00:00.000Z"}
    made = [{"id": str(uuid4()), "courseTitle": f"Course {n:04}"} | members for n in range(1001)]
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara = sign_up(client, "tara", role="admin")
        assert pages(tara, PATH) == [[]]
        file = write(tmp_path / "courses.jsonl", *({"kind": "course"} | course for course in made))
        assert seneca("import", file, "--data", tmp_path).returncode == 0
        assert [len(page) for page in pages(tara, PATH)] == [500, 500, 1]
        assert [len(page) for page in pages(tara, f"{PATH}?limit=1000")] == [1000, 1]
        assert [course for page in pages(tara, PATH) for course in page] == made


def test_a_page_ends_early_at_8_mib(server: Server, tara: Person, alice: Person):
    names = [f"{j}".ljust(190, "m") for j in range(500)]
    topics = [{"topic": f"T{i}", "modules": names} for i in range(10)]
    stem = unique("Large")
    made = [make_course(tara, courseTitle=f"{stem}-{i:02}", topicsAndModules=topics) for i in range(10)]
    size = len(alice.get(f"/course/{made[0]['id']}").content)
    assert 900 * KIBIBYTE < size < 1024 * KIBIBYTE
    first = alice.get(f"{PATH}?q={stem}")
    assert len(first.json()) == 8 * 1024 * KIBIBYTE // size
    found = pages(alice, f"{PATH}?q={stem}")
    assert len(found) == 2
    assert [course for page in found for course in page] == made
    for course in made:  # they would be in the way of other tests' pages
        assert tara.delete(f"/course/{course['id']}").status_code == 204


@pytest.mark.parametrize(
    ("title", "qualification", "query"),
    [
        ("Ancient Greek", "GCSE", "cient gr"),
        ("Ancient Greek", "GCSE", "ANCIENT"),
        ("Straße", "GCSE", "STRASSE"),
        ("Ｆｕｌｌ", "GCSE", "full"),  # full-width letters
        ("École", "GCSE", "éCOLE"),
        ("Physics", "Ab-Itur", "AB-ITUR"),
        ("100%", "GCSE", "100%"),
        ("a_b", "GCSE", "A_B"),
        ("back\\slash", "GCSE", "k\\s"),
    ],
)
def test_q_finds_titles_and_qualifications(tara: Person, alice: Person, title: str, qualification: str, query: str):
    course = make_course(tara, courseTitle=unique(title), qualification=qualification)
    found = [c for page in pages(alice, str(httpx.URL(PATH, params={"q": query}))) for c in page]
    assert course in found


def test_q_takes_nothing_for_a_pattern(tara: Person, alice: Person):
    stem = unique("Pattern")
    make_course(tara, courseTitle=f"{stem}xy")
    for query in (f"{stem}%", f"{stem}_y", f"{stem}x%y", f"{stem}\\", f"*{stem}", f"{stem}\nGCSE"):
        assert alice.get(str(httpx.URL(PATH, params={"q": query}))).json() == []
    assert len(alice.get(f"{PATH}?q={stem}").json()) == 1


def test_refuses_pages_that_cannot_be(alice: Person, many):
    refuses_pages(alice, PATH)
    refuses_query(alice, "GET", PATH, "limit", "cursor", "q")
    refused(alice.get(f"{PATH}?q={'x' * 201}"), 400, "invalid-input", "q")
    refused(alice.get(f"{PATH}?q=a%00"), 400, "invalid-input", "q")
    refused(alice.get(f"{PATH}?q=a&q=b"), 400, "invalid-input", "q")


def test_refuses_a_foreign_cursor(tara: Person, alice: Person, many):
    stem = many[0]["courseTitle"]
    cursor = alice.get(f"{PATH}?limit=1&q={stem}").links["next"]["url"].split("cursor=")[1].split("&")[0]
    assert alice.get(f"{PATH}?limit=1&q={stem}&cursor={cursor}").json() == many[1:2]
    refused(alice.get(f"{PATH}?limit=1&cursor={cursor}"), 400, "invalid-input", "cursor")
    refused(alice.get(f"{PATH}?limit=1&q=other&cursor={cursor}"), 400, "invalid-input", "cursor")
    refused(tara.get(f"/users?cursor={cursor}"), 400, "invalid-input", "cursor")
    refused(tara.get(f"{PATH}?limit=1&q={stem}&cursor={cursor}"), 400, "invalid-input", "cursor")
    scope, _ = json.loads(base64.urlsafe_b64decode(unquote(cursor)))
    for place in ("1", "null", '"\\u0000"', '["x"]'):
        forged = base64.urlsafe_b64encode(f'["{scope}",{place}]'.encode()).decode()
        refused(alice.get(f"{PATH}?limit=1&q={stem}&cursor={forged}"), 400, "invalid-input", "cursor")
    for forged in (f'["{scope}"]'.encode(), b"{}", b"\xff"):
        cursor = base64.urlsafe_b64encode(forged).decode()
        refused(alice.get(f"{PATH}?limit=1&q={stem}&cursor={cursor}"), 400, "invalid-input", "cursor")


def test_refuses_who_may_not_and_other_methods(nobody: Person, alice: Person):
    refuses_callers(nobody, "GET", PATH, but=alice)
    refuses_methods(nobody, PATH, "GET")
    answers_head(alice, f"{PATH}")
