"""seneca prune: sessions are forgotten after some months, with their part of every total."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seneca.common.times import LATEST_MS, from_iso, to_iso, to_ms
from seneca.database import open_database
from seneca.errors import CommandError
from seneca.privacy import retention
from seneca.sessions import deletion
from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.commands import seneca
from tests.helpers.engines import engine
from tests.helpers.erasure import check_totals
from tests.helpers.exchange import (
    ALICE_ID,
    CHARLIE_ID,
    COURSE_ID,
    Shell,
    course,
    module,
    session,
    user,
    without_database,
)
from tests.helpers.server import Server
from tests.helpers.wire import module as result
from tests.helpers.wire import statistics

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Alice and Charlie studied in 2025, and yesterday."""
    shell = Shell(tmp_path)
    yesterday = to_iso(to_ms(datetime.now(UTC)) - 86_400_000)
    lines = [course(), user(), user(id=CHARLIE_ID, username="charlie")]
    for learner, own in ((ALICE_ID, "Only Alice"), (CHARLIE_ID, "Only Charlie")):
        old = {"sessionStart": "2025-03-01T10:00:00.000Z", "sessionEnd": "2025-03-01T10:30:00.000Z"}
        recent = {"sessionStart": yesterday, "sessionEnd": None, "isEnd": False}
        lines.append(session(userId=learner, modulesStats=[module("Integers"), module(own)], **old))
        lines.append(session(userId=learner, modulesStats=[module("Integers")], **recent))
    status, said = shell.load(*lines)
    assert status == 0, said
    return shell


def run(shell: Shell, *arguments: str) -> tuple[int, str]:
    done = seneca("prune", *arguments, "--data", shell.data)
    return done.returncode, done.stdout + without_database(done.stderr)


def test_removes_what_is_older_with_its_part_of_every_total(shell: Shell):
    changes = (
        shell.rows("SELECT sum(name_changes) FROM learner_totals"),
        shell.rows("SELECT sum(name_changes) FROM course_totals"),
    )
    status, said = run(shell, "--months", "3")
    sentence = rf"Deleted 2 sessions of 2 learners that started before {TIME}\.\n"
    assert (status, bool(re.fullmatch(sentence, said))) == (0, True), said
    assert shell.rows("SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL") == [(0,)]
    assert shell.counts()[2:4] == (2, 2)
    assert shell.rows("SELECT DISTINCT module_name FROM course_names") == [("Integers",)]
    assert shell.rows("SELECT DISTINCT sessions, results, milliseconds, names FROM learner_totals") == [(1, 1, 0, 1)]
    assert shell.rows("SELECT sum(name_changes) FROM learner_totals") > changes[0], "it never falls"
    assert shell.rows("SELECT sum(name_changes) FROM course_totals") > changes[1]
    done = seneca("stats", "verify", "--data", shell.data)
    assert done.returncode == 0, done.stdout
    ((facts,),) = shell.rows("SELECT facts FROM audit WHERE act = 'sessions.retained'")
    assert facts.startswith('{"months":3,"before":"20')
    assert facts.endswith('"sessions":2,"learners":2}')
    assert run(shell, "--months", "3")[1].startswith("Deleted 0 sessions of 0 learners")


def test_a_dry_run_only_counts(shell: Shell):
    before = shell.counts(), shell.rows("SELECT count(*) FROM audit")
    status, said = run(shell, "--months", "3", "--dry-run")
    sentence = rf"Would delete 2 sessions of 2 learners that started before {TIME}\.\n"
    assert (status, bool(re.fullmatch(sentence, said))) == (0, True), said
    assert (shell.counts(), shell.rows("SELECT count(*) FROM audit")) == before
    assert run(shell, "--months", "9999", "--dry-run")[1].startswith("Would delete 0 sessions of 0 learners")


@pytest.mark.parametrize("months", ["0", "-1", "x", "1.5", "10001"])
def test_wrong_usage(tmp_path: Path, months: str):
    assert seneca("prune", "--months", months, "--data", tmp_path).returncode == 2


