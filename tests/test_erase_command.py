"""seneca erase, and the ids of the erased outside the database."""

import json
import os
import threading
from pathlib import Path

import httpx
import pytest

from seneca.common.ids import new_id
from seneca.common.times import from_iso, to_iso
from seneca.database import open_database
from seneca.privacy import erasure_log
from tests.helpers.accounts import sign_up
from tests.helpers.commands import seneca, seneca_process
from tests.helpers.engines import engine
from tests.helpers.erasure import erase_self, noted
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
from tests.helpers.server import PASSWORD, running

pytestmark = pytest.mark.slow

LINES = [
    course(),
    user(),
    user(id=CHARLIE_ID, username="charlie", role="admin"),
    session(modulesStats=[module("Integers"), module("Only Alice")]),
    session(userId=CHARLIE_ID),
]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path / "data")
    shell.data.mkdir()
    status, said = shell.load(*LINES)
    assert status == 0, said
    return shell


def erase(shell: Shell, *arguments: str | Path) -> tuple[int, str]:
    done = seneca("erase", *arguments, "--data", shell.data)
    assert done.stdout == ""
    return done.returncode, without_database(done.stderr)


@pytest.mark.parametrize(
    "name", ["alice", "ALICE@example.org", ALICE_ID, ALICE_ID.upper()], ids=["name", "address", "id", "ID"]
)
def test_shows_whom_it_concerns_and_erases(shell: Shell, name: str):
    assert erase(shell, name, "--yes") == (
        0,
        f"alice <alice@example.org>, user, {ALICE_ID}: 1 sessions\nErased account {ALICE_ID} with 1 sessions.\n",
    )
    assert shell.rows("SELECT username FROM accounts") == [("charlie",)]
    assert shell.counts()[2:4] == (1, 1)
    assert [line["id"] for line in noted(shell.data)] == [ALICE_ID]
    assert shell.rows("SELECT account_id FROM erasures") == [(ALICE_ID,)]
    assert seneca("stats", "verify", "--data", shell.data).returncode == 0
    assert erase(shell, ALICE_ID, "--yes") == (1, "seneca: There is no such account.\n")


def test_asks_first_and_where_nobody_can_be_asked_does_nothing(shell: Shell):
    status, said = erase(shell, "alice")
    assert (status, "--yes" in said) == (1, True)
    assert shell.counts()[1] == 2


@pytest.mark.parametrize(("answer", "left"), [("n\n", 2), ("y\n", 1)])
def test_asks_on_a_terminal(shell: Shell, answer: str, left: int):
    mine, theirs = os.openpty()
    os.write(mine, answer.encode())
    done = seneca_process("erase", "alice", "--data", shell.data, stdin=theirs)
    os.close(mine)
    os.close(theirs)
    assert "Erase the account and all of its data? [y/N]" in done.stderr
    assert done.returncode == (0 if left == 1 else 1)
    assert shell.counts()[1] == left


def test_refuses_the_last_administrator_and_who_is_not_there(shell: Shell):
    status, said = erase(shell, "charlie", "--yes")
    assert (status, said.splitlines()[-1]) == (1, "seneca: This is the last administrator.")
    assert erase(shell, "nobody", "--yes") == (1, "seneca: There is no account named nobody.\n")
    assert shell.counts()[1] == 2


def test_wrong_usage(shell: Shell):
    assert erase(shell)[0] == 2
    assert erase(shell, "alice", "--replay", shell.data / "erased-accounts")[0] == 2


# -- outside the database ----------------------------------------------------------------------


def test_replay_erases_again_everyone_who_came_back_even_the_last_administrator(shell: Shell, tmp_path: Path):
    file = tmp_path / "erased"
    lines = [{"id": id_, "erasedAt": "2026-01-01T00:00:00.000Z"} for id_ in (ALICE_ID, new_id(), CHARLIE_ID)]
    file.write_text("\nrubbish\n{}\n" + "".join(json.dumps(line) + "\n" for line in [*lines, lines[0]]) + '{"id":"cut')
    assert erase(shell, "--replay", file) == (0, "2 accounts erased again.\n")
    assert shell.counts()[1:] == (0, 0, 0, 0, 0)
    assert sorted(shell.rows("SELECT account_id, erased_at FROM erasures")) == sorted(
        (line["id"], from_iso(line["erasedAt"])) for line in lines
    )
    assert {line["id"] for line in noted(shell.data)} == {line["id"] for line in lines}
    assert erase(shell, "--replay", file) == (0, "0 accounts erased again.\n")
    assert seneca("stats", "verify", "--data", shell.data).returncode == 0


