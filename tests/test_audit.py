"""GET /audit: who did what to whom."""

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx

from seneca import audit
from seneca.common.ids import bucket_of, new_id
from seneca.common.times import from_iso
from tests.helpers.accounts import Person, make_course, register
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.engines import Postgres, engine
from tests.helpers.exchange import course as course_line
from tests.helpers.exchange import session as session_line
from tests.helpers.exchange import user as user_line
from tests.helpers.exchange import write
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server, running
from tests.helpers.wire import (
    TIME,
    UUID7,
    answers_head,
    module,
    pages,
    refuses_callers,
    refuses_methods,
    refuses_pages,
    refuses_query,
)

PATH = "/audit"
NEW = "another-secret-42"


def entries(tara: Person, subject: str) -> list[dict[str, Any]]:
    """What was done to somebody or something, the oldest first."""
    return [entry for page in pages(tara, PATH) for entry in page if entry["subject"] == subject][::-1]


def acts(tara: Person, subject: str) -> list[tuple[Any, ...]]:
    return [(entry["actor"], entry["act"], entry["facts"]) for entry in entries(tara, subject)]


def test_an_entry_says_who_did_what_to_whom_and_when(server: Server, tara: Person, alice: Person):
    before = int(time.time() * 1000)
    tara.patch(f"/users/{alice.id}", {"password": NEW})
    entry = tara.get(PATH + "?limit=1").json()[0]
    assert set(entry) == {"id", "at", "actor", "act", "subject", "facts"}
    assert re.fullmatch(UUID7, entry["id"])
    assert re.fullmatch(TIME, entry["at"])
    assert (entry["actor"], entry["act"], entry["subject"]) == (tara.id, "account.password-set", alice.id)
    assert before <= from_iso(entry["at"]) <= time.time() * 1000
    stored = server.rows("SELECT bucket, at, facts FROM audit WHERE id = :id", id=entry["id"])
    assert stored == [(bucket_of(alice.id, 64), from_iso(entry["at"]), "{}")]


def test_what_is_done_to_accounts(tara: Person, client: httpx.Client):
    bob = register(client, "bob", by=tara)
    tara.patch(f"/users/{bob.id}", {"role": "admin"})
    tara.patch(f"/users/{bob.id}", {"role": "user", "password": NEW})
    tara.get(f"/users/{bob.id}/export")
    assert tara.delete(f"/users/{bob.id}").status_code == 204
    assert acts(tara, bob.id) == [
        (tara.id, "account.registered", {"role": "user"}),
        (tara.id, "account.role-changed", {"role": "admin"}),
        (tara.id, "account.role-changed", {"role": "user"}),
        (tara.id, "account.password-set", {}),
        (tara.id, "account.exported", {}),
        (tara.id, "account.erased", {"role": "user", "sessions": 0}),
    ]
    assert acts(tara, tara.id) == [(tara.id, "account.registered", {"role": "admin"})]


def test_what_is_done_to_courses(tara: Person):
    course = make_course(tara)
    tara.put(f"/course/{course['courseTitle']}", {"qualification": "A level"})
    tara.delete(f"/course/{course['id']}")
    assert acts(tara, course["id"]) == [
        (tara.id, "course.created", {}),
        (tara.id, "course.changed", {}),
        (tara.id, "course.deleted", {}),
    ]


def test_what_learners_do_themselves_is_not_in_it_but_for_their_password_and_their_erasure(
    tara: Person, alice: Person, course
):
    session = alice.start(course)
    alice.update(session, module("Integers", 1))
    alice.end(session)
    alice.get("/auth/me/export")
    assert acts(tara, alice.id) == []
    wrong = {"currentPassword": "not-hers", "newPassword": NEW}
    refused(alice.put("/auth/password", wrong), 401, "invalid-credentials")
    assert acts(tara, alice.id) == []
    assert alice.put("/auth/password", wrong | {"currentPassword": PASSWORD}).status_code == 204
    assert alice.delete("/auth/me", json={"password": NEW}).status_code == 204
    assert acts(tara, alice.id) == [
        (alice.id, "account.password-changed", {}),
        (alice.id, "account.erased", {"role": "user", "sessions": 1}),
    ]


def test_a_learners_registration_with_a_learners_token_is_their_own(tara: Person, alice: Person, client: httpx.Client):
    bob = register(client, "bob", by=alice)
    assert acts(tara, bob.id) == []


def test_nothing_that_is_refused_is_in_it(server: Server, tara: Person, alice: Person, course):
    alice.start(course)
    before = server.rows("SELECT count(*) FROM audit")
    refused(tara.delete(f"/course/{course['id']}"), 409, "course-in-use")
    refused(
        tara.put(f"/course/{course['id']}", {"qualification": "x"}, headers={"If-Match": '"no"'}),
        412,
        "precondition-failed",
    )
    refused(tara.post("/course/create", new(course)), 409, "title-taken")
    taken = {"username": alice.username, "email": "x@example.org", "password": PASSWORD, "role": "admin"}
    refused(tara.post("/auth/register", taken), 409, "name-taken")
    refused(tara.patch(f"/users/{new_id()}", {"role": "user"}), 404, "account-not-found")
    refused(tara.delete(f"/users/{new_id()}"), 404, "account-not-found")
    refused(tara.get(f"/users/{new_id()}/export"), 404, "account-not-found")
    refused(alice.delete("/auth/me", json={"password": "no-password"}), 401, "invalid-credentials")
    assert server.rows("SELECT count(*) FROM audit") == before