def test_it_goes_on_beside_a_server_whose_answers_change_at_once(server: Server, tara: Person, client):
    made, learners = make_course(tara), [sign_up(client, "learner") for _ in range(3)]
    for index, learner in enumerate(learners):
        for number in range(4):
            learner.update(learner.start(made), result(f"Module {number}", 1), result(f"Only {index} {number}", 2))
    started = [tuple(s["sessionStart"] for s in person.get("/stats/user/sessions").json()) for person in learners]
    path = f"/stats/courses/{made['id']}"
    assert len(tara.get(path).json()["moduleAmount"]["moduleNames"]) == 16
    before = from_iso(started[-1][2])  # of the last learner two sessions stay, of the others none
    database = open_database(engine().url(server.data))
    try:
        removed = asyncio.run(retention.prune(database, months=1, before=before, now=before))
    finally:
        database.close()
    assert removed.sessions >= 10
    assert learners[0].get("/stats/user").json() == statistics()
    left = ("Module 2", "Module 3", "Only 2 2", "Only 2 3")
    assert tara.get(path).json() == statistics(*left, points=6, mean=0.75) == learners[2].get(path).json()
    check_totals(server)
    again = learners[0].start(made)
    learners[0].update(again, result("Module 0", 5))
    assert learners[0].get(path).json() == statistics("Module 0", points=5, mean=2.5)
    assert "Module 0" in tara.get(path).json()["moduleAmount"]["moduleNames"]


def test_removes_voided_ids_that_are_older(shell: Shell):
    voided = {"kind": "voided-session", "userId": ALICE_ID}
    old = voided | {"id": COURSE_ID, "voidedAt": "2025-03-01T10:00:00.000Z"}
    recent = voided | {"id": CHARLIE_ID, "voidedAt": to_iso(to_ms(datetime.now(UTC)))}
    assert shell.load(old, recent)[0] == 0
    assert run(shell, "--months", "3", "--dry-run")[0] == 0
    assert len(shell.rows("SELECT id FROM voided_sessions")) == 2
    assert run(shell, "--months", "3")[0] == 0
    assert shell.rows("SELECT id FROM voided_sessions") == [(CHARLIE_ID,)]


def test_a_learner_with_very_many_sessions_is_forgotten_piece_by_piece(shell: Shell, monkeypatch: pytest.MonkeyPatch):
    lines = [session(userId=ALICE_ID, modulesStats=[module(f"M{n}") for n in range(3)]) for _ in range(23)]
    assert shell.load(*lines)[0] == 0
    monkeypatch.setattr(deletion, "MAX_SESSIONS_PER_BATCH", 5)
    monkeypatch.setattr(deletion, "MAX_RESULTS_PER_BATCH", 7)
    told: list[int] = []
    database = open_database(engine().url(shell.data))
    try:
        run = retention.prune(database, months=1, before=LATEST_MS, now=1, progress=told.append)
        assert asyncio.run(run) == retention.OldSessions(27, 2)
    finally:
        database.close()
    assert len(told) > 10
    assert told == sorted(set(told))
    assert told[-1] == 27
    assert max(after - before for before, after in zip([0, *told], told, strict=False)) <= 5
    assert shell.counts()[2:4] == (0, 0)
    done = seneca("stats", "verify", "--data", shell.data)
    assert done.returncode == 0, done.stdout


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("now", "months", "expected"),
    [
        ("2026-11-23T13:42:55.919Z", 1, "2026-10-23T13:42:55.919Z"),
        ("2026-11-23T13:42:55.919Z", 12, "2025-11-23T13:42:55.919Z"),
        ("2026-01-15T00:00:00.000Z", 1, "2025-12-15T00:00:00.000Z"),
        ("2026-12-31T23:59:59.999Z", 12, "2025-12-31T23:59:59.999Z"),
        ("2026-03-31T10:00:00.000Z", 1, "2026-02-28T10:00:00.000Z"),
        ("2024-03-31T10:00:00.000Z", 1, "2024-02-29T10:00:00.000Z"),
        ("2024-02-29T10:00:00.000Z", 12, "2023-02-28T10:00:00.000Z"),
        ("2026-10-31T10:00:00.000Z", 4, "2026-06-30T10:00:00.000Z"),
        ("2026-07-31T10:00:00.000Z", 19, "2024-12-31T10:00:00.000Z"),
    ],
)
def test_calendar_months(now: str, months: int, expected: str):
    """The same day of the month; where there is none, the month's last."""
    assert to_iso(retention.cutoff(from_iso(now), months)) == expected


@pytest.mark.no_database
def test_before_the_calendar_began():
    with pytest.raises(CommandError):
        retention.cutoff(from_iso("0001-06-01T00:00:00.000Z"), 6)
