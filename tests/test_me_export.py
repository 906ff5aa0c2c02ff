"""GET /auth/me/export: everything that is held about the caller, as one document."""

import re
import time
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from seneca.common.times import from_iso
from tests.helpers.accounts import Person, sign_in, sign_up
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.exchange import course, session, user, write
from tests.helpers.exchange import module as line_of_module
from tests.helpers.server import PASSWORD, Server, running
from tests.helpers.wire import NOTHING, TIME, module, pages, refuses_callers, refuses_methods, refuses_query

PATH = "/auth/me/export"


def exported(person: Person) -> dict[str, Any]:
    answer = person.get(PATH)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def as_listed(session: dict[str, Any]) -> dict[str, Any]:
    """A session of an export as lists show it."""
    modules = [
        {
            name: {key: value for key, value in part.items() if key != "recordedAt"} if isinstance(part, dict) else part
            for name, part in module.items()
        }
        for module in session["modulesStats"]
    ]
    return {key: value for key, value in session.items() if key != "activity"} | {"modulesStats": modules}


def test_everything_is_in_it(client: httpx.Client, tara: Person, alice: Person, course):
    again = sign_in(client, alice.username)
    for number in range(3):
        started = alice.start(course)
        alice.update(started, module("Integers", number, 74.5), module("Zählen"))
        alice.end(started)
    alice.start(course)
    before = int(time.time() * 1000)
    found = exported(alice)
    assert before <= from_iso(found["exportedAt"]) <= time.time() * 1000
    assert found["account"] == alice.get("/auth/me").json()
    assert found["hasPassword"] is True
    assert len(found["signIns"]) == 2
    for entry in found["signIns"]:
        assert set(entry) == {"id", "startedAt", "refreshedAt"}
        assert all(re.fullmatch(TIME, entry[name]) for name in ("startedAt", "refreshedAt"))
    assert found["addresses"] == {"count": 1, "lastSeenAt": found["signIns"][1]["startedAt"]}
    quota = found["hourlyQuota"]
    assert quota["writes"] >= 10  # some more are counted in advance
    assert quota["bytes"] > 0
    assert abs(from_iso(quota["startedAt"]) - before) < 60_000
    assert found["audit"] == []
    assert found["statistics"] == alice.get("/stats/user").json()
    assert [as_listed(entry) for entry in found["sessions"]] == [
        entry for page in pages(alice, "/stats/user/sessions") for entry in page
    ]
    assert len(found["sessions"]) == 4
    for entry in found["sessions"][:3]:
        [first, _] = entry["modulesStats"]
        assert entry["activity"] == [[first["quiz"]["recordedAt"]] * 2]
        assert entry["sessionStart"] <= first["adaptive"]["recordedAt"] <= entry["sessionEnd"]
        assert "recordedAt" not in first["wrongAnswers"]
    assert found["sessions"][3]["activity"] == []
    assert found["voidedSessions"] == []
    assert set(found) == {
        *(
            "exportedAt",
            "account",
            "hasPassword",
            "signIns",
            "voidedSessions",
            "addresses",
            "hourlyQuota",
            "audit",
            "statistics",
            "sessions",
        )
    }
    assert again.get(PATH).status_code == 200


def test_a_voided_session_leaves_its_id(tara: Person, alice: Person, course):
    started = alice.start(course)
    before = int(time.time() * 1000)
    assert tara.delete(f"/session/{started}").status_code == 204
    found = exported(alice)
    assert found["sessions"] == []
    [voided] = found["voidedSessions"]
    assert voided["id"] == started
    assert before <= from_iso(voided["voidedAt"]) <= time.time() * 1000


def test_it_is_a_file_to_be_saved_and_holds_no_secret(server: Server, alice: Person):
    answer = alice.get(PATH)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"] == f'attachment; filename="seneca-{alice.id}.json"'
    assert int(answer.headers["content-length"]) == len(answer.content)
    ((password_hash,),) = server.rows("SELECT hash FROM passwords WHERE account_id = :id", id=alice.id)
    hashes = server.rows("SELECT family_hash, live_hash FROM sign_ins WHERE account_id = :id", id=alice.id)[0]
    (key,) = server.rows("SELECT address_key FROM familiar_addresses WHERE account_id = :id", id=alice.id)[0]
    assert [secret for secret in (password_hash, *hashes, key, PASSWORD) if secret in answer.text] == []


def test_head_tells_its_length(alice: Person):
    head = alice.request("HEAD", PATH)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(alice.get(PATH).content)
    assert alice.get(PATH + "/").status_code == 200


def test_somebody_who_has_nothing_and_an_administrator(tara: Person, charlie: Person):
    found = exported(charlie)
    assert (found["sessions"], found["statistics"], found["hourlyQuota"]) == ([], NOTHING, None)
    found = exported(tara)
    assert found["account"]["role"] == "admin"
    assert "account.registered" in [entry["act"] for entry in found["audit"]]


def test_what_was_done_to_them_is_in_it_and_nothing_of_others(tara: Person, alice: Person, charlie: Person, course):
    alice.start(course)
    for person in (charlie, alice):
        tara.patch(f"/users/{person.id}", {"role": "user"})
    text = sign_in(charlie.client, charlie.username).get(PATH).text
    assert [word for word in (alice.id, alice.username, tara.username) if word in text] == []
    ((act, actor),) = ((e["act"], e["actor"]) for e in exported(sign_in(alice.client, alice.username))["audit"])
    assert (act, actor) == ("account.role-changed", tara.id)


def test_it_is_as_the_document_of_the_interface_says(client: httpx.Client, tara: Person, alice: Person, course):
    alice.update(alice.start(course), module("Integers", 78, 74.5))
    document = client.get("/openapi.json").json()
    schema = document["paths"][PATH]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    whole = {"$ref": "#/schema", "schema": schema, "components": document["components"]}
    for person in (tara, alice):
        jsonschema_rs.Draft202012Validator(whole, validate_formats=True).validate(exported(person))


@pytest.mark.sqlite  # the same code reads on every engine; here the server's own memory is looked at
def test_very_many_sessions_take_no_memory(tmp_path):
    """A document of 160 MB; the server's memory grows by SQLite's cache (64 MB) and a page or two of sessions."""
    answers = {"answers": ["x" * 1000] * 20, "isCompleted": True, "score": 1}
    sessions = [
        session(modulesStats=[line_of_module(f"M{n}", adaptive=answers) for n in range(4)]) for _ in range(2000)
    ]
    done = seneca("import", write(tmp_path / "in.jsonl", course(), user(), *sessions), "--data", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    seneca("admin", "password", "alice", "--data", tmp_path / "data", input=PASSWORD)
    with running(tmp_path / "data") as server, httpx.Client(base_url=server.url, timeout=60) as client:
        alice = sign_in(client, "alice")
        alice.get("/auth/me")
        worker = int(re.search(r"PID: (\d+)", next(line for line in server.log_lines() if "Spawning" in line))[1])
        before = resident(worker)
        answer = alice.get(PATH)
        assert len(answer.content) > 160_000_000
        assert resident(worker) - before < 110_000_000


def resident(process: int) -> int:
    """The most memory that a process has had, in bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024


def test_an_erased_account(server: Server, tara: Person, client: httpx.Client):
    bob = sign_up(client, "bob")
    tara.delete(f"/users/{bob.id}")
    refused(bob.get(PATH), 401, "signed-out")


def test_errors(nobody: Person, alice: Person):
    refuses_methods(nobody, PATH, "GET")
    refuses_callers(nobody, "GET", PATH, but=alice)
    refuses_query(alice, "GET", PATH)
