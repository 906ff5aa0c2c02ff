"""POST /course/create."""

import json
import re
import time
from urllib.parse import quote

import pytest

from tests.helpers.accounts import Person, make_course
from tests.helpers.assertions import refused
from tests.helpers.names import unique
from tests.helpers.server import Server
from tests.helpers.wire import (
    KIBIBYTE,
    TIME,
    UUID7,
    counts,
    refuses_bodies,
    refuses_callers,
    refuses_methods,
    refuses_query,
)

PATH = "/course/create"


def body(**members) -> dict:
    return {
        "courseTitle": unique("Biology"),
        "qualification": "A level",
        "topicsAndModules": [{"topic": "Cells", "modules": ["Membranes", "Mitosis"]}],
    } | members


def test_creates_a_course(server: Server, tara: Person):
    payload = body()
    before = int(time.time() * 1000)
    answer = tara.post(PATH, payload)
    assert answer.status_code == 201
    course = answer.json()["newCourse"]
    assert answer.json() == {
        "message": "Course created successfully",
        "newCourse": {"id": course["id"], **payload, "createdAt": course["createdAt"]},
    }
    assert re.fullmatch(UUID7, course["id"])
    assert re.fullmatch(TIME, course["createdAt"])
    [(title, qualification, topics, created_at)] = server.rows(
        "SELECT title, qualification, topics, created_at FROM courses WHERE id = :id", id=course["id"]
    )
    assert (title, qualification) == (payload["courseTitle"], "A level")
    assert json.loads(topics) == payload["topicsAndModules"]
    assert before <= created_at <= time.time() * 1000
    assert tara.get(f"/course/{course['id']}").json() == course


@pytest.mark.parametrize(
    "topics",
    [
        [],
        [{"topic": "T", "modules": []}],
        [{"topic": "A", "modules": ["M"]}, {"topic": "a", "modules": ["M"]}],  # names differ in case; topics may share
        [{"topic": "É", "modules": ["é", "e", "m/n", "create", "𝟘"]}],
        [{"topic": "t" * 200, "modules": ["𝕞" * 200]}],
        [{"topic": f"T{i}", "modules": ["M"]} for i in range(200)],
        [{"topic": "T", "modules": [f"M{i}" for i in range(500)]}],
    ],
    ids=["none", "no-modules", "case", "unicode", "long", "200-topics", "500-modules"],
)
def test_takes_topics_as_they_are(tara: Person, topics):
    course = make_course(tara, topicsAndModules=topics)
    assert course["topicsAndModules"] == topics
    assert tara.get(f"/course/{course['id']}").json()["topicsAndModules"] == topics


@pytest.mark.parametrize(
    "stem", ["Création", "数学 🎓", "a b", "CREATE", "created", "100% sure?", "A#1", "a;b&c=d+e", "q\\u", "'\"<>"]
)
def test_takes_titles_of_all_kinds(server: Server, tara: Person, stem: str):
    course = make_course(tara, courseTitle=(title := unique(stem)))
    assert course["courseTitle"] == title
    assert server.rows("SELECT title FROM courses WHERE id = :id", id=course["id"]) == [(title,)]


def test_titles_topics_and_modules_are_trimmed_and_normalised(nobody: Person, tara: Person):
    title = unique("Café")
    topics = [{"topic": " E\u0301tude ", "modules": ["n\u0303\n", "o"]}]
    course = make_course(tara, courseTitle="\u2003" + title.replace("é", "e\u0301") + " ", topicsAndModules=topics)
    assert course["courseTitle"] == title
    assert course["topicsAndModules"] == [{"topic": "Étude", "modules": ["ñ", "o"]}]
    refused(tara.post(PATH, body(courseTitle=title)), 409, "title-taken")
    for written in (title, title.replace("é", "e\u0301"), f" {title} "):
        assert nobody.get(f"/course/{quote(written)}").json()["id"] == course["id"]
    twice = [{"topic": "é", "modules": []}, {"topic": "e\u0301", "modules": []}]
    refused(tara.post(PATH, body(topicsAndModules=twice)), 400, "invalid-input", "topicsAndModules[1].topic")


def test_takes_a_title_of_200_characters(tara: Person):
    title = unique("x").ljust(200, "𝕏")
    assert make_course(tara, courseTitle=title)["courseTitle"] == title


@pytest.mark.parametrize(
    ("title", "rule"),
    [
        ("", "at least 1"),
        ("x" * 201, "at most 200"),
        ("create", "'create'"),
        (" create\t", "'create'"),
        (".", "'.'"),
        (" ..", "'..'"),
        (" ", "blank"),
        ("\u3000", "blank"),
        (" 0199aaaa-0000-7000-8000-000000000000", "UUID"),
        ("a/b", "'/'"),
        ("a\nb", "control"),
        ("a\n", "control"),
        ("\0", "NUL"),
        ("a\x7f", "control"),
        ("a\x85", "control"),
        ("0199aaaa-0000-7000-8000-000000000000", "UUID"),
        ("0199AAAA-0000-7000-8000-00000000000F", "UUID"),
        (7, "a string"),
        (None, "a string"),
        (["x"], "a string"),
    ],
)
@pytest.mark.http
def test_refuses_titles(server: Server, tara: Person, title, rule: str):
    before = counts(server)
    problem = refused(tara.post(PATH, body(courseTitle=title)), 400, "invalid-input", "courseTitle")
    assert rule in problem["errors"][0]["message"]
    assert counts(server) == before


