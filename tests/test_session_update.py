"""PUT /session/updateSession."""

import json
from decimal import Decimal

import pytest

from tests.helpers.accounts import Person
from tests.helpers.assertions import NEVER_GIVEN, refused
from tests.helpers.server import Server
from tests.helpers.wire import (
    UNKNOWN,
    counts,
    module,
    new_session,
    part,
    refuses_bodies,
    refuses_callers,
    refuses_methods,
    refuses_query,
    result,
    stored,
)

PATH = "/session/updateSession"
MOST_BYTES = 4 * 1024 * 1024
RESULTS = """
SELECT module_name, position, adaptive_score, quiz_score FROM results WHERE session_id = :id ORDER BY position
"""


def send(person: Person, session_id: str, *modules):
    return person.put(PATH, {"sessionId": session_id, "moduleStats": list(modules)})


def send_text(person: Person, session_id: str, score: str, name: str = "M"):
    """An update whose score is written as it is here."""
    text = f'{{"sessionId":"{session_id}","moduleStats":[{{"moduleName":"{name}","quiz":{{"score":{score}}}}}]}}'
    return person.put(PATH, content=text, headers={"Content-Type": "application/json"})


def test_records_modules_and_answers_them_as_stored(server: Server, alice: Person, course):
    session_id = alice.start(course)
    answer = alice.put(
        PATH,
        {
            "sessionId": session_id,
            "moduleStats": [
                {"moduleName": "Integers", "adaptive": part(78, "A", "B"), "quiz": part(74.5, "C")},
                {"moduleName": "Fractions", "wrongAnswers": part(0, "quiz: 1", done=False)},
            ],
        },
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "message": "Session updated successfully",
        "sessionId": session_id,
        "sessionPoints": 152.5,
        "updatedModulesStats": [
            {
                "moduleName": "Integers",
                "adaptive": part(78, "A", "B"),
                "quiz": part(74.5, "C"),
                "wrongAnswers": NEVER_GIVEN,
            },
            {
                "moduleName": "Fractions",
                "adaptive": NEVER_GIVEN,
                "quiz": NEVER_GIVEN,
                "wrongAnswers": part(0, "quiz: 1", done=False),
            },
        ],
    }
    assert server.rows("SELECT results, points FROM sessions WHERE id = :id", id=session_id) == [(2, 152_500)]
    assert server.rows(RESULTS, id=session_id) == [("Integers", 0, 78_000, 74_500), ("Fractions", 1, None, None)]


def test_a_part_replaces_the_stored_one_and_the_others_stay(server: Server, alice: Person, course):
    session_id = alice.start(course)
    alice.update(session_id, {"moduleName": "M", "adaptive": part(10, "A", "B"), "quiz": part(20, "C")})
    answer = alice.update(session_id, {"moduleName": "M", "quiz": {"score": 5}, "wrongAnswers": {"answers": ["D"]}})
    merged = result("M", adaptive=part(10, "A", "B"), quiz=part(5, done=False), wrongAnswers=part(0, "D", done=False))
    assert (answer["sessionPoints"], answer["updatedModulesStats"]) == (15, [merged])
    assert alice.get(f"/session/{session_id}").json()["modulesStats"] == [merged]
    answer = alice.update(session_id, {"moduleName": "M", "adaptive": {}})
    assert (answer["sessionPoints"], answer["updatedModulesStats"]) == (5, [merged | {"adaptive": NEVER_GIVEN}])
    assert server.rows(RESULTS, id=session_id) == [("M", 0, 0, 5_000)]


