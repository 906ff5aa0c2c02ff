"""After an erasure nobody finds in SQLite's files, or in the log, what was erased."""

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import apsw
import httpx
import pytest

from seneca.auth import passwords
from seneca.database import open_database
from seneca.database.sqlite import vacuum
from seneca.errors import ServiceUnavailable
from seneca.privacy import vacuum as wanted_files
from tests.helpers.accounts import Person, make_course, register, sign_in, sign_up
from tests.helpers.commands import seneca
from tests.helpers.engines import engine
from tests.helpers.erasure import check_totals, erase_self, files_with
from tests.helpers.exchange import course, session, user, write
from tests.helpers.load import wait_for
from tests.helpers.server import PASSWORD, Server, running

pytestmark = pytest.mark.sqlite

AT_ONCE = {"SENECA_VACUUM_INTERVAL": "0"}
"""The file is rewritten after each erasure."""


def word(chance: random.Random) -> str:
    """What nobody else has, in capitals and small letters, and of any length."""
    return "".join(chance.choice("ABCDEFabcdef0123456789") for _ in range(chance.randint(16, 40)))


def lines(chance: random.Random, password_hash: str) -> tuple[list[dict[str, Any]], list[Person]]:
    """Two hundred learners and their sessions; each has a word that is in all that they are called and wrote."""
    told: list[dict[str, Any]] = [course()]
    people = []
    for _ in range(200):
        own = word(chance)
        person = Person(httpx.Client(), id=str(uuid4()), username=own, email=f"{own}@{'x' * chance.randint(1, 60)}.org")
        people.append(person)
        told.append(user(id=person.id, username=person.username, email=person.email, passwordHash=password_hash))
        told += [session(userId=person.id, modulesStats=[stats(chance, own)]) for _ in range(chance.randint(0, 3))]
    return told, people


def stats(chance: random.Random, own: str) -> dict[str, Any]:
    """A module's results of any size, that say whose they are."""
    answers = [own + "y" * chance.choice([0, 10, 100, 900]) for _ in range(chance.choice([1, 2, 8]))]
    part = {"answers": answers, "isCompleted": True, "score": 1}
    return {"moduleName": f"{own} {chance.randrange(100)}", "adaptive": part, "quiz": None, "wrongAnswers": part}


