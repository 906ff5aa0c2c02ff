"""PUT /course/{courseIdentifier}."""

import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from tests.helpers.accounts import Person, make_course
from tests.helpers.assertions import refused
from tests.helpers.names import unique
from tests.helpers.server import Server
from tests.helpers.wire import KIBIBYTE, UNKNOWN, counts, refuses_bodies, refuses_callers, refuses_query

ROW = "SELECT title, qualification, topics, created_at FROM courses WHERE id = :id"


@pytest.fixture
def path(course) -> str:
    return f"/course/{course['id']}"


@pytest.mark.parametrize("name", ["courseTitle", "qualification", "topicsAndModules"])
def test_changes_what_is_given_and_keeps_the_rest(server: Server, tara: Person, course, path: str, name: str):
    new = {
        "courseTitle": unique("Renamed"),
        "qualification": "A level",
        "topicsAndModules": [{"topic": "New", "modules": ["One", "Two"]}],
    }[name]
    [before] = server.rows(ROW, id=course["id"])
    answer = tara.put(path, {name: new})
    assert answer.status_code == 200
    assert answer.json() == course | {name: new}
    assert list(answer.json()) == list(course)
    [(title, qualification, topics, created_at)] = server.rows(ROW, id=course["id"])
    assert {"courseTitle": title, "qualification": qualification, "topicsAndModules": json.loads(topics)} == {
        key: answer.json()[key] for key in ("courseTitle", "qualification", "topicsAndModules")
    }
    assert created_at == before[3]
    read = tara.get(path)
    assert read.json() == answer.json()
    assert read.headers["etag"] == answer.headers["etag"]


def test_a_course_is_sent_back_as_it_was_read(server: Server, tara: Person, course, path: str):
    before = server.rows(ROW, id=course["id"])
    etag = tara.get(path).headers["etag"]
    for sent in (course, course | {"id": UNKNOWN, "createdAt": "1999-01-01T00:00:00.000Z"}):
        answer = tara.put(path, sent)
        assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, course, etag)
    assert server.rows(ROW, id=course["id"]) == before


def test_finds_the_course_by_its_title(tara: Person):
    course = make_course(tara, courseTitle=unique("100% / ?".replace("/", "#")))
    title = unique("Après")
    answer = tara.put(f"/course/{quote(course['courseTitle'], safe='')}", {"courseTitle": title})
    assert answer.json() == course | {"courseTitle": title}
    refused(tara.get(f"/course/{quote(course['courseTitle'], safe='')}"), 404, "course-not-found")
    assert tara.get(f"/course/{quote(title, safe='')}").json() == course | {"courseTitle": title}


def test_a_new_title_is_found_by_q_and_the_old_one_is_not(tara: Person, course, path: str):
    title = unique("Findable")
    tara.put(path, {"courseTitle": title})
    assert [found["id"] for found in tara.get(f"/course?q={title}").json()] == [course["id"]]
    assert tara.get(f"/course?q={course['courseTitle']}").json() == []


def test_if_match(server: Server, tara: Person, course, path: str):
    etag = tara.get(path).headers["etag"]
    before = server.rows(ROW, id=course["id"])
    for condition in ('"other"', f"W/{etag}", etag.strip('"'), '"a", "b"', ""):
        refused(tara.put(path, {"qualification": "X"}, headers={"If-Match": condition}), 412, "precondition-failed")
        assert server.rows(ROW, id=course["id"]) == before
    answer = tara.put(path, {"qualification": "X"}, headers={"If-Match": f'"other", {etag}'})
    assert (answer.status_code, answer.json()) == (200, course | {"qualification": "X"})
    refused(tara.put(path, {"qualification": "Y"}, headers={"If-Match": etag}), 412, "precondition-failed")
    assert tara.get(path).json()["qualification"] == "X"
    answer = tara.put(path, {"qualification": "Z"}, headers={"If-Match": "*"})
    assert (answer.status_code, answer.json()["qualification"]) == (200, "Z")


def test_412_comes_last(tara: Person, course, path: str):
    stale = {"If-Match": '"other"'}
    taken = make_course(tara)["courseTitle"]
    refused(tara.put(path, {"courseTitle": "a/b"}, headers=stale), 400, "invalid-input", "courseTitle")
    refused(tara.put(f"/course/{UNKNOWN}", {"qualification": "X"}, headers=stale), 404, "course-not-found")
    refused(tara.put(path, {"courseTitle": taken}, headers=stale), 409, "title-taken")
    refused(tara.put(f"/course/{UNKNOWN}", {"qualification": "X"}, headers={"If-Match": "*"}), 404, "course-not-found")
    assert tara.get(path).json() == course