@pytest.mark.parametrize("nothing", [None, []], ids=["null", "[]"])
def test_null_and_an_empty_list_mean_left_out(server: Server, alice: Person, course, nothing):
    session_id = alice.start(course)
    left_out = {"moduleName": "M", "adaptive": nothing, "quiz": nothing, "wrongAnswers": nothing}
    assert alice.update(session_id, left_out)["updatedModulesStats"] == [result("M")]
    never = "SELECT adaptive, quiz, wrong_answers, adaptive_score, quiz_score FROM results WHERE session_id = :id"
    assert server.rows(never, id=session_id) == [(None,) * 5]
    payload = {"moduleName": "M", "adaptive": part(1, "A"), "quiz": part(2), "wrongAnswers": part(3, "B")}
    assert alice.update(session_id, payload)["updatedModulesStats"] == [payload]
    before = stored(server, session_id)
    known = {"recordedAt": alice.get(f"/session/{session_id}").json()["lastActivityAt"]}  # an event that is counted
    answer = alice.update(session_id, left_out | known)
    assert (answer["sessionPoints"], answer["updatedModulesStats"]) == (3, [payload])
    assert stored(server, session_id) == before


@pytest.mark.parametrize("id_", [1, "mine", None, 2**63, ""])
def test_an_id_of_a_module_is_ignored(alice: Person, course, id_):
    session_id = alice.start(course)
    answer = alice.update(session_id, module("M", 1) | {"id": id_}, module("N") | {"id": id_})
    assert answer["updatedModulesStats"] == [result("M", adaptive=part(1, done=False)), result("N")]


@pytest.mark.parametrize("name", ["Not in the course", "[]", "x" * 200, "𝕏" * 200, "a  b", "é", "a\tb", "create"])
def test_any_name_is_recorded(server: Server, alice: Person, course, name: str):
    session_id = alice.start(course)
    assert alice.update(session_id, module(name, 1))["updatedModulesStats"][0]["moduleName"] == name
    assert server.rows(RESULTS, id=session_id) == [(name, 0, 1_000, None)]


@pytest.mark.parametrize("name", [" é", "e\u0301", "\u2003e\u0301\n"])
def test_names_are_trimmed_and_normalised(server: Server, alice: Person, course, name: str):
    session_id = new_session(alice, course, module("é", 1))
    answer = alice.update(session_id, module(name, quiz=2))
    assert [m["moduleName"] for m in answer["updatedModulesStats"]] == ["é"]
    assert server.rows(RESULTS, id=session_id) == [("é", 0, 1_000, 2_000)]
    names = alice.get(f"/stats/courses/{course['id']}").json()["moduleAmount"]["moduleNames"]
    assert names == ["é"]


@pytest.mark.parametrize("name", [" ", "\t\n", "\u3000"])
def test_blank_names_are_refused(alice: Person, course, name: str):
    session_id = alice.start(course)
    problem = refused(send(alice, session_id, module(name, 1)), 400, "invalid-input", "moduleStats[0].moduleName")
    assert problem["errors"][0]["message"] == "must not be blank"


def test_scores_are_rounded_and_the_answer_shows_what_is_stored(server: Server, alice: Person, course):
    session_id = alice.start(course)
    answer = alice.update(session_id, module("M", 200 / 3, 0.0005))
    assert answer["sessionPoints"] == 66.667
    [shown] = answer["updatedModulesStats"]
    assert (shown["adaptive"]["score"], shown["quiz"]["score"]) == (66.667, 0)
    assert server.rows(RESULTS, id=session_id) == [("M", 0, 66_667, 0)]


def test_modules_stay_in_the_order_in_which_they_were_first_recorded(server: Server, alice: Person, course):
    session_id = new_session(alice, course, module("C", 1), module("A", 2))
    answer = alice.update(session_id, module("B", 3), module("A", 20), module("0", 4), module("C", 10))
    assert [m["moduleName"] for m in answer["updatedModulesStats"]] == ["B", "A", "0", "C"]
    session = alice.get(f"/session/{session_id}").json()
    assert [m["moduleName"] for m in session["modulesStats"]] == ["C", "A", "B", "0"]
    assert session["sessionPoints"] == answer["sessionPoints"] == 37
    assert [row[1] for row in server.rows(RESULTS, id=session_id)] == [0, 1, 2, 3]