BAD_TOPICS = [
    ("topicsAndModules", None, "a list"),
    ("topicsAndModules", {}, "a list"),
    ("topicsAndModules", [{"topic": f"T{i}", "modules": []} for i in range(201)], "at most 200 entries"),
    ("topicsAndModules[0]", ["Cells"], "an object"),
    ("topicsAndModules[0].topic", [{"modules": []}], "required"),
    ("topicsAndModules[0].modules", [{"topic": "T"}], "required"),
    ("topicsAndModules[0].topic", [{"topic": "", "modules": []}], "at least 1 character"),
    ("topicsAndModules[0].topic", [{"topic": "x" * 201, "modules": []}], "at most 200 characters"),
    ("topicsAndModules[0].topic", [{"topic": "a\0b", "modules": []}], "NUL"),
    ("topicsAndModules[0].topic", [{"topic": 1, "modules": []}], "a string"),
    ("topicsAndModules[0].modules", [{"topic": "T", "modules": "M"}], "a list"),
    ("topicsAndModules[0].modules", [{"topic": "T", "modules": ["M"] * 501}], "at most 500 entries"),
    ("topicsAndModules[0].modules[1]", [{"topic": "T", "modules": ["M", ""]}], "at least 1 character"),
    ("topicsAndModules[0].modules[1]", [{"topic": "T", "modules": ["M", "x" * 201]}], "at most 200 characters"),
    ("topicsAndModules[0].modules[1]", [{"topic": "T", "modules": ["M", 7]}], "a string"),
    ("topicsAndModules[0].modules[2]", [{"topic": "T", "modules": ["M", "N", "M"]}], "differ"),
    ("topicsAndModules[1].topic", [{"topic": "T", "modules": []}, {"topic": "T", "modules": []}], "differ"),
    ("topicsAndModules[0].module", [{"topic": "T", "modules": [], "module": []}], "not a known member"),
]


@pytest.mark.parametrize(("field", "topics", "rule"), BAD_TOPICS, ids=range(len(BAD_TOPICS)))
@pytest.mark.http
def test_refuses_topics(server: Server, tara: Person, field: str, topics, rule: str):
    before = counts(server)
    # the decoder says "[…]" where it means an index of a list
    problem = refused(tara.post(PATH, body(topicsAndModules=topics)), 400, "invalid-input", field)
    assert rule in problem["errors"][0]["message"]
    assert counts(server) == before


@pytest.mark.parametrize("name", ["courseTitle", "qualification", "topicsAndModules"])
def test_refuses_a_missing_member(tara: Person, name: str):
    payload = body()
    del payload[name]
    problem = refused(tara.post(PATH, payload), 400, "invalid-input", name)
    assert problem["errors"] == [{"field": name, "message": "is required"}]


@pytest.mark.parametrize("qualification", ["", "x" * 201, "a\nb", "\0", 1, None])
@pytest.mark.http
def test_refuses_qualifications(tara: Person, qualification):
    refused(tara.post(PATH, body(qualification=qualification)), 400, "invalid-input", "qualification")


@pytest.mark.parametrize("name", ["id", "createdAt", "coursetitle", "", "__proto__"])
def test_refuses_unknown_members(tara: Person, name: str):
    problem = refused(tara.post(PATH, body() | {name: "x"}), 400, "invalid-input", name)
    assert problem["errors"] == [{"field": name, "message": "is not a known member"}]


def test_refuses_a_taken_title(server: Server, tara: Person, course):
    before = counts(server)
    refused(tara.post(PATH, body(courseTitle=course["courseTitle"])), 409, "title-taken")
    assert counts(server) == before
    assert tara.get(f"/course/{course['id']}").json() == course


def test_titles_are_compared_exactly(tara: Person, course):
    other = make_course(tara, courseTitle=course["courseTitle"].upper())
    assert other["id"] != course["id"]


def test_takes_a_course_of_1_mib_and_no_more(server: Server, tara: Person):
    payload = body(
        topicsAndModules=[
            {"topic": f"T{i}", "modules": [f"{j}".ljust(190, "m") for j in range(500)]} for i in range(10)
        ]
    )
    text = json.dumps(payload).encode()
    padding = 1024 * KIBIBYTE - len(text)
    assert padding > 0
    headers = {"Content-Type": "application/json"}
    before = counts(server)
    refused(tara.post(PATH, content=text + b" " * (padding + 1), headers=headers), 413, "payload-too-large")
    assert counts(server) == before
    assert tara.post(PATH, content=text + b" " * padding, headers=headers).status_code == 201
    assert counts(server)["courses"] == before["courses"] + 1


def test_refuses_who_may_not(server: Server, nobody: Person, alice: Person, tara: Person):
    before = counts(server)
    refuses_callers(nobody, "POST", PATH, but=tara, wrong_role=alice)
    refused(alice.post(PATH, body()), 403, "forbidden")
    refused(nobody.post(PATH, body()), 401, "token-missing")
    assert counts(server) == before


def test_refuses_what_is_not_such_a_request(server: Server, nobody: Person, tara: Person):
    before = counts(server)
    refuses_bodies(tara, "POST", PATH, most_kib=1024)
    refuses_methods(nobody, PATH, "POST")
    refuses_query(tara, "POST", PATH)
    assert counts(server) == before


def test_a_response_lists_twenty_errors_at_most(tara: Person):
    modules = ["the same"] * 500
    topics = [{"topic": f"T{i}", "modules": modules} for i in range(100)]
    answer = tara.post(PATH, body(topicsAndModules=topics))
    errors = refused(answer, 400, "invalid-input", "topicsAndModules[0].modules[1]")["errors"]
    assert len(errors) == 20
    assert len(answer.content) < 10_000