def new(course: dict[str, Any]) -> dict[str, Any]:
    return {name: course[name] for name in ("courseTitle", "qualification", "topicsAndModules")}


def test_pages_run_from_the_newest_to_the_oldest(tara: Person, alice: Person):
    for _ in range(5):
        tara.patch(f"/users/{alice.id}", {"role": "user"})
    found = [entry for page in pages(tara, PATH + "?limit=2") for entry in page]
    order = [(entry["at"], entry["id"]) for entry in found]
    assert order == sorted(order, reverse=True)
    assert len({entry["id"] for entry in found}) == len(found) >= 5
    assert [len(page) for page in pages(tara, PATH + "?limit=2")][:-1] == [2] * ((len(found) - 1) // 2)
    assert found[:5] == tara.get(PATH + "?limit=5").json()


def test_errors(nobody: Person, alice: Person, tara: Person):
    refuses_methods(nobody, PATH, "GET")
    refuses_callers(nobody, "GET", PATH, but=tara, wrong_role=alice)
    refuses_query(tara, "GET", PATH, "limit", "cursor")
    refuses_pages(tara, PATH)
    answers_head(tara, PATH)


def test_what_is_done_from_the_shell(tmp_path: Path):
    """And nobody's name, address, password or title is in it."""
    data, words = tmp_path / "data", [unique("shell-word") for _ in range(4)]
    name, title, module_name, topic = words
    lines = [
        course_line(courseTitle=title, topicsAndModules=[{"topic": topic, "modules": []}]),
        user_line(username=name),
        session_line(topic=topic, modulesStats=[{"moduleName": module_name, "adaptive": None, "quiz": None}]),
    ]
    (tmp_path / "erased-accounts").write_text("")
    file = write(tmp_path / "in.jsonl", *lines)
    for arguments in (
        ["import", file],
        ["admin", "create", "headteacher", "head@example.org"],
        ["admin", "password", name],
        ["admin", "reset-keys"],
        ["stats", "rebuild"],
        ["export", tmp_path / "out.jsonl"],
        ["prune", "--months", "1"],
        ["erase", name, "--yes"],
        ["erase", "--replay", tmp_path / "erased-accounts"],
    ):
        done = seneca(*arguments, "--data", data, input=f"{PASSWORD}\n")
        assert done.returncode == 0, done.stderr
    with running(data) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        token = client.post("/auth/login", json={"username": "headteacher", "password": PASSWORD}).json()["token"]
        found = Person(client, token).get(PATH).json()[::-1]
    shown = [(entry["actor"], entry["act"], entry["subject"], entry["facts"]) for entry in found]
    head, erased = shown[1][2], user_line()["id"]
    months = {"months": 1, "before": shown[6][3]["before"]}
    assert shown == [
        (None, "data.imported", None, {"courses": 1, "accounts": 1, "sessions": 1}),
        (None, "account.registered", head, {"role": "admin"}),
        (None, "account.password-set", erased, {}),
        (None, "keys.forgotten", None, {}),
        (None, "figures.rebuilt", None, {}),
        (None, "data.exported", None, {}),
        (None, "sessions.retained", None, months | {"sessions": 1, "learners": 1}),
        (None, "account.erased", erased, {"role": "user", "sessions": 0}),
        (None, "erasures.replayed", None, {"listed": 0, "erased": 0}),
    ]
    text = json.dumps(found)
    assert [word for word in [*words, "headteacher", "example.org", PASSWORD] if word in text] == []
    assert {act for _, act, _, _ in shown} < set(audit.Action.__args__)


MANY = """
INSERT INTO audit (bucket, id, at, actor, act, subject, facts)
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
SELECT n % 64, 'entry-' || n, n, 'actor-' || n % 5000, 'course.changed', 'subject-' || n % 5000, '{}' FROM numbers
"""


def test_the_entries_about_somebody_are_found_by_an_index(tmp_path: Path):
    """An export has them, and anybody may ask for their own."""
    assert seneca("migrate", "--data", tmp_path).returncode == 0
    engine().script(tmp_path, MANY + "; ANALYZE audit;")
    explain = "EXPLAIN " if isinstance(engine(), Postgres) else "EXPLAIN QUERY PLAN "
    plan = repr(engine().rows(tmp_path, explain + audit.ABOUT.replace(":id", "'actor-7'")))
    assert "audit_by_subject" in plan
    assert "audit_by_actor" in plan
    assert "Seq Scan" not in plan
    assert "SCAN audit" not in plan