def test_answers_are_kept_as_they_are(alice: Person, course):
    session_id = alice.start(course)
    answers = ["", " ", "x" * 1000, "𝕏" * 1000, "\u0001\t\n\x7f\u2028", '"\\/', "e\u0301", "<b>", "\ufffe\U0010ffff"]
    payload = {"moduleName": "M", "quiz": {"answers": answers, "isCompleted": True, "score": 0}}
    assert alice.update(session_id, payload)["updatedModulesStats"][0]["quiz"] == payload["quiz"]
    assert alice.get(f"/session/{session_id}").json()["modulesStats"][0]["quiz"] == payload["quiz"]
    payload["quiz"]["answers"] = ["A"] * 500
    assert alice.update(session_id, payload)["updatedModulesStats"][0]["quiz"] == payload["quiz"]


SCORES = [
    ("0", "0"),
    ("-0", "0"),
    ("-0.0", "0"),
    ("0e5", "0"),
    ("0.001", "0.001"),
    ("-0.5", "-0.5"),
    ("82", "82"),
    ("82.0", "82"),
    ("1e2", "100"),
    ("1.5E+1", "15"),
    ("1e-3", "0.001"),
    ("0.30000000000000000000", "0.3"),
    ("99.999", "99.999"),
    ("1000000", "1000000"),
    ("1e6", "1000000"),
    ("999999.999", "999999.999"),
    ("-1000000.000", "-1000000"),
    ("1." + "0" * 5000, "1"),
]


@pytest.mark.parametrize(("score", "shown"), SCORES, ids=[s[0][:20] for s in SCORES])
def test_scores_are_exact(server: Server, alice: Person, course, score: str, shown: str):
    thousandths = int(1000 * Decimal(shown))
    session_id = alice.start(course)
    answer = send_text(alice, session_id, score)
    assert answer.status_code == 200, answer.text
    for text in (answer.text, alice.get(f"/session/{session_id}").text):
        assert f'"quiz":{{"answers":[],"isCompleted":false,"score":{shown}}}' in text
        assert f'"sessionPoints":{shown},' in text
    assert server.rows(RESULTS, id=session_id) == [("M", 0, None, thousandths)]
    assert server.rows("SELECT points FROM sessions WHERE id = :id", id=session_id) == [(thousandths,)]


RANGE, NUMBER = "from -1,000,000 to 1,000,000", "must be a number"
BAD_SCORES = [
    ("1000000.0000000000000000000000000001", RANGE),
    ("1000000.001", RANGE),
    ("-1000001", RANGE),
    ("1e7", RANGE),
    ("1e400", RANGE),
    ("9" * 100, RANGE),
    ("1e999999999", RANGE),
    ("null", NUMBER),
    ("true", NUMBER),
    ('"5"', NUMBER),
    ("[]", NUMBER),
    ('{"$numberDecimal":"5"}', NUMBER),
]


@pytest.mark.parametrize(("score", "rule"), BAD_SCORES, ids=[s[0][:20] for s in BAD_SCORES])
@pytest.mark.http
def test_refuses_scores(server: Server, alice: Person, course, score: str, rule: str):
    session_id = new_session(alice, course, module("M", quiz=1))
    before = stored(server, session_id)
    problem = refused(send_text(alice, session_id, score), 400, "invalid-input", "moduleStats[0].quiz.score")
    assert rule in problem["errors"][0]["message"]
    assert stored(server, session_id) == before


def test_sums_are_exact(alice: Person, course):
    session_id = new_session(alice, course, module("A", 0.1, 0.2))
    assert '"sessionPoints":0.3,' in alice.get(f"/session/{session_id}").text
    alice.update(session_id, *(module(f"M{i}", 0.1) for i in range(7)))
    assert '"sessionPoints":1,' in alice.get(f"/session/{session_id}").text
    answer = alice.update(session_id, *(module(f"N{i}", 999_999.999, 1_000_000) for i in range(100)))
    assert answer["sessionPoints"] == 200_000_000.9
    alice.update(session_id, module("A", -0.3, 0.2))
    assert '"sessionPoints":200000000.5,' in alice.get(f"/session/{session_id}").text


