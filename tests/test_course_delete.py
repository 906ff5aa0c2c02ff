"""DELETE /course/{courseIdentifier}."""

from urllib.parse import quote

from tests.helpers.accounts import Person, make_course
from tests.helpers.assertions import refused
from tests.helpers.names import unique
from tests.helpers.server import Server
from tests.helpers.wire import UNKNOWN, counts, module, new_session, refuses_callers, refuses_query

EXISTS = "SELECT count(*) FROM courses WHERE id = :id"


def test_deletes_by_id_and_by_title(server: Server, tara: Person):
    for key in ("id", "courseTitle"):
        course = make_course(tara, courseTitle=unique("Latin & Greek? 100%"))
        answer = tara.delete(f"/course/{quote(course[key], safe='')}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert server.rows(EXISTS, id=course["id"]) == [(0,)]
        for identifier in (course["id"], quote(course["courseTitle"], safe="")):
            refused(tara.get(f"/course/{identifier}"), 404, "course-not-found")
            refused(tara.delete(f"/course/{identifier}"), 404, "course-not-found")
        refused(tara.get(f"/stats/courses/{course['id']}"), 404, "course-not-found")
        assert make_course(tara, courseTitle=course["courseTitle"])["id"] != course["id"]


def test_refuses_while_sessions_refer_to_it(server: Server, tara: Person, alice: Person, course):
    session_id = new_session(alice, course, module("Integers", 1, 2))
    before = counts(server)
    for _ in range(2):
        refused(tara.delete(f"/course/{course['id']}"), 409, "course-in-use")
        assert counts(server) == before
        assert tara.get(f"/course/{course['id']}").json() == course
        if alice.get(f"/session/{session_id}").json()["isEnd"] is False:
            alice.end(session_id)


def test_refuses_an_unknown_course(server: Server, tara: Person):
    before = counts(server)
    for identifier in (UNKNOWN, "nowhere", "%FF"):
        refused(tara.delete(f"/course/{identifier}"), 404, "course-not-found")
    refused(tara.delete("/course/a%00b"), 400, "invalid-input", "courseIdentifier")
    refused(tara.delete("/course/create"), 405, "method-not-allowed")
    assert counts(server) == before


def test_refuses_who_may_not(server: Server, nobody: Person, alice: Person, tara: Person, course):
    path = f"/course/{course['id']}"
    refuses_callers(nobody, "DELETE", path, but=tara, wrong_role=alice)
    refuses_callers(nobody, "DELETE", f"/course/{UNKNOWN}", but=tara, wrong_role=alice)
    refuses_query(tara, "DELETE", path)
    assert server.rows(EXISTS, id=course["id"]) == [(1,)]
