"""GET /stats/courses/{courseId}."""

import pytest

from tests.helpers.accounts import Person, make_course
from tests.helpers.assertions import refused
from tests.helpers.server import Server
from tests.helpers.wire import (
    NOTHING,
    UNKNOWN,
    answers_head,
    change_start,
    module,
    new_session,
    refuses_callers,
    refuses_methods,
    refuses_query,
    statistics,
)

MINUTE = 60_000


@pytest.fixture
def path(course) -> str:
    return f"/stats/courses/{course['id']}"


def test_a_course_without_sessions_has_zeros(tara: Person, alice: Person, path: str):
    for person in (tara, alice):
        answer = person.get(path)
        assert (answer.status_code, answer.json()) == (200, NOTHING)
        assert answer.content == (
            b'{"moduleAmount":{"totalModulesStudied":0,"moduleNames":[]},'
            b'"sessionTime":{"totalDuration":"0 hours 0 minutes","timeInMinutes":0},'
            b'"scores":{"totalSessionPoints":0,"overallAverageScore":0}}'
        )


def test_an_admin_sees_all_learners_and_a_learner_their_own(
    server: Server, tara: Person, alice: Person, charlie: Person, course
):
    path = f"/stats/courses/{course['id']}"
    new_session(alice, course, module("Integers", 80, 90), module("Fractions", 70))
    new_session(alice, course, module("Integers", 10, 20))
    hers = statistics("Fractions", "Integers", points=270, mean=45)
    assert alice.get(path).json() == tara.get(path).json() == hers
    assert charlie.get(path).json() == NOTHING
    new_session(charlie, course, module("Equations", 50.5, 49.5), topic="Algebra")
    assert alice.get(path).json() == hers
    assert charlie.get(path).json() == statistics("Equations", points=100, mean=50)
    assert tara.get(path).json() == statistics("Equations", "Fractions", "Integers", points=370, mean=46.25)
    assert tara.get(path.replace(course["id"], course["id"].upper())).json() == tara.get(path).json()
    totals = "SELECT sum(sessions), sum(results), sum(points) FROM course_totals WHERE course_id = :id"
    assert server.rows(totals, id=course["id"]) == [(3, 4, 370_000)]


def test_other_courses_do_not_count(tara: Person, alice: Person, course, path: str):
    new_session(alice, make_course(tara), module("Integers", 80, 90))
    new_session(alice, course, module("Integers", 1))
    assert alice.get(path).json() == tara.get(path).json() == statistics("Integers", points=1, mean=0.5)


def test_names_are_distinct_and_in_the_order_of_code_points(tara: Person, alice: Person, course, path: str):
    # in UTF-16 the surrogates of 𝒜 and 🎓 would come before U+E000 and U+FF5A; in no locale would Z come before a
    names = ["0", "10", "2", "Z", "Zz", "a", "z", "É", "é", "е", "数", "\ue000", "ｚ", "𝒜", "🎓"]
    assert names == sorted(names)
    new_session(alice, course, *(module(name, 1) for name in reversed(names[::2])))
    new_session(alice, course, *(module(name, 1) for name in names[::-1]))
    for person in (alice, tara):
        amount = person.get(path).json()["moduleAmount"]
        assert amount == {"totalModulesStudied": len(names), "moduleNames": names}


@pytest.mark.parametrize(
    ("modules", "points", "mean"),
    [
        ([module("A")], "0", "0"),
        ([module("A", 1)], "1", "0.5"),
        ([module("A", None, 1)], "1", "0.5"),
        ([module("A", 0.1, 0.2)], "0.3", "0.15"),
        ([module("A", 1), module("B"), module("C")], "1", "0.16666666666666666"),
        ([module("A", 100, 100), module("B", 100, 99)], "399", "99.75"),
        ([module("A", 0.001), module("B"), module("C")], "0.001", "0.00016666666666666666"),
        ([module("A", -5, 5)], "0", "0"),
        ([module("A", -0.001, -0.001)], "-0.002", "-0.001"),
        ([module("A", 1_000_000, 1_000_000)], "2000000", "1000000"),
        ([module(f"M{i}", 0.1) for i in range(10)], "1", "0.05"),
        ([module(f"M{i}", 0.3, 0.4) for i in range(3)], "2.1", "0.35"),
    ],
)
def test_points_are_exact_and_the_mean_is_the_nearest_double(
    tara: Person, alice: Person, modules, points: str, mean: str
):
    course = make_course(tara)
    new_session(alice, course, *modules)
    for person in (alice, tara):
        text = person.get(f"/stats/courses/{course['id']}").text
        assert text.endswith(f'"scores":{{"totalSessionPoints":{points},"overallAverageScore":{mean}}}}}')