def test_the_score_of_wrong_answers_counts_nothing(alice: Person, course):
    session_id = alice.start(course)
    assert alice.update(session_id, {"moduleName": "M", "wrongAnswers": part(50, "A")})["sessionPoints"] == 0


def test_refuses_results_after_the_end(server: Server, alice: Person, course):
    session_id = new_session(alice, course, module("Integers", 1))
    end = alice.end(session_id)
    before = stored(server, session_id)
    for sent in (module("Integers"), module("Integers", 2), module("Fractions", 3)):
        body = refused(send(alice, session_id, sent), 409, "session-ended")
        assert body["sessionEnd"] == end
    refused(send(alice, session_id, module("")), 400, "invalid-input", "moduleStats[0].moduleName")
    assert stored(server, session_id) == before


def test_a_session_holds_1000_modules(server: Server, alice: Person, course):
    session_id = alice.start(course)
    for start in range(0, 1000, 200):
        alice.update(session_id, *(module(f"M{i}", 1) for i in range(start, start + 200)))
    before = stored(server, session_id)
    refused(send(alice, session_id, module("M1000", 1)), 409, "session-full")
    refused(send(alice, session_id, module("M0", 99), module("M1000", 1), module("M1", 99)), 409, "session-full")
    assert stored(server, session_id) == before
    assert send(alice, session_id, module("M0", 2), module("M999", 3)).json()["sessionPoints"] == 1003
    assert server.rows("SELECT results FROM sessions WHERE id = :id", id=session_id) == [(1000,)]
    assert len(alice.get(f"/session/{session_id}").json()["modulesStats"]) == 1000


def answers_of(size: int) -> list[str]:
    """Answers that take this many bytes of JSON, commas included."""
    whole, rest = divmod(size, 1000)
    texts = ["x" * 997] * whole
    return [*texts, "x" * (rest - 3)] if rest >= 3 else [texts[0] + "x" * rest, *texts[1:]]


def test_a_session_holds_4_mib(server: Server, alice: Person, course):
    session_id = alice.start(course)

    def size() -> int:
        return server.rows("SELECT bytes FROM sessions WHERE id = :id", id=session_id)[0][0]

    def last(*answers: str):
        return send(alice, session_id, {"moduleName": "Last", "quiz": {"answers": ["", *answers]}})

    while size() < MOST_BYTES - 250_000:
        quiz = {"answers": answers_of(240_000)}
        alice.update(session_id, {"moduleName": f"M{size()}", "quiz": quiz})
    assert last().status_code == 200
    room = MOST_BYTES - size()
    before = stored(server, session_id)
    refused(last(*answers_of(room + 1)), 409, "session-full")
    assert stored(server, session_id) == before
    assert last(*answers_of(room)).status_code == 200
    assert size() == MOST_BYTES
    before = stored(server, session_id)
    refused(send(alice, session_id, module("N")), 409, "session-full")
    refused(send(alice, session_id, {"moduleName": "Last", "adaptive": {}}), 409, "session-full")
    assert stored(server, session_id) == before
    assert last().status_code == 200  # what gets smaller makes room
    assert send(alice, session_id, module("N")).status_code == 200
    [(true,)] = server.rows(
        """
        SELECT sum(octet_length(module_name) + coalesce(octet_length(adaptive), 0) + coalesce(octet_length(quiz), 0)
            + coalesce(octet_length(wrong_answers), 0))
        FROM results WHERE session_id = :id
        """,
        id=session_id,
    )
    assert size() == true < MOST_BYTES