def test_replay_erases_voided_ids_that_came_back(shell: Shell, tmp_path: Path):
    assert erase(shell, "alice", "--yes")[0] == 0
    restored = Shell(tmp_path / "restored")
    restored.data.mkdir()
    voided = {"kind": "voided-session", "id": COURSE_ID, "userId": ALICE_ID, "voidedAt": "2026-03-01T10:00:00.000Z"}
    assert restored.load(user(), voided)[0] == 0
    assert erase(restored, "--replay", shell.data / "erased-accounts")[0] == 0
    assert restored.rows("SELECT count(*) FROM voided_sessions") == [(0,)]


def test_replay_of_a_file_that_is_not_there(shell: Shell):
    status, said = erase(shell, "--replay", shell.data / "none")
    assert (status, said.startswith(f"seneca: The file {shell.data / 'none'} cannot be read")) == (1, True), said


def test_an_import_does_not_bring_the_erased_back(shell: Shell):
    assert erase(shell, "alice", "--yes")[0] == 0
    status, said = shell.load(*LINES)
    assert status == 1
    assert "line 2: id: belongs to an erased account" in said
    status, said = shell.load(*LINES, options=("--skip-bad",))
    assert status == 0, said
    assert shell.rows("SELECT username FROM accounts") == [("charlie",)]


def test_a_start_completes_the_file_from_the_database(shell: Shell):
    seneca("admin", "create", "ada", "ada@example.org", "--data", shell.data, input=PASSWORD)
    for name in ("alice", "charlie"):
        assert erase(shell, name, "--yes")[0] == 0
    file = shell.data / "erased-accounts"
    whole = noted(shell.data)
    for text in (None, "", '{"id":"cut off', file.read_text().splitlines()[0]):
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)
        with running(shell.data):
            pass
        ids = [line["id"] for line in map(read, file.read_text().splitlines()) if line]
        assert sorted(ids) == sorted(line["id"] for line in whole), text
        assert file.stat().st_mode & 0o777 == 0o600 or text is not None
    assert {line["erasedAt"] for line in whole} == {
        to_iso(at) for (at,) in shell.rows("SELECT erased_at FROM erasures")
    }


def read(line: str) -> dict[str, str]:
    try:
        return dict(json.loads(line))
    except ValueError:
        return {}


def test_an_erasure_that_cannot_be_noted_is_noted_later(tmp_path: Path):
    """The answer is still 204: the database knows."""
    file = tmp_path / "erased-accounts"
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        sign_up(client, "tara", role="admin")
        alice, bob = sign_up(client, "alice"), sign_up(client, "bob")
        file.mkdir()  # nobody can write to that
        assert erase_self(alice).status_code == 204
        assert any("erasure log not written" in line for line in server.log_lines())
        file.rmdir()
        assert erase_self(bob).status_code == 204
    with running(tmp_path):
        assert {line["id"] for line in noted(tmp_path)} == {alice.id, bob.id}


@pytest.mark.no_database
def test_many_write_to_the_file_at_once(tmp_path: Path):
    file = tmp_path / "erased-accounts"
    ids = [new_id() for _ in range(80)]
    threads = [threading.Thread(target=erasure_log.append, args=(file, [(id_, 0)])) for id_ in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(erasure_log.read(file)) == sorted((id_, 0) for id_ in ids)


def test_completing_adds_nothing_twice(shell: Shell):
    assert erase(shell, "alice", "--yes")[0] == 0
    database = open_database(engine().url(shell.data))
    try:
        for _ in range(2):
            erasure_log.complete(database, shell.data / "erased-accounts")
    finally:
        database.close()
    assert len(noted(shell.data)) == 1


def test_an_empty_database_makes_no_file(tmp_path: Path):
    with running(tmp_path):
        assert not (tmp_path / "erased-accounts").exists()
