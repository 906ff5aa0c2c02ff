"""GET /stats/user."""

from tests.helpers.accounts import Person, make_course
from tests.helpers.assertions import refused
from tests.helpers.server import Server
from tests.helpers.wire import (
    NOTHING,
    answers_head,
    change_start,
    module,
    new_session,
    refuses_callers,
    refuses_methods,
    refuses_query,
    statistics,
)

PATH = "/stats/user"


def test_reads_the_callers_own_over_all_courses(server: Server, tara: Person, alice: Person, charlie: Person):
    courses = [make_course(tara) for _ in range(3)]
    assert (alice.get(PATH).status_code, alice.get(PATH).json()) == (200, NOTHING)
    new_session(charlie, courses[0], module("Charlie's", 100))
    assert alice.get(PATH).json() == NOTHING
    for course, minutes in zip(courses, (59.75, 0.75, 60), strict=True):
        session_id = new_session(alice, course, module("Shared", 0.1, 0.2), module(course["courseTitle"], 10))
        change_start(server, session_id, -int(minutes * 60_000))
        alice.end(session_id)
    names = sorted(["Shared", *(course["courseTitle"] for course in courses)])
    expected = statistics(*names, points=30.9, mean=2.575, minutes=120, duration="2 hours 0 minutes")
    assert alice.get(PATH).json() == expected
    new_session(alice, courses[0], module("Shared", 1))
    assert alice.get(PATH).json()["scores"] == {"totalSessionPoints": 31.9, "overallAverageScore": 31_900 / 14_000}
    totals = "SELECT sum(sessions), sum(results), sum(points) FROM learner_totals WHERE learner_id = :id"
    assert server.rows(totals, id=alice.id) == [(4, 7, 31_900)]


def test_names_of_several_courses_are_in_the_order_of_code_points(tara: Person, alice: Person):
    for names in (("🎓", "a"), ("ｚ", "Z"), ("\ue000", "a", "𝒜")):
        new_session(alice, make_course(tara), *(module(name) for name in names))
    assert alice.get(PATH).json() == statistics("Z", "a", "\ue000", "ｚ", "𝒜", "🎓")


def test_refuses_who_may_not_and_other_methods(nobody: Person, tara: Person, alice: Person):
    refuses_callers(nobody, "GET", PATH, but=alice, wrong_role=tara)
    refuses_methods(nobody, PATH, "GET")
    refuses_query(alice, "GET", PATH)
    answers_head(alice, PATH)
    refused(alice.get(f"{PATH}/nothing"), 404, "route-not-found")