def test_a_learner_has_2000_names_in_a_course(server: Server, tara: Person, alice: Person, charlie: Person, course):
    for session in range(2):
        session_id = alice.start(course)
        for start in range(1000 * session, 1000 * (session + 1), 200):
            alice.update(session_id, *(module(f"M{i}", 1) for i in range(start, start + 200)))
    third = alice.start(course)
    before = stored(server, third)
    refused(send(alice, third, module("M2000", 1)), 409, "too-many-learner-names")
    refused(send(alice, third, module("M0", 9), module("M2000", 1)), 409, "too-many-learner-names")
    assert stored(server, third) == before
    alice.update(third, *(module(f"M{i}", 1) for i in range(0, 2000, 10)))
    amount = alice.get(f"/stats/courses/{course['id']}").json()["moduleAmount"]
    assert amount["totalModulesStudied"] == len(amount["moduleNames"]) == 2000
    new_session(charlie, course, module("M2000", 1))  # the limit is each learner's own
    assert tara.get(f"/stats/courses/{course['id']}").json()["moduleAmount"]["totalModulesStudied"] == 2001


def test_anothers_session_looks_like_an_unknown_one(server: Server, alice: Person, charlie: Person, course):
    opened, ended = new_session(alice, course, module("M", 1)), alice.start(course)
    alice.end(ended)
    before = counts(server), stored(server, opened)
    answers = [send(charlie, session_id, module("M", 2)) for session_id in (opened, ended, course["id"], UNKNOWN)]
    for answer in answers:
        refused(answer, 404, "session-not-found")
        assert answer.content == answers[-1].content
    assert (counts(server), stored(server, opened)) == before


def test_names_every_repeated_module_and_every_bad_score(server: Server, alice: Person, course):
    session_id = alice.start(course)
    before = counts(server)
    problem = refused(
        send(alice, session_id, module("A", 1), module("A", 2), module("B", -1e6 - 1, 1e7), module("A")),
        400,
        "invalid-input",
    )
    assert [error["field"] for error in problem["errors"]] == [
        "moduleStats[1].moduleName",
        "moduleStats[2].adaptive.score",
        "moduleStats[2].quiz.score",
        "moduleStats[3].moduleName",
    ]
    assert counts(server) == before


def test_takes_200_modules_and_no_more(server: Server, alice: Person, course):
    session_id = alice.start(course)
    modules = [module(f"M{i}", 1) for i in range(201)]
    problem = refused(send(alice, session_id, *modules), 400, "invalid-input", "moduleStats")
    assert problem["errors"][0]["message"] == "must have at most 200 entries"
    assert server.rows(RESULTS, id=session_id) == []
    assert send(alice, session_id, *modules[:200]).json()["sessionPoints"] == 200
    problem = refused(send(alice, session_id), 400, "invalid-input", "moduleStats")
    assert problem["errors"][0]["message"] == "must have at least 1 entry"


def test_takes_256_kib_and_no_more(alice: Person, course):
    session_id = alice.start(course)
    text = json.dumps({"sessionId": session_id, "moduleStats": [module("M", 1)]}).ljust(256 * 1024)
    headers = {"Content-Type": "application/json"}
    refused(alice.put(PATH, content=f"{text} ", headers=headers), 413, "payload-too-large")
    assert alice.get(f"/session/{session_id}").json()["modulesStats"] == []
    assert alice.put(PATH, content=text, headers=headers).status_code == 200


def test_refuses_who_may_not(server: Server, nobody: Person, tara: Person, alice: Person, course):
    session_id = alice.start(course)
    before = counts(server)
    refuses_callers(nobody, "PUT", PATH, but=alice, wrong_role=tara)
    refused(send(tara, session_id, module("M", 1)), 403, "forbidden")
    refused(send(nobody, session_id, module("M", 1)), 401, "token-missing")
    refuses_bodies(alice, "PUT", PATH)
    refuses_methods(nobody, PATH, "PUT")
    refuses_query(alice, "PUT", PATH)
    assert counts(server) == before