def test_of_racing_changes_to_one_version_one_wins(server: Server, tara: Person, course, path: str):
    etag = tara.get(path).headers["etag"]

    def change(number: int) -> int:
        return tara.put(path, {"qualification": f"Q{number}"}, headers={"If-Match": etag}).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(change, range(8)))
    assert sorted(statuses) == [200] + [412] * 7
    assert server.rows(ROW, id=course["id"])[0][1] == f"Q{statuses.index(200)}"


def test_refuses_a_taken_title(server: Server, tara: Person, course, path: str):
    other = make_course(tara)
    before = server.rows(ROW, id=course["id"])
    refused(tara.put(path, {"courseTitle": other["courseTitle"], "qualification": "X"}), 409, "title-taken")
    assert server.rows(ROW, id=course["id"]) == before
    assert tara.put(path, {"courseTitle": course["courseTitle"]}).status_code == 200


BAD = [
    ("courseTitle", {"courseTitle": ""}),
    ("courseTitle", {"courseTitle": "create"}),
    ("courseTitle", {"courseTitle": UNKNOWN}),
    ("courseTitle", {"courseTitle": "a/b"}),
    ("courseTitle", {"courseTitle": "a\tb"}),
    ("courseTitle", {"courseTitle": "x" * 201}),
    ("courseTitle", {"courseTitle": None}),
    ("qualification", {"qualification": ""}),
    ("qualification", {"qualification": 3}),
    ("qualification", {"qualification": None}),
    ("topicsAndModules", {"topicsAndModules": None}),
    ("topicsAndModules", {"topicsAndModules": [{"topic": f"{i}", "modules": []} for i in range(201)]}),
    ("topicsAndModules[0].modules", {"topicsAndModules": [{"topic": "T", "modules": ["M"] * 501}]}),
    ("topicsAndModules[1].topic", {"topicsAndModules": [{"topic": "T", "modules": []}] * 2}),
    ("topicsAndModules[0].modules[1]", {"topicsAndModules": [{"topic": "T", "modules": ["M", "M"]}]}),
    ("topicsAndModules[0].modules", {"topicsAndModules": [{"topic": "T"}]}),
    ("topicsAndModules[0].id", {"topicsAndModules": [{"topic": "T", "modules": [], "id": 1}]}),
    ("title", {"title": "x"}),
    ("", {}),
    ("", {"id": UNKNOWN}),
    ("", []),
]


@pytest.mark.parametrize(("field", "sent"), BAD, ids=range(len(BAD)))
@pytest.mark.http
def test_refuses_invalid_input(server: Server, tara: Person, path: str, field: str, sent):
    before = server.rows(ROW, id=path.removeprefix("/course/"))
    valid = {"qualification": "X"} if field and "qualification" not in sent else {}
    answer = tara.put(path, sent | valid if isinstance(sent, dict) else sent)
    refused(answer, 400, "invalid-input", field)
    assert server.rows(ROW, id=path.removeprefix("/course/")) == before


def test_takes_1_mib_and_no_more(tara: Person, course, path: str):
    text = json.dumps({"qualification": "Long"}).encode()
    headers = {"Content-Type": "application/json"}
    padding = b" " * (1024 * KIBIBYTE - len(text))
    refused(tara.put(path, content=text + padding + b" ", headers=headers), 413, "payload-too-large")
    assert tara.get(path).json() == course
    assert tara.put(path, content=text + padding, headers=headers).json() == course | {"qualification": "Long"}


def test_refuses_an_unknown_course(server: Server, tara: Person):
    before = counts(server)
    for identifier in (UNKNOWN, "nowhere", "%FF"):
        refused(tara.put(f"/course/{identifier}", {"qualification": "X"}), 404, "course-not-found")
    refused(tara.put("/course/a%00b", {"qualification": "X"}), 400, "invalid-input", "courseIdentifier")
    refused(tara.put("/course/create", {"qualification": "X"}), 405, "method-not-allowed")
    assert counts(server) == before


def test_refuses_who_may_not(server: Server, nobody: Person, alice: Person, tara: Person, path: str):
    before = server.rows(ROW, id=path.removeprefix("/course/"))
    refuses_callers(nobody, "PUT", path, but=tara, wrong_role=alice)
    refuses_callers(nobody, "PUT", f"/course/{UNKNOWN}", but=tara, wrong_role=alice)
    refused(alice.put(path, {"qualification": "X"}), 403, "forbidden")
    refused(nobody.put(path, {"qualification": "X"}), 401, "token-missing")
    refuses_bodies(tara, "PUT", path, most_kib=1024)
    refuses_query(tara, "PUT", path)
    assert server.rows(ROW, id=path.removeprefix("/course/")) == before
