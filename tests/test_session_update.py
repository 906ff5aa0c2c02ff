"""PUT /session/updateSession."""

from tests.conftest import NEVER_GIVEN, Person, Server, refused

PATH = "/session/updateSession"


def part(score: float, *answers: str, done: bool = True) -> dict:
    return {"answers": list(answers), "isCompleted": done, "score": score}


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
    assert server.rows(
        "SELECT module_name, position, adaptive_score, quiz_score FROM results WHERE session_id = :id ORDER BY position",
        id=session_id,
    ) == [("Integers", 0, 78_000, 74_500), ("Fractions", 1, None, None)]


def test_refuses_results_after_the_end(server: Server, alice: Person, course):
    session_id = alice.start(course)
    end = alice.end(session_id)
    body = refused(
        alice.put(PATH, {"sessionId": session_id, "moduleStats": [{"moduleName": "Integers"}]}), 409, "session-ended"
    )
    assert body["sessionEnd"] == end
    assert server.rows("SELECT count(*) FROM results WHERE session_id = :id", id=session_id) == [(0,)]
