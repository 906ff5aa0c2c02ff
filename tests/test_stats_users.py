"""GET /stats/users/{userId}, /stats/users/{userId}/courses/{courseId} and /stats/users/{userId}/sessions."""

import pytest

from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.assertions import refused
from tests.helpers.server import Server
from tests.helpers.wire import (
    NOTHING,
    UNKNOWN,
    answers_head,
    change_start,
    module,
    new_session,
    pages,
    refuses_callers,
    refuses_methods,
    refuses_pages,
    refuses_query,
    statistics,
)


def test_reads_one_accounts_statistics(server: Server, tara: Person, alice: Person, charlie: Person, course):
    path = f"/stats/users/{alice.id}"
    assert (tara.get(path).status_code, tara.get(path).json()) == (200, NOTHING)
    other = make_course(tara)
    new_session(charlie, course, module("Charlie's", 100))
    session_id = new_session(alice, course, module("B", 80.5, 90), module("A", 70))
    new_session(alice, other, module("B", 1), module("🎓"), module("ｚ"))
    change_start(server, session_id, -61 * 60_000)
    alice.end(session_id)
    time = {"minutes": 61, "duration": "1 hours 1 minutes"}
    whole = statistics("A", "B", "ｚ", "🎓", points=241.5, mean=24.15, **time)
    for id_ in (alice.id, alice.id.upper()):
        assert tara.get(f"/stats/users/{id_}").json() == whole
    assert tara.get(path).content == alice.get("/stats/user").content
    of_course = tara.get(f"{path}/courses/{course['id']}")
    assert of_course.json() == statistics("A", "B", points=240.5, mean=60.125, **time)
    assert of_course.content == alice.get(f"/stats/user/courses/{course['id']}").content
    assert tara.get(f"{path}/courses/{other['id']}").json() == statistics("B", "ｚ", "🎓", points=1, mean=1 / 6)
    assert tara.get(f"/stats/users/{charlie.id}/courses/{other['id']}").json() == NOTHING


def test_lists_one_accounts_sessions(tara: Person, alice: Person, charlie: Person, course):
    path = f"/stats/users/{alice.id}/sessions"
    assert (tara.get(path).status_code, tara.get(path).json()) == (200, [])
    new_session(charlie, course, module("Charlie's", 100))
    ids = [new_session(alice, course, module("A", number)) for number in range(5)]
    alice.end(ids[2])
    expected = [alice.get(f"/session/{id_}").json() for id_ in ids]
    assert tara.get(path).json() == alice.get("/stats/user/sessions").json()
    assert sorted(tara.get(path).json(), key=lambda session: ids.index(session["id"])) == expected
    found = pages(tara, f"{path}?limit=2")
    assert [len(page) for page in found] == [2, 2, 1]
    assert [session for page in found for session in page] == tara.get(path).json()
    cursor = tara.get(f"{path}?limit=2").links["next"]["url"].split("cursor=")[1]
    others = f"/stats/users/{charlie.id}/sessions?limit=2&cursor={cursor}"
    refused(tara.get(others), 400, "invalid-input", "cursor")
    refuses_pages(tara, path)


def test_an_admins_own_are_zeros(client, tara: Person, course):
    admin = sign_up(client, "theo", role="admin", by=tara)
    for person in (tara, admin):
        assert tara.get(f"/stats/users/{person.id}").json() == NOTHING
        assert tara.get(f"/stats/users/{person.id}/courses/{course['id']}").json() == NOTHING
        assert tara.get(f"/stats/users/{person.id}/sessions").json() == []


def test_refuses_what_does_not_exist(tara: Person, alice: Person, course):
    for user_id in (UNKNOWN, course["id"]):
        for path in ("", f"/courses/{course['id']}", f"/courses/{UNKNOWN}", "/sessions"):
            refused(tara.get(f"/stats/users/{user_id}{path}"), 404, "account-not-found")
    refused(tara.get(f"/stats/users/{alice.id}/courses/{UNKNOWN}"), 404, "course-not-found")


@pytest.mark.parametrize("bad", ["x", UNKNOWN[:-1], "%00", "%FF"])
@pytest.mark.http
def test_refuses_what_is_no_uuid(tara: Person, alice: Person, course, bad: str):
    for path in ("", f"/courses/{course['id']}", "/sessions"):
        refused(tara.get(f"/stats/users/{bad}{path}"), 400, "invalid-input", "userId")
    refused(tara.get(f"/stats/users/{alice.id}/courses/{bad}"), 400, "invalid-input", "courseId")


def test_refuses_who_may_not_and_other_methods(nobody: Person, tara: Person, alice: Person, course):
    for tail, known in (("", ()), (f"/courses/{course['id']}", ()), ("/sessions", ("limit", "cursor"))):
        path = f"/stats/users/{alice.id}{tail}"
        refuses_callers(nobody, "GET", path, but=tara, wrong_role=alice)
        refuses_callers(nobody, "GET", f"/stats/users/{UNKNOWN}{tail}", but=tara, wrong_role=alice)
        refuses_methods(nobody, path, "GET")
        refuses_query(tara, "GET", path, *known)
        answers_head(tara, path)
