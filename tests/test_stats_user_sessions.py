"""GET /stats/user/sessions."""

from uuid import uuid4

import pytest

from tests.helpers.accounts import Person, make_course
from tests.helpers.assertions import refused
from tests.helpers.server import Server
from tests.helpers.wire import (
    answers_head,
    change_start,
    module,
    new_session,
    pages,
    part,
    refuses_callers,
    refuses_methods,
    refuses_pages,
    refuses_query,
    result,
)

PATH = "/stats/user/sessions"


def test_lists_the_callers_sessions_whole_and_oldest_first(
    server: Server, tara: Person, alice: Person, charlie: Person, course
):
    assert (alice.get(PATH).status_code, alice.get(PATH).json()) == (200, [])
    other = make_course(tara)
    new_session(charlie, course, module("Charlie's", 1))
    first = new_session(alice, course, module("B", 1, 2), module("A", 0.5))
    second = new_session(alice, other)
    third = new_session(alice, course, module("C", 3))
    change_start(server, third, -10_000)
    change_start(server, second, -20_000)
    alice.end(third)
    answer = alice.get(PATH)
    assert answer.status_code == 200
    assert "link" not in answer.headers
    assert answer.json() == [alice.get(f"/session/{id_}").json() for id_ in (second, third, first)]
    assert answer.json()[2] | {"sessionStart": None, "lastActivityAt": None} == {
        "id": first,
        "userId": alice.id,
        "courseId": course["id"],
        "courseTitle": course["courseTitle"],
        "topic": "Number",
        "sessionStart": None,
        "sessionEnd": None,
        "isEnd": False,
        "sessionPoints": 3.5,
        "modulesStats": [
            result("B", adaptive=part(1, done=False), quiz=part(2, done=False)),
            result("A", adaptive=part(0.5, done=False)),
        ],
        "lastActivityAt": None,
        "activeMinutes": 0,
        "endedBy": None,
    }


@pytest.mark.parametrize("limit", [1, 3, 6, 7, 8])
def test_pages_to_the_end_by_start_then_id(server: Server, alice: Person, course, limit: int):
    ids = [alice.start(course, sessionId=str(uuid4())) for _ in range(7)]
    for id_ in ids[:5]:  # five that started at one moment
        [(started_at,)] = server.rows("SELECT started_at FROM sessions WHERE id = :id", id=id_)
        change_start(server, id_, 1_700_000_000_000 - started_at)
    change_start(server, ids[5], -1000)
    found = pages(alice, f"{PATH}?limit={limit}")
    assert [session["id"] for page in found for session in page] == [*sorted(ids[:5]), *ids[5:]]
    assert [len(page) for page in found] == [limit] * (7 // limit) + [7 % limit] * (7 % limit > 0)
    assert found[0][0]["sessionStart"] == "2023-11-14T22:13:20.000Z"


def test_a_page_ends_early_at_8_mib(alice: Person, course):
    ids = []
    for _ in range(3):
        ids.append(alice.start(course))
        for i in range(17):
            answers = ["x" * 997] * 241
            alice.update(ids[-1], {"moduleName": f"M{i}", "quiz": {"answers": answers}})
    found = pages(alice, PATH)
    assert [[session["id"] for session in page] for page in found] == [ids[:2], ids[2:]]
    assert all(len(session["modulesStats"]) == 17 for page in found for session in page)
    assert len(alice.get(PATH).content) <= 8 * 1024 * 1024


def test_refuses_pages_that_cannot_be(alice: Person, charlie: Person, course):
    refuses_pages(alice, PATH)
    refuses_query(alice, "GET", PATH, "limit", "cursor")
    for _ in range(2):
        alice.start(course)
    link = alice.get(f"{PATH}?limit=1").links["next"]["url"]
    cursor = link.split("cursor=")[1]
    refused(alice.get(f"/course?limit=1&cursor={cursor}"), 400, "invalid-input", "cursor")
    refused(charlie.get(link), 400, "invalid-input", "cursor")  # nor of another's list
    assert len(alice.get(link.replace(PATH, PATH + "/")).json()) == 1


def test_refuses_who_may_not_and_other_methods(nobody: Person, tara: Person, alice: Person, course):
    alice.start(course)
    refuses_callers(nobody, "GET", PATH, but=alice, wrong_role=tara)
    refuses_methods(nobody, PATH, "GET")
    answers_head(alice, PATH)


def test_a_page_has_at_most_8_mib_as_it_is_sent(tara: Person, alice: Person, course):
    """Names of control characters have six bytes a character in JSON, and one where they are stored."""
    ids = [alice.start(course, topic="Number") for _ in range(10)]
    for id_ in ids:
        for start in range(0, 1000, 200):
            names = (f"{n:04}".rjust(200, "\x01") for n in range(start, start + 200))
            alice.update(id_, *({"moduleName": name, "quiz": {}} for name in names))
    for person, first in ((alice, PATH), (tara, f"/stats/sessions/{course['id']}")):
        seen, lengths, path = [], [], first
        while path:
            answer = person.get(path)
            assert answer.status_code == 200
            lengths.append(len(answer.content))
            seen += [session["id"] for session in answer.json()]
            path = answer.links.get("next", {}).get("url", "")
        assert seen == ids
        assert max(lengths) <= 8 * 1024 * 1024
        assert len(lengths) == 2
