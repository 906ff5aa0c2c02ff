"""GET /course/{courseIdentifier}."""

import re
from urllib.parse import quote

import pytest

from tests.helpers.accounts import Person, make_course
from tests.helpers.assertions import refused
from tests.helpers.names import unique
from tests.helpers.wire import UNKNOWN, answers_head, refuses_methods, refuses_query


def test_reads_by_id_without_a_token(nobody: Person, course):
    answer = nobody.get(f"/course/{course['id']}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == course
    assert list(answer.json()) == ["id", "courseTitle", "qualification", "topicsAndModules", "createdAt"]
    assert nobody.get(f"/course/{course['id'].upper()}").json() == course


@pytest.mark.parametrize(
    "stem", ["Maths", "a b", "100% sure?", "A#1;b&c=d+e", "数学 🎓", "é", "%41", "%2F", "x:y@z", "'"]
)
def test_reads_by_exact_title(nobody: Person, tara: Person, stem: str):
    course = make_course(tara, courseTitle=(title := unique(stem)))
    answer = nobody.get(f"/course/{quote(title, safe='')}")
    assert answer.status_code == 200
    assert answer.json() == course


def test_a_title_is_matched_whole_and_as_it_is(nobody: Person, tara: Person):
    title = unique("Straße")
    make_course(tara, courseTitle=title)
    for other in (title.lower(), title.upper(), title[:-1], title.replace("ß", "ss"), "%"):
        refused(nobody.get(f"/course/{quote(other, safe='')}"), 404, "course-not-found")


@pytest.mark.parametrize("identifier", [UNKNOWN, "nowhere", "%FF", "%ED%A0%80", "x" * 2000, UNKNOWN.replace("-", "")])
def test_refuses_an_unknown_course(nobody: Person, identifier: str):
    refused(nobody.get(f"/course/{identifier}"), 404, "course-not-found")


def test_refuses_nul(nobody: Person):
    refused(nobody.get("/course/a%00b"), 400, "invalid-input", "courseIdentifier")


def test_an_etag_saves_reading_it_again(nobody: Person, tara: Person, course):
    path = f"/course/{course['id']}"
    etag = nobody.get(path).headers["etag"]
    assert re.fullmatch(r'"[!-~]+"', etag)
    assert nobody.get(f"/course/{course['courseTitle']}").headers["etag"] == etag
    for condition in (etag, f"W/{etag}", "*", f'"other", {etag}', f'W/"other",W/{etag}'):
        answer = nobody.get(path, headers={"If-None-Match": condition})
        assert (answer.status_code, answer.content) == (304, b""), condition
        assert answer.headers["etag"] == etag
    for condition in ('"other"', etag.strip('"'), ""):
        answer = nobody.get(path, headers={"If-None-Match": condition})
        assert (answer.status_code, answer.json()) == (200, course), condition
    head = nobody.request("HEAD", path, headers={"If-None-Match": etag})
    assert (head.status_code, head.content) == (304, b"")


def test_the_etag_changes_with_the_course(nobody: Person, tara: Person, course):
    path = f"/course/{course['id']}"
    seen = [nobody.get(path).headers["etag"]]
    for change in ({"qualification": "A level"}, {"topicsAndModules": []}, {"courseTitle": unique("Renamed")}):
        answer = tara.put(path, change)
        assert answer.headers["etag"] == nobody.get(path).headers["etag"]
        assert nobody.get(path, headers={"If-None-Match": seen[-1]}).status_code == 200
        assert answer.headers["etag"] not in seen
        seen.append(answer.headers["etag"])
    assert tara.put(path, {name: course[name] for name in ("courseTitle", "qualification", "topicsAndModules")})
    assert nobody.get(path).headers["etag"] == seen[0]


def test_answers_head_and_refuses_the_rest(nobody: Person, course):
    path = f"/course/{course['id']}"
    answers_head(nobody, path)
    refuses_methods(nobody, path, "GET", "PUT", "DELETE")
    refuses_query(nobody, "GET", path)


def test_a_fixed_path_wins(nobody: Person):
    refused(nobody.get("/course/create"), 405, "method-not-allowed")


def test_a_bad_token_does_no_harm_where_none_is_needed(nobody: Person, course):
    answer = nobody.get(f"/course/{course['id']}", headers={"Authorization": "Bearer x"})
    assert (answer.status_code, answer.json()) == (200, course)
