"""An account with more sessions than one transaction removes: others write at the same time, and a crash only delays it."""

import asyncio
import contextlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from seneca.auth.authorisation import COMMAND_LINE
from seneca.database import Transaction, open_database
from seneca.privacy import erasure
from seneca.sessions import corrections, deletion
from seneca.sessions.corrections import SessionCorrection
from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.engines import engine
from tests.helpers.erasure import KEPT_OF_THE_ERASED, check_totals, noted, tables_with
from tests.helpers.exchange import ALICE_ID, COURSE_ID, course, session, user, write
from tests.helpers.load import children
from tests.helpers.server import Server, running
from tests.helpers.wire import module
from tests.test_backup import back_up, put_back
from tests.test_postgres_locks import wait_until_waiting

SESSIONS = 6000
EARLIER = {"session_start": "2026-03-01T12:00:00.000Z", "session_end": "2026-03-01T12:30:00.000Z"}
VOIDED = {
    "kind": "voided-session",
    "id": "0190a000-0000-7000-8000-000000000009",
    "userId": ALICE_ID,
    "voidedAt": "2026-03-01T10:00:00.000Z",
}


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A data directory in which Alice has very many sessions."""
    data = tmp_path / "data"
    stats = [{"moduleName": "Integers", "adaptive": None, "quiz": {"score": 1}, "wrongAnswers": None}]
    lines = [course(), user(), VOIDED, *(session(modulesStats=stats) for _ in range(SESSIONS))]
    done = seneca("import", write(tmp_path / "in.jsonl", *lines), "--data", data)
    assert done.returncode == 0, done.stderr
    return data


def left(server: Server) -> tuple[int, int]:
    """How many accounts are being erased, and how many sessions there are."""
    (accounts,), (sessions,) = (
        server.rows(f"SELECT count(*) FROM {what}")[0] for what in ("accounts WHERE erased_at IS NOT NULL", "sessions")
    )
    return accounts, sessions


def test_others_write_during_an_erasure_and_nothing_is_left_after_it(filled: Path):
    with running(filled, "--workers", "2") as server, httpx.Client(base_url=server.url, timeout=60) as client:
        tara, bob = sign_up(client, "tara", role="admin"), sign_up(client, "bob")
        made = make_course(tara)
        answers: list[int] = []
        erasing = threading.Thread(target=lambda: answers.append(tara.delete(f"/users/{ALICE_ID}").status_code))
        erasing.start()
        written_between = 0
        while erasing.is_alive():
            before = left(server)
            bob.update(bob.start(made), module("Fractions", 2))
            written_between += before[0] == left(server)[0] == 1
        erasing.join()
        assert answers == [204]
        assert written_between > 0
        assert left(server)[0] == 0
        assert tables_with(server, ALICE_ID) <= KEPT_OF_THE_ERASED
        assert tara.get(f"/stats/courses/{COURSE_ID}").json()["moduleAmount"]["totalModulesStudied"] == 0
        check_totals(server)


@pytest.mark.postgres  # SQLite has one writer
@pytest.mark.parametrize("act", ["correct", "void"])
def test_a_correction_during_an_erasure_counts_learners_rightly(tmp_path: Path, act: str):
    """The batch that is being deleted, and the session that is being corrected, are of the same day."""
    last, other = str(uuid4()), str(uuid4())
    lines = [course(), course(id=other, courseTitle="Other"), user(), *(session() for _ in range(1000))]
    later = {"sessionStart": "2026-03-02T10:00:00.000Z", "sessionEnd": "2026-03-02T10:30:00.000Z"}
    same_day = {"sessionStart": "2026-03-01T11:00:00.000Z", "sessionEnd": "2026-03-01T11:30:00.000Z"}
    lines.append(session(id=last, courseId=other, **(later if act == "correct" else same_day)))
    assert seneca("import", write(tmp_path / "in.jsonl", *lines), "--data", tmp_path).returncode == 0
    url = engine().url(tmp_path)
    with contextlib.closing(open_database(url, 2)) as database, ThreadPoolExecutor(2) as threads:
        now = 1_790_000_000_000
        asyncio.run(database.write(erasure.erase, None, ALICE_ID, now))
        is_deleted, may_commit = threading.Event(), threading.Event()

        def delete(tx: Transaction) -> None:
            erasure.delete_batch(tx, ALICE_ID)
            tx.fetch_one("SELECT 1")
            is_deleted.set()
            may_commit.wait(30)

        def change(tx: Transaction) -> None:
            if act == "void":
                corrections.void(tx, COMMAND_LINE, last, ALICE_ID, now)
            else:
                corrections.correct(tx, COMMAND_LINE, last, ALICE_ID, SessionCorrection(**EARLIER), now=now)

        first = threads.submit(lambda: asyncio.run(database.write(delete)))
        assert is_deleted.wait(30)
        second = threads.submit(lambda: asyncio.run(database.write(change)))
        wait_until_waiting(url, 1)
        may_commit.set()
        first.result(30)
        second.result(30)
    done = seneca("stats", "verify", "--data", tmp_path)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_server_that_is_killed_on_the_way_goes_on_when_it_starts_again(filled: Path):
    with running(filled) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        tara = sign_up(client, "tara", role="admin")

        def give_up() -> None:
            with contextlib.suppress(httpx.TransportError):
                tara.delete(f"/users/{ALICE_ID}")

        processes = children(server)
        erasing = threading.Thread(target=give_up)
        erasing.start()
        while left(server)[0] == 0:
            assert erasing.is_alive(), "it was over before it could be broken off"
        for process in processes:
            os.kill(process, signal.SIGKILL)
        server.stop(signal.SIGKILL)
        erasing.join()
    check_totals(server)
    assert left(server)[0] == 1
    assert 0 < left(server)[1] < SESSIONS
    with running(filled) as server:
        deadline = time.monotonic() + 60
        while left(server) != (0, 0):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with httpx.Client(base_url=server.url, timeout=60) as client:
            refused(Person(client, tara.token).get(f"/users/{ALICE_ID}"), 404, "account-not-found")
        assert tables_with(server, ALICE_ID) <= KEPT_OF_THE_ERASED
        assert ALICE_ID in [line["id"] for line in noted(filled)]
        check_totals(server)


def test_by_the_shell(filled: Path):
    done = seneca("erase", ALICE_ID, "--yes", "--data", filled)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"Erased account {ALICE_ID} with {SESSIONS:,} sessions." in done.stderr
    assert engine().rows(filled, "SELECT count(*) FROM accounts") == [(0,)]
    assert engine().rows(filled, "SELECT count(*) FROM sessions") == [(0,)]


def test_an_import_during_an_erasure_brings_nothing_back(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deletion, "MAX_SESSIONS_PER_BATCH", 50)
    database = open_database(engine().url(filled))
    try:
        with database.write_transaction() as tx:
            assert not erasure.erase(tx, None, ALICE_ID, 1).is_complete
    finally:
        database.close()
    again = write(tmp_path / "again.jsonl", course(), user(), session())
    done = seneca("import", again, "--update", "--data", filled)
    assert (done.returncode, done.stdout) == (1, "")
    assert "line 2: id: belongs to an erased account" in done.stderr
    done = seneca("import", again, "--skip-bad", "--data", filled)
    assert done.returncode == 0
    assert "line 3: userId: does not exist" in done.stderr
    assert engine().rows(filled, "SELECT count(*) FROM account_names") == [(0,)]
    assert engine().rows(filled, "SELECT count(*) FROM sessions") == [(SESSIONS - 50,)]
    monkeypatch.undo()
    nobody = tmp_path / "nobody"
    nobody.touch()
    done = seneca("erase", "--replay", nobody, "--data", filled)
    assert done.returncode == 0, done.stderr
    assert engine().rows(filled, "SELECT count(*) FROM accounts") == [(0,)]
    assert engine().rows(filled, "SELECT count(*) FROM sessions") == [(0,)]


@pytest.mark.parametrize("is_noted", [False, True])
def test_a_backup_made_on_the_way_is_restored_without_the_account(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_noted: bool
):
    monkeypatch.setattr(deletion, "MAX_SESSIONS_PER_BATCH", 50)
    database = open_database(engine().url(filled))
    try:
        with database.write_transaction() as tx:
            assert not erasure.erase(tx, None, ALICE_ID, 1).is_complete
    finally:
        database.close()
    assert engine().rows(filled, "SELECT count(*) FROM sessions") == [(SESSIONS - 50,)]
    back_up(filled, tmp_path / "backup")
    if is_noted:
        line = f'{{"id": "{ALICE_ID}", "erasedAt": "2026-11-23T13:42:55.919Z"}}\n'
        filled.mkdir(exist_ok=True)  # PostgreSQL keeps nothing in it
        (filled / "erased-accounts").write_text(line)
    assert "1 accounts that were erased after the backup were erased again." in put_back(tmp_path / "backup", filled)
    assert engine().rows(filled, "SELECT count(*) FROM accounts") == [(0,)]
    assert engine().rows(filled, "SELECT count(*) FROM sessions") == [(0,)]