def test_wrong_answers_count_nothing_but_their_module_does(alice: Person, course, path: str):
    new_session(alice, course, module("A", 10, 20), {"moduleName": "B", "wrongAnswers": {"score": 1000}})
    assert alice.get(path).json() == statistics("A", "B", points=30, mean=7.5)


def test_a_replaced_score_counts_once(tara: Person, alice: Person, course, path: str):
    session_id = new_session(alice, course, module("A", 10, 20))
    alice.update(session_id, module("A", 5))
    alice.update(session_id, module("A", None, 0))
    for person in (alice, tara):
        assert person.get(path).json() == statistics("A", points=5, mean=2.5)


def test_only_ended_sessions_have_time(server: Server, tara: Person, alice: Person, course, path: str):
    opened = alice.start(course)
    change_start(server, opened, -600 * MINUTE)
    assert alice.get(path).json() == tara.get(path).json() == NOTHING
    alice.end(opened)
    hours = statistics(minutes=600, duration="10 hours 0 minutes")
    assert alice.get(path).json() == tara.get(path).json() == hours


def test_milliseconds_are_summed_before_they_are_floored(server: Server, tara: Person, alice: Person, charlie, course):
    path = f"/stats/courses/{course['id']}"
    for learner, minutes in ((alice, (90, 59.5)), (charlie, (0.5, 0.5, 1.75))):
        for duration in minutes:
            session_id = learner.start(course)
            change_start(server, session_id, -int(duration * MINUTE))
            learner.end(session_id)
    sums = dict(
        server.rows(
            "SELECT learner_id, sum(ended_at - started_at) FROM sessions WHERE course_id = :id GROUP BY learner_id",
            id=course["id"],
        )
    )
    for person, total in ((alice, sums[alice.id]), (charlie, sums[charlie.id]), (tara, sum(sums.values()))):
        minutes = total // MINUTE
        duration = f"{minutes // 60} hours {minutes % 60} minutes"
        assert person.get(path).json() == statistics(minutes=minutes, duration=duration)
    # if nothing took half a minute in between: floored before the sum, it would be 150
    assert (tara.get(path).json()["sessionTime"]["timeInMinutes"]) >= 152


@pytest.mark.parametrize(
    ("minutes", "duration"),
    [
        (1, "0 hours 1 minutes"),
        (59, "0 hours 59 minutes"),
        (60, "1 hours 0 minutes"),
        (1501, "25 hours 1 minutes"),
        (600_000, "10000 hours 0 minutes"),
    ],
)
def test_duration_is_always_hours_and_minutes(server: Server, alice: Person, course, minutes: int, duration: str):
    session_id = alice.start(course)
    change_start(server, session_id, -minutes * MINUTE)
    alice.end(session_id)
    answer = alice.get(f"/stats/courses/{course['id']}").json()
    assert answer == statistics(minutes=minutes, duration=duration)


def test_refuses_an_unknown_course(tara: Person, alice: Person, course):
    session_id = alice.start(course)
    for person in (tara, alice):
        for course_id in (UNKNOWN, session_id):
            refused(person.get(f"/stats/courses/{course_id}"), 404, "course-not-found")
        for course_id in ("x", course["courseTitle"], "%00", UNKNOWN[:-1]):
            refused(person.get(f"/stats/courses/{course_id}"), 400, "invalid-input", "courseId")


def test_refuses_who_may_not_and_other_methods(nobody: Person, alice: Person, path: str):
    refuses_callers(nobody, "GET", path, but=alice)
    refuses_methods(nobody, path, "GET")
    refuses_query(alice, "GET", path)
    answers_head(alice, path)