def test_nothing_of_the_erased_is_left_in_any_file(tmp_path: Path):
    """Names, addresses and answers of any size, among many who stay; while the tree's pages split and cells move."""
    seed = time.time()
    chance = random.Random(seed)
    told, people = lines(chance, passwords.hash_password(PASSWORD))
    done = seneca("import", write(tmp_path / "in.jsonl", *told), "--data", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    with (
        running(tmp_path / "data", **AT_ONCE) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        tara = sign_up(client, "tara", role="admin")
        made = make_course(tara)
        chance.shuffle(people)
        by_tara, by_themselves, stay = people[:24], people[24:34], people[34:]
        active = [sign_in(client, p.username, p.email, p.id) for p in by_themselves + by_tara[:10] + stay[:20]]
        for _ in range(3):
            for person in active:
                person.update(person.start(made), stats(chance, person.username), stats(chance, person.username + "z"))
        gone = []
        for index, person in enumerate(by_tara):
            assert tara.delete(f"/users/{person.id}").status_code == 204
            gone.append(person)
            if index < len(by_themselves):
                assert erase_self(active[index]).status_code == 204
                gone.append(active[index])
            newcomer = word(chance)
            body = {"username": newcomer, "email": f"{newcomer}@example.org", "password": PASSWORD}
            assert client.post("/auth/register", json=body).status_code == 201
        left = files_with(server.data, *(person.username for person in gone))
        assert left == {}, seed
        assert [
            p
            for p in stay
            if p.username.lower() not in (server.data / "seneca.db").read_bytes().decode("latin1").lower()
        ] == []
        check_totals(server)
    assert files_with(server.data, *(person.username for person in gone)) == {}


def test_by_the_shell_beside_a_server_and_without(tmp_path: Path):
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        sign_up(client, "tara", role="admin")
        alice, bob = sign_up(client, "alice-of-the-shell"), sign_up(client, "bob-of-the-shell")
        assert seneca("erase", alice.username, "--yes", "--data", tmp_path, env=os.environ | AT_ONCE).returncode == 0
        assert files_with(tmp_path, "alice-of-the-shell") == {}
    assert seneca("erase", bob.id, "--yes", "--data", tmp_path, env=os.environ | AT_ONCE).returncode == 0
    assert files_with(tmp_path, "bob-of-the-shell") == {}


def test_while_somebody_reads_the_answer_is_204_and_it_is_done_afterwards(tmp_path: Path):
    """Who reads what was there before keeps it in the log; the answer waits for them two seconds, and no longer."""
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        sign_up(client, "tara", role="admin")
        alice = sign_up(client, "alice-who-was-read")
        reader = apsw.Connection(str(tmp_path / "seneca.db"))
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM accounts").fetchall()
        assert erase_self(alice).status_code == 204
        assert "seneca.db-wal" in files_with(tmp_path, alice.username)
        assert client.get("/health").status_code == 200
        assert register(client, "bob").get("/test").status_code == 200, "others write at the same time"
        wait_for(lambda: any("vacuum not finished" in line for line in server.log_lines()))
        reader.close()
        deadline = time.monotonic() + 60
        while files_with(tmp_path, alice.username):
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_what_a_crash_left_undone_the_next_server_does(tmp_path: Path):
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara = sign_up(client, "tara", role="admin")
        alice = sign_up(client, "alice-before-the-crash")
        reader = apsw.Connection(str(tmp_path / "seneca.db"))
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM accounts").fetchall()
        assert tara.delete(f"/users/{alice.id}").status_code == 204
        server.stop(9)
        reader.close()
        (tmp_path / "erased-accounts").unlink()
    assert server.rows("SELECT count(*) FROM properties WHERE name = 'scouring-wanted'") == [(1,)]
    with running(tmp_path) as server:
        deadline = time.monotonic() + 60
        while server.rows("SELECT 1 FROM properties WHERE name = 'scouring-wanted'"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert files_with(tmp_path, alice.username) == {}
        assert alice.id in (tmp_path / "erased-accounts").read_text()


def test_a_file_that_is_not_small_is_left_to_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its log is emptied all the same."""
    monkeypatch.setattr(vacuum, "MAX_AUTOMATIC_BYTES", 0)
    database = open_database(engine().url(tmp_path))
    connection = apsw.Connection(str(tmp_path / "seneca.db"))
    try:
        connection.execute("CREATE TABLE filler (text)")
        connection.execute(
            "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 1000) INSERT INTO filler SELECT randomblob(900) FROM n"
        )
        connection.execute("DROP TABLE filler")
        asyncio.run(database.files.vacuum())
        asyncio.run(database.files.empty_log())
        size = (tmp_path / "seneca.db").stat().st_size
        assert (tmp_path / "seneca.db-wal").stat().st_size == 0
        asyncio.run(database.files.vacuum(thoroughly=True))
        asyncio.run(database.files.empty_log())
        assert (tmp_path / "seneca.db").stat().st_size < size - 800_000
    finally:
        connection.close()
        database.close()


def test_what_others_are_in_the_way_of_gives_up_after_a_moment(tmp_path: Path):
    database = open_database(engine().url(tmp_path))
    reader, writer = (apsw.Connection(str(tmp_path / "seneca.db")) for _ in range(2))
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM accounts").fetchall()
        writer.execute("INSERT INTO properties VALUES ('a', 'b')")
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable):
            asyncio.run(database.files.empty_log())
        assert time.monotonic() - began < 20
        reader.close()
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(ServiceUnavailable):
            asyncio.run(database.files.vacuum())
        writer.execute("COMMIT")
        asyncio.run(database.files.vacuum())
        asyncio.run(database.files.empty_log())
    finally:
        reader.close()
        writer.close()
        database.close()


def test_scouring_beside_writers_and_readers(tmp_path: Path):
    """Nobody is refused because of it."""
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara = sign_up(client, "tara", role="admin")
        made = make_course(tara)
        learners = [sign_up(client, "learner") for _ in range(4)]
        leavers = [sign_up(client, "leaver") for _ in range(10)]
        stopped, statuses = threading.Event(), set()

        def study(learner: Person) -> None:
            with httpx.Client(base_url=server.url, timeout=30) as own:
                person = Person(own, learner.token)
                while not stopped.is_set():
                    body = {"courseIdentifier": made["id"], "topic": "Number"}
                    statuses.add(person.post("/session/startSession", body).status_code)
                    statuses.add(person.get("/stats/user/sessions?limit=50").status_code)
                    statuses.add(person.get(f"/stats/courses/{made['id']}").status_code)

        threads = [threading.Thread(target=study, args=(learner,)) for learner in learners]
        for thread in threads:
            thread.start()
        erased = [tara.delete(f"/users/{leaver.id}").status_code for leaver in leavers]
        stopped.set()
        for thread in threads:
            thread.join()
        assert erased == [204] * 10
        assert statuses == {200, 201}
        check_totals(server)


# -- how often the files are worked on -----------------------------------------------------------


def wishes(server: Server) -> dict[str, str]:
    return dict(server.rows("SELECT name, value FROM properties WHERE name LIKE 'vacuum%' OR name = 'scouring-wanted'"))


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def study(person: Person, made: dict[str, Any]) -> None:
    person.update(person.start(made), {"moduleName": "Integers", "quiz": {"score": 1}})


def test_while_somebody_reads_the_file_is_rewritten_once(tmp_path: Path):
    """Then only the emptying of the log is tried again, less and less often, and the log does not grow."""
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara, alice = sign_up(client, "tara", role="admin"), sign_up(client, "alice")
        study(alice, make_course(tara))
        reader = apsw.Connection(str(tmp_path / "seneca.db"))
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM accounts").fetchall()
        assert tara.delete(f"/users/{alice.id}").status_code == 204
        until(lambda: "vacuum-wanted" not in wishes(server))
        vacuumed_at, log_size = wishes(server)["vacuumed-at"], (tmp_path / "seneca.db-wal").stat().st_size
        until(lambda: sum("log cannot be emptied" in line for line in server.log_lines()) >= 3)  # after 0, 5 and 15 s
        assert wishes(server)["vacuumed-at"] == vacuumed_at
        assert (tmp_path / "seneca.db-wal").stat().st_size <= log_size + 65536
        waits = [line for line in server.log_lines() if "vacuum not finished" in line]
        assert sign_up(client, "bob").delete("/auth/me", json={"password": PASSWORD}).status_code == 204
        assert [line for line in server.log_lines() if "vacuum not finished" in line] == waits, "it has just failed"
        reader.close()
        until(lambda: "scouring-wanted" not in wishes(server))
        assert files_with(tmp_path, alice.username) == {}


def test_the_file_is_rewritten_at_most_once_in_the_interval_and_the_last_wish_is_kept(tmp_path: Path):
    with (
        running(tmp_path, SENECA_VACUUM_INTERVAL="25") as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        tara = sign_up(client, "tara", role="admin")
        made = make_course(tara)
        leavers = [sign_up(client, "leaver") for _ in range(3)]
        for leaver in leavers:
            study(leaver, made)
        assert tara.delete(f"/users/{leavers[0].id}").status_code == 204
        first = wishes(server)
        assert set(first) == {"vacuumed-at"}
        for leaver in leavers[1:]:
            assert tara.delete(f"/users/{leaver.id}").status_code == 204
        second = wishes(server)
        assert second["vacuumed-at"] == first["vacuumed-at"]
        assert set(second) == {"vacuumed-at", "vacuum-wanted"}, "the log is emptied at once all the same"
        until(lambda: set(wishes(server)) == {"vacuumed-at"})
        assert int(wishes(server)["vacuumed-at"]) - int(first["vacuumed-at"]) >= 25_000


def test_accounts_without_sessions_have_it_rewritten_once_a_day(tmp_path: Path):
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        sign_up(client, "tara", role="admin")
        for _ in range(3):
            assert erase_self(sign_up(client, "leaver")).status_code == 204
        assert set(wishes(server)) == {"vacuumed-at", "vacuum-wanted-daily"}


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("wish", "seconds_ago", "is_due"),
    [
        ("vacuum-wanted", None, True),
        ("vacuum-wanted", 599, False),
        ("vacuum-wanted", 600, True),
        ("vacuum-wanted-daily", 86_399, False),
        ("vacuum-wanted-daily", 86_400, True),
        ("vacuum-wanted-daily", -1, True),  # the clock was ahead
        ("scouring-wanted", None, False),
    ],
)
def test_when_the_file_is_due(wish: str, seconds_ago: int | None, *, is_due: bool):
    now = 1_800_000_000_000
    state = {wish: "mark"} | ({} if seconds_ago is None else {"vacuumed-at": str(now - 1000 * seconds_ago)})
    assert wanted_files.is_vacuum_due(state, 600_000, now) is is_due
