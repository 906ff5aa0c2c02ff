"""GET and PATCH /course/{courseIdentifier}/settings: the marks that a course has of its own."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.helpers.accounts import Person
from tests.helpers.assertions import refused
from tests.helpers.wire import UNKNOWN, answers_head, refuses_bodies, refuses_callers, refuses_query

SCHOOL = {"passMark": 50, "fullMark": 100}


@pytest.fixture
def path(course: dict[str, Any]) -> str:
    return f"/course/{course['id']}/settings"


def test_a_new_course_has_the_schools_marks(tara: Person, path: str):
    answer = tara.get(path)
    assert (answer.status_code, answer.json()) == (200, {"passMark": None, "fullMark": None, "inForce": SCHOOL})


def test_its_own_marks_apply_until_they_are_given_back(tara: Person, course: dict[str, Any], path: str):
    before = tara.get(f"/course/{course['id']}")
    for change, own, in_force in (
        ({"passMark": 60}, (60, None), (60, 100)),
        ({"fullMark": 66.667}, (60, 66.667), (60, 66.667)),
        ({"passMark": 66.6669}, (66.667, 66.667), (66.667, 66.667)),
        ({"passMark": None}, (None, 66.667), (50, 66.667)),
        ({"passMark": 8, "fullMark": 15}, (8, 15), (8, 15)),
        ({"passMark": None, "fullMark": None}, (None, None), (50, 100)),
    ):
        answer = tara.patch(path, change)
        names = ("passMark", "fullMark")
        wanted = dict(zip(names, own, strict=True)) | {"inForce": dict(zip(names, in_force, strict=True))}
        assert (answer.status_code, answer.json()) == (200, wanted)
        assert tara.get(path).content == answer.content
    after = tara.get(f"/course/{course['id']}")
    assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])


def test_finds_the_course_by_its_title(tara: Person, course: dict[str, Any], path: str):
    by_title = f"/course/{quote(course['courseTitle'], safe='')}/settings"
    assert tara.patch(by_title, {"passMark": 1}).json() == tara.get(path).json() == tara.get(by_title).json()


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({}, "", "at least one of passMark and fullMark is required"),
        ({"passMark": 101}, "passMark", "leaves the pass mark above the full mark: 101 and 100"),
        ({"fullMark": 49.999}, "fullMark", "leaves the pass mark above the full mark: 50 and 49.999"),
        ({"passMark": 2, "fullMark": 1}, "passMark", "leaves the pass mark above the full mark: 2 and 1"),
        ({"passMark": -0.001}, "passMark", "must be at least 0"),
        ({"fullMark": 0}, "fullMark", "must be at least 0.001"),
        ({"fullMark": True}, "fullMark", "must be a number or null, not true or false"),
        ({"schoolName": "x"}, "schoolName", "is not a known member"),
        ({"inForce": SCHOOL}, "inForce", "is not a known member"),
    ],
)
def test_refuses_what_cannot_be(tara: Person, path: str, change: dict[str, Any], field: str, rule: str):
    [error] = refused(tara.patch(path, json=change), 400, "invalid-input")["errors"]
    assert (error["field"], error["message"]) == (field, rule)
    assert tara.get(path).json() == {"passMark": None, "fullMark": None, "inForce": SCHOOL}


def test_marks_are_rounded_before_they_are_compared(tara: Person, path: str):
    assert tara.patch(path, {"fullMark": 49.9996}).json()["fullMark"] == 50


def test_giving_a_mark_back_may_contradict_the_other(tara: Person, path: str):
    assert tara.patch(path, {"passMark": 120, "fullMark": 200}).status_code == 200
    [error] = refused(tara.patch(path, {"fullMark": None}), 400, "invalid-input")["errors"]
    assert error == {"field": "fullMark", "message": "leaves the pass mark above the full mark: 120 and 100"}
    assert tara.get(path).json()["fullMark"] == 200


def test_a_change_is_audited(tara: Person, course: dict[str, Any], path: str):
    tara.patch(path, {"passMark": 40.5})
    tara.patch(path, {"passMark": None, "fullMark": 90})
    entries = [entry for entry in tara.get("/audit").json() if entry["subject"] == course["id"]]
    assert [(entry["actor"], entry["act"], entry["facts"]) for entry in entries[:2]] == [
        (tara.id, "course.settings-changed", {"passMark": "changed", "fullMark": "90"}),
        (tara.id, "course.settings-changed", {"passMark": "40.5"}),
    ]


def test_refuses_who_may_not_and_other_requests(nobody: Person, tara: Person, alice: Person, path: str):
    for method in ("GET", "PATCH"):
        refuses_callers(nobody, method, path, but=tara, wrong_role=alice)
    for identifier in (UNKNOWN, "nothing", "create"):
        refused(tara.get(f"/course/{identifier}/settings"), 404, "course-not-found")
        refused(tara.patch(f"/course/{identifier}/settings", {"passMark": 1}), 404, "course-not-found")
    refuses_query(tara, "GET", path)
    refuses_bodies(tara, "PATCH", path)
    answers_head(tara, path)
