"""seneca backup, seneca restore, and on PostgreSQL its own tools: what comes back, and what must not."""

import itertools
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import apsw
import httpx
import psycopg
import pytest

from seneca.common.ids import bucket_of, new_id
from seneca.database import migrations
from tests.helpers.accounts import Person, make_course, sign_in, sign_up
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca, seneca_process
from tests.helpers.engines import Databases, engine, name_of
from tests.helpers.exchange import Shell, session, user
from tests.helpers.exchange import course as a_course
from tests.helpers.server import PASSWORD, Server, running
from tests.test_migrations import make_first_schema

DATA = Path(__file__).parent / "data"
OF_THE_MOMENT = {"audit", "sign_ins", "revocations", "properties"}
"""Tables in which a restore is meant to change something."""
Kept = dict[str, list[tuple[Any, ...]]]


def kept(data: Path) -> Kept:
    """Every row of every table that a restore brings back.

    ``name_changes`` goes on, and so there may be rows of totals that count nothing.
    """
    found = {}
    for table in sorted(set(engine().tables(data)) - OF_THE_MOMENT):
        columns = [column for column in engine().columns(data, table) if column != "name_changes"]
        counting = " WHERE sessions > 0" if table in ("learner_totals", "course_totals") else ""
        found[table] = sorted(engine().rows(data, f"SELECT {', '.join(columns)} FROM {table}{counting}"), key=repr)
    return found


def back_up(data: Path, file: Path) -> None:
    """As docs/backup.md says for this engine."""
    used = engine()
    if isinstance(used, Databases):
        command = [used.binaries / "pg_dump", "--format=custom", "--no-owner", f"--file={file}", used.url(data)]
        subprocess.run(command, check=True)
    else:
        done = seneca("backup", file, "--data", data)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


def put_back(file: Path, data: Path, **environment: str) -> str:
    """As docs/backup.md says for this engine: on PostgreSQL no server may run. Returns what the command said."""
    used = engine()
    if isinstance(used, Databases):
        with psycopg.connect(used.url(data).rsplit("/", 1)[0] + "/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name_of(data)}")
            connection.execute(f"CREATE DATABASE {name_of(data)} ENCODING 'UTF8' TEMPLATE template0")
        command = [used.binaries / "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={used.url(data)}", file]
        subprocess.run(command, check=True)
        done = seneca("restore", "--in-place", "--data", data, env=os.environ | environment)
    else:
        done = seneca("restore", file, "--yes", "--data", data, env=os.environ | environment)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr


def client_of(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=30)


def answers(tara: Person) -> dict[str, bytes]:
    """What the courses and the statistics answer, byte for byte."""
    courses = [course["id"] for course in tara.get("/course").json()]
    learners = [user["id"] for user in tara.get("/users?limit=1000").json()][::20]
    paths = [
        "/settings",
        *(f"/course/{id_}{member}" for id_ in courses for member in ("", "/settings")),
        *(f"/stats/courses/{id_}" for id_ in courses),
        *(f"/stats/users/{id_}" for id_ in learners),
        *(f"/stats/users/{id_}/courses/{courses[0]}" for id_ in learners),
        *(f"/stats/users/{id_}/sessions" for id_ in learners),
    ]
    return {path: tara.get(path).content for path in paths}


def true(data: Path) -> bool:
    return seneca("stats", "verify", "--data", data).returncode == 0


# -- the drill ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of demo data and of two real courses, on which nobody works yet."""
    data = tmp_path_factory.mktemp("filled")
    assert seneca("demo", "--data", data).returncode == 0
    assert seneca("import", DATA / "oulad-aaa.jsonl.gz", "--data", data).returncode == 0
    return data


@pytest.fixture
def used(filled: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    data = tmp_path / "used"
    data.mkdir()
    engine().copy(filled, data)
    return data


def test_the_drill(used: Path, tmp_path: Path):
    file = tmp_path / "backup"
    with running(used) as server, client_of(server) as client:
        tara = sign_up(client, "tara", role="admin")
        alice = sign_up(client, "alice")
        course = make_course(tara)
        session_id = alice.start(course)
        alice.update(session_id, {"moduleName": "Integers", "quiz": {"answers": ["é\u2028"], "score": 74.125}})
        school = {"schoolName": "Saint Éve’s", "passMark": 33.333, "daysOff": {"weekdays": [7], "dates": []}}
        assert tara.patch("/settings", school).status_code == 200
        assert tara.patch(f"/course/{course['id']}/settings", {"fullMark": 80}).status_code == 200
        before, answered = kept(used), answers(tara)
        assert len(before["sessions"]) > 3500
        back_up(used, file)
        tara.patch("/settings", {"schoolName": None, "weeklyGoalDays": 7})
        tara.patch(f"/course/{course['id']}/settings", {"fullMark": None})
        alice.update(session_id, {"moduleName": "Fractions", "quiz": {"score": -1}})
        alice.end(session_id)
        charlie = sign_up(client, "charlie")
        later = make_course(tara)
        charlie.update(charlie.start(later), {"moduleName": "Equations"})
        charlie.update(charlie.start(course), {"moduleName": "Equations"})
        assert kept(used) != before
        if isinstance(engine(), Databases):
            server.stop()
        put_back(file, used)
        assert kept(used) == before
    empty = tmp_path / "empty"
    put_back(file, empty)
    assert kept(empty) == before
    for data in (used, empty):
        assert true(data)
        engine().check(data)
        with running(data) as server, client_of(server) as client:
            for person in (tara, alice, charlie):
                code = "signed-out" if data == used else "token-invalid"  # the empty place has another key
                refused(Person(client, person.token).get("/auth/me"), 401, code)
            back = sign_in(client, tara.username)
            assert answers(back) == answered
            again = sign_in(client, alice.email)
            again.update(session_id, {"moduleName": "Fractions"})
            assert again.get(f"/stats/user/courses/{course['id']}").json()["moduleAmount"] == {
                "totalModulesStudied": 2,
                "moduleNames": ["Fractions", "Integers"],
            }
            body = {"username": charlie.username, "password": PASSWORD}
            refused(client.post("/auth/login", json=body), 401, "invalid-credentials")
        assert true(data)


# -- what must not come back -------------------------------------------------------------------


def new_administrator(client: httpx.Client, **headers: str) -> httpx.Response:
    body = {"username": "mallory", "email": "mallory@example.org", "password": PASSWORD, "role": "admin"}
    return client.post("/auth/register", json=body, headers=headers)


def test_a_backup_from_before_the_first_administrator_opens_nothing(tmp_path: Path):
    data, file, empty = tmp_path / "data", tmp_path / "backup", tmp_path / "empty"
    with running(data) as server, client_of(server) as client:
        token = (data / "setup-token").read_text().strip()
        back_up(data, file)
        sign_up(client, "tara", role="admin")
    for target in (data, empty):
        said = put_back(file, target)
        assert "There is no administrator. Create one: seneca admin create NAME EMAIL" in said
        for _ in range(2):  # a restart opens nothing either
            with running(target) as server, client_of(server) as client:
                refused(new_administrator(client), 403, "registration-closed")
                refused(new_administrator(client, **{"X-Setup-Token": token}), 403, "registration-closed")
                assert not (target / "setup-token").exists()
        made = seneca("admin", "create", "tara", "tara@example.org", "--data", target, input=f"{PASSWORD}\n")
        assert made.returncode == 0, made.stderr


def test_a_sign_in_that_ended_since_does_not_come_back(tmp_path: Path):
    data, file = tmp_path / "data", tmp_path / "backup"
    with running(data) as server, client_of(server) as client:
        tara = sign_up(client, "tara", role="admin")
        body = {"username": tara.username, "password": PASSWORD}
        ended = client.post("/auth/login", json=body).json()
        going_on = client.post("/auth/login", json=body).json()
        back_up(data, file)
        assert Person(client, ended["token"]).post("/auth/logout").status_code == 204
    put_back(file, data)
    with running(data) as server, client_of(server) as client:
        for tokens in (ended, going_on):
            refused(Person(client, tokens["token"]).get("/auth/me"), 401, "signed-out")
            answer = client.post("/auth/refresh", json={"refreshToken": tokens["refreshToken"]})
            assert answer.status_code == 401
        assert sign_in(client, tara.username).get("/users").status_code == 200


def test_who_was_erased_since_is_erased_again(tmp_path: Path):
    data, file = tmp_path / "data", tmp_path / "backup"
    with running(data) as server, client_of(server) as client:
        tara = sign_up(client, "tara", role="admin")
        alice, charlie, dora = (sign_up(client, name) for name in ("alice", "charlie", "dora"))
        course = make_course(tara)
        for person in (alice, charlie, dora):
            person.update(person.start(course), {"moduleName": person.username, "quiz": {"score": 1}})
        back_up(data, file)
    line = {"id": alice.id, "erasedAt": "2026-11-23T13:42:55.919Z"}
    (data / "erased-accounts").write_text(json.dumps(line) + '\n{"id": "cut o')
    gone = {alice.id}
    if not isinstance(engine(), Databases):  # there the table is gone with the database
        sql = "INSERT INTO erasures (bucket, account_id, erased_at) VALUES (1, :id, 2)"
        engine().change(data, sql, id=charlie.id)
        gone.add(charlie.id)
    said = put_back(file, data)
    assert f"{len(gone)} accounts that were erased after the backup were erased again." in said
    left = kept(data)
    for table, rows in left.items():
        if table != "erasures":
            assert not any(id_ in row for row in rows for id_ in gone), table
    assert {row[1] for row in left["erasures"]} == gone
    assert len(left["sessions"]) == 3 - len(gone)
    assert true(data)


# -- PostgreSQL --------------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.parametrize(("command", "tool"), [("backup", "pg_dump --format=custom"), ("restore", "pg_restore")])
def test_on_postgresql_its_own_tools_are_named(tmp_path: Path, command: str, tool: str):
    assert seneca("migrate", "--data", tmp_path).returncode == 0
    done = seneca(command, tmp_path / "file", "--data", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert tool in done.stderr.splitlines()[-1]
    assert not (tmp_path / "file").exists()


# -- SQLite: beside a running server -----------------------------------------------------------

sqlite = pytest.mark.sqlite


@sqlite
def test_module_names_are_right_on_a_server_that_ran_during_a_restore(tmp_path: Path):
    data, file = tmp_path / "data", tmp_path / "backup"
    with running(data) as server, client_of(server) as client:
        tara, alice = sign_up(client, "tara", role="admin"), sign_up(client, "alice")
        course, other = make_course(tara), make_course(tara)
        sessions = [alice.start(course), alice.start(other)]
        alice.update(sessions[0], {"moduleName": "A"})
        back_up(data, file)

        def names(learner: Person, administrator: Person) -> list[list[str]]:
            return [
                person.get(f"/stats/courses/{each['id']}").json()["moduleAmount"]["moduleNames"]
                for person in (learner, administrator)
                for each in (course, other)
            ]

        for name in "BC":
            for session_id in sessions:
                alice.update(session_id, {"moduleName": name})
                names(alice, tara)
        assert names(alice, tara) == [["A", "B", "C"], ["B", "C"]] * 2
        put_back(file, data)
        time.sleep(1.1)  # tokens of the restore's own second do not count
        alice, tara = sign_in(client, alice.username), sign_in(client, tara.username)
        assert names(alice, tara) == [["A"], []] * 2
        seen = ["A"], []
        for name in "XYZ":
            for session_id, so_far in zip(sessions, seen, strict=True):
                alice.update(session_id, {"moduleName": name})
                so_far.append(name)
            assert names(alice, tara) == [*seen] * 2
    assert true(data)


class Traffic:
    """A learner who writes and a stranger who reads, again and again, until the end of the block."""

    def __init__(self, server: Server, learner: Person, session_id: str, course_id: str) -> None:
        self.server, self.learner, self.session_id, self.course_id = server, learner, session_id, course_id
        self.stop = threading.Event()
        self.statuses: set[int] = set()
        self.acknowledged: list[str] = []
        self.seen: list[str] = []
        self.threads = [threading.Thread(target=work) for work in (self.write, self.read)]

    def write(self) -> None:
        with client_of(self.server) as client:
            writer = Person(client, self.learner.token)
            for number in itertools.count():
                name = f"M{number % 900}"
                answer = writer.put(
                    "/session/updateSession", {"sessionId": self.session_id, "moduleStats": [{"moduleName": name}]}
                )
                self.statuses.add(answer.status_code)
                if answer.status_code == 200:
                    self.acknowledged.append(name)
                if self.stop.is_set():
                    return

    def read(self) -> None:
        with client_of(self.server) as client:
            while not self.stop.is_set():
                self.seen.append(client.get(f"/course/{self.course_id}").json()["courseTitle"])

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@sqlite
def test_beside_a_server_that_writes_and_reads(used: Path, tmp_path: Path):
    """Readers see the old or the new, never a mixture; what was acknowledged before a backup began is in it."""
    file, empty = tmp_path / "backup", tmp_path / "empty"
    with running(used, "--workers", "2") as server, client_of(server) as client:
        tara, alice = sign_up(client, "tara", role="admin"), sign_up(client, "alice")
        course = make_course(tara)
        session_id = alice.start(course)
        with Traffic(server, alice, session_id, course["id"]) as traffic:
            until(lambda: len(traffic.acknowledged) >= 20)
            acknowledged = set(traffic.acknowledged)
            back_up(used, file)
            assert tara.put(f"/course/{course['id']}", {"courseTitle": "Changed since"}).status_code == 200
            until(lambda: "Changed since" in traffic.seen[-1:])
            put_back(file, used)
            until(lambda: 401 in traffic.statuses)
        assert traffic.statuses <= {200, 401, 503}
        titles = [title for title, _ in itertools.groupby(traffic.seen)]
        assert titles == [course["courseTitle"], "Changed since", course["courseTitle"]]
        assert not [line for line in server.log_lines() if '"level":"error"' in line.replace(" ", "")]
    put_back(file, empty)
    for data in (used, empty):
        assert true(data)
        engine().check(data)
        assert engine().rows(data, "PRAGMA journal_mode") == [("wal",)]
    rows = engine().rows(empty, "SELECT module_name FROM results WHERE session_id = :id", id=session_id)
    assert acknowledged <= {row[0] for row in rows}


KILLED = """
import os, signal, sys, time
from pathlib import Path
from seneca import backup
from seneca.database import open_database
from seneca.database.sqlite import backup as sqlite_backup
sqlite_backup.PAGES_PER_STEP = 50
url, file, share = sys.argv[1:]

def progress(doing, done, total):
    if doing == "restoring" and done >= float(share) * total:
        os.kill(os.getpid(), 9)

backup.restore(open_database(url), Path(file), {}, lambda: int(time.time() * 1000), progress)
"""


@sqlite
@pytest.mark.parametrize(("share", "is_new"), [(0, False), (0.5, False), (0.9, False), (1, True)])
def test_a_restore_that_is_killed_leaves_the_old_or_the_new(used: Path, tmp_path: Path, share: float, *, is_new: bool):
    file = tmp_path / "backup"
    before = kept(used)
    back_up(used, file)
    assert engine().change(used, "UPDATE courses SET qualification = 'Changed since'") > 0
    changed = kept(used)
    with running(used) as server:
        command = [sys.executable, "-c", KILLED, engine().url(used), str(file), str(share)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert kept(used) == (before if is_new else changed)
        assert httpx.get(f"{server.url}/course/Mathematics%20-%20GCSE").status_code == 200
        register = {"username": "alice", "email": "alice@example.org", "password": PASSWORD}
        assert httpx.post(f"{server.url}/auth/register", json=register).status_code == 201
    engine().check(used)
    assert true(used)
    put_back(file, used)
    assert kept(used) == before


# -- SQLite: the file --------------------------------------------------------------------------


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A small database."""
    made = Shell(tmp_path / "data")
    made.data.mkdir()
    assert made.load(a_course(), user(), session())[0] == 0
    return made


@sqlite
def test_a_backup_is_one_private_file_without_what_was_deleted(shell: Shell, tmp_path: Path):
    engine().change(shell.data, "UPDATE courses SET qualification = 'a secret that goes'")
    engine().change(shell.data, "UPDATE courses SET qualification = 'GCSE'")
    folder = tmp_path / "backups"
    folder.mkdir()
    file = folder / "backup"
    assert seneca("backup", file, "--data", shell.data).returncode == 0  # yesterday's
    done = seneca("backup", file, "--data", shell.data)
    assert (done.returncode, done.stdout) == (0, "")
    said = f"Backed up 1 accounts, 1 courses, 1 sessions: {file.stat().st_size:,} bytes in {file}."
    assert said in done.stderr.splitlines()
    assert str(shell.data / "erased-accounts") in done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(folder.iterdir()) == [file]
    assert b"a secret that goes" not in file.read_bytes()


@sqlite
@pytest.mark.parametrize("name", ["data/seneca.db", "data/seneca.db-wal", "data", "none/backup"])
def test_a_backup_does_not_go_where_it_must_not(shell: Shell, tmp_path: Path, name: str):
    before = kept(shell.data)
    done = seneca("backup", tmp_path / name, "--data", shell.data)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"seneca: {tmp_path / name} ")
    assert done.stderr.count("\n") == 1
    assert kept(shell.data) == before


def limited() -> None:
    """The disk is full: a file may grow to 64 KiB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))


@sqlite
def test_a_full_disk_leaves_everything_as_it_was(used: Path, tmp_path: Path):
    file = tmp_path / "backup"
    back_up(used, file)
    whole = file.read_bytes()
    engine().change(used, "UPDATE courses SET qualification = 'Changed since'")
    before = kept(used)
    for command in (("backup", file), ("restore", file, "--yes")):
        done = seneca_process(*command, "--data", used, preexec_fn=limited)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines()[-1].startswith("seneca: ")
        assert "Traceback" not in done.stderr
        assert file.read_bytes() == whole
        assert kept(used) == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "used"]
        assert not [path.name for path in used.iterdir() if path.name.startswith("seneca.db.")]


def spoil(file: Path, how: str) -> None:
    """Make a backup into what is none."""
    if how == "something else":
        file.write_bytes(b"something else" * 1000)
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:-8192])
    elif how == "missing":
        file.unlink()
    elif how == "directory":
        file.unlink()
        file.mkdir()
    else:
        if how == "another's":
            file.unlink()
        connection = apsw.Connection(str(file))
        for _ in connection.execute(SPOILED[how]):
            pass
        connection.close()
        if how == "in use":
            file.with_name("backup-wal").write_bytes(b"x")


SPOILED = {
    "another's": "CREATE TABLE migrations (number INTEGER); INSERT INTO migrations VALUES (1)",
    "newer": "INSERT INTO migrations (number, name) VALUES (999, 'from the future')",
    "dangling": "PRAGMA foreign_keys = OFF; DELETE FROM accounts",
    "index": "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 3 WHERE name = 'sessions_by_id'",
    "buckets": "UPDATE properties SET value = '256' WHERE name = 'buckets'",
    "in use": "SELECT 1",
    "trigger": "CREATE TRIGGER everybody AFTER INSERT ON accounts BEGIN UPDATE accounts SET role = 'admin' WHERE id = NEW.id; END",
    "view": "CREATE VIEW everything AS SELECT * FROM accounts",
    "table": "CREATE TABLE more (column)",
    "more": "CREATE INDEX another ON accounts (email)",
    "missing index": "DROP INDEX sessions_by_id",
    "another index": "DROP INDEX sessions_by_id; CREATE UNIQUE INDEX sessions_by_id ON sessions (id)",
    "virtual table": "CREATE VIRTUAL TABLE _litestream_seq USING fts5(text)",
}
REASONS = {
    "something else": "is not a backup of Seneca",
    "empty": "is not a backup of Seneca",
    "cut": "is damaged",
    "missing": "cannot be copied: No such file",
    "directory": "cannot be copied: Is a directory",
    "another's": "is not a backup of Seneca",
    "newer": "schema 999, newer than this program knows",
    "dangling": "is damaged: rows refer to missing rows",
    "index": "is damaged",
    "buckets": "has 256 buckets, this database has 64",
    "in use": "is a database in use",
    "trigger": "has an unexpected trigger: everybody",
    "view": "has an unexpected view: everything",
    "table": "has an unexpected table: more",
    "more": "has an unexpected index: another",
    "missing index": "lacks the index sessions_by_id",
    "another index": "the index sessions_by_id is not the one that Seneca creates",
    "virtual table": "has an unexpected table: _litestream_seq",
}


@sqlite
@pytest.mark.parametrize("how", REASONS)
def test_what_is_no_good_backup_is_refused_and_nothing_changes(shell: Shell, tmp_path: Path, how: str):
    file = tmp_path / "backup"
    back_up(shell.data, file)
    spoil(file, how)
    before = kept(shell.data), engine().rows(shell.data, "SELECT * FROM properties")
    done = seneca("restore", file, "--yes", "--data", shell.data)
    assert (done.returncode, done.stdout) == (1, "")
    assert REASONS[how] in done.stderr
    assert done.stderr.startswith("seneca: ")
    assert done.stderr.count("\n") == 1
    assert (kept(shell.data), engine().rows(shell.data, "SELECT * FROM properties")) == before
    assert not [path.name for path in shell.data.iterdir() if path.name.startswith("seneca.db.")]


@sqlite
@pytest.mark.parametrize("tables", [("_litestream_seq", "_litestream_lock"), ()])
def test_what_litestream_keeps_in_a_database_may_come_along(shell: Shell, tmp_path: Path, tables: tuple[str, ...]):
    back_up(shell.data, tmp_path / "backup")
    connection = apsw.Connection(str(tmp_path / "backup"))
    for table in tables:
        connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, seq INTEGER)")
    connection.execute("ANALYZE")
    connection.close()
    before = kept(shell.data)
    put_back(tmp_path / "backup", shell.data)
    assert {table: rows for table, rows in kept(shell.data).items() if table not in tables} == before


@sqlite
def test_of_a_file_put_in_place_by_another_tool_a_trigger_is_refused_too(shell: Shell):
    engine().change(shell.data, SPOILED["trigger"])
    done = seneca("restore", "--in-place", "--data", shell.data)
    assert done.returncode == 1
    assert REASONS["trigger"] in done.stderr


@sqlite
def test_a_backup_of_the_first_schema_is_brought_up_to_date(shell: Shell, tmp_path: Path):
    (tmp_path / "old").mkdir()
    alice = new_id()
    values = {"alice": alice, "bucket": bucket_of(alice, 64), "now": 0}
    make_first_schema(tmp_path / "old", **values, going_on=new_id(), ended=new_id())
    put_back(tmp_path / "old" / "seneca.db", shell.data)
    assert engine().rows(shell.data, "SELECT username FROM accounts") == [("alice",)]
    assert shell.true()


@sqlite
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_terminated_command_leaves_no_half_of_a_copy(shell: Shell, tmp_path: Path, number: signal.Signals):
    before, pipe = sorted(shell.data.iterdir()), tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "seneca", "restore", str(pipe), "--yes", "--data", str(shell.data)]
    not_ignored = partial(signal.signal, number, signal.SIG_DFL)  # as it is under nohup, or in the background
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=not_ignored) as process,  # noqa: PLW1509
        pipe.open("wb"),
    ):
        deadline = time.monotonic() + 30
        while not list(shell.data.glob("seneca.db.*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    assert [path for path in sorted(shell.data.iterdir()) if path not in before] == []
    assert shell.true()


@sqlite
@pytest.mark.parametrize("number", [number for number, *_ in migrations.known("sqlite")[:-1]])
def test_an_older_schema_is_backed_up_as_it_is_before_an_upgrade(shell: Shell, tmp_path: Path, number: int):
    old, file = tmp_path / "old", tmp_path / "backup"
    old.mkdir()
    alice = new_id()
    values = {"alice": alice, "bucket": bucket_of(alice, 64), "now": 0}
    make_first_schema(old, **values, going_on=new_id(), ended=new_id())
    for later, name, sql in migrations.known("sqlite")[1:]:
        if later <= number:
            engine().script(old, f"{sql}; INSERT INTO migrations (number, name) VALUES ({later}, '{name}')")
    done = seneca("backup", file, "--data", old)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Backed up 1 accounts, 0 courses, 0 sessions" in done.stderr
    assert engine().rows(old, "SELECT max(number) FROM migrations") == [(number,)]
    put_back(file, shell.data)
    assert engine().rows(shell.data, "SELECT username FROM accounts") == [("alice",)]
    assert shell.true()


@sqlite
def test_the_database_itself_is_no_backup(shell: Shell):
    done = seneca("restore", shell.data / "seneca.db", "--yes", "--data", shell.data)
    assert (done.returncode, done.stderr) == (1, f"seneca: {shell.data / 'seneca.db'} is the database itself.\n")


@sqlite
def test_wrong_totals_are_no_reason_to_refuse(shell: Shell, tmp_path: Path):
    engine().change(shell.data, "UPDATE learner_totals SET points = points + 1")
    back_up(shell.data, tmp_path / "backup")
    assert "1 totals differed from the recorded rows and were recomputed." in put_back(tmp_path / "backup", shell.data)
    assert shell.true()


@sqlite
def test_pages_of_another_size_are_rewritten(shell: Shell, tmp_path: Path):
    back_up(shell.data, tmp_path / "backup")
    before = kept(shell.data)
    connection = apsw.Connection(str(tmp_path / "backup"))
    for _ in connection.execute("PRAGMA page_size = 8192; VACUUM"):
        pass
    connection.close()
    put_back(tmp_path / "backup", shell.data)
    assert engine().rows(shell.data, "PRAGMA page_size") == [(4096,)]
    assert kept(shell.data) == before


@sqlite
def test_what_is_there_is_replaced_only_by_who_says_so(shell: Shell, tmp_path: Path):
    back_up(shell.data, tmp_path / "backup")
    engine().change(shell.data, "UPDATE courses SET qualification = 'Changed since'")
    before = kept(shell.data)
    command = ("restore", tmp_path / "backup", "--data", shell.data)
    done = seneca(*command)
    said = "seneca: The database has 1 accounts, 1 courses, 1 sessions. To replace all of it, use --yes.\n"
    assert (done.returncode, done.stderr) == (1, said)
    ours, theirs = os.openpty()
    try:
        for answer, replaced in ((b"n\n", False), (b"y\n", True)):
            os.write(ours, answer)
            done = seneca_process(*command, stdin=theirs)
            assert f"Replace all of it by {tmp_path / 'backup'}?" in done.stderr
            assert done.returncode == (0 if replaced else 1)
            assert (kept(shell.data) == before) is not replaced
    finally:
        os.close(ours)
        os.close(theirs)


@sqlite
@pytest.mark.parametrize("arguments", [(), ("file", "--in-place")])
def test_restore_takes_a_file_or_in_place(tmp_path: Path, arguments: tuple[str, ...]):
    done = seneca("restore", *arguments, "--data", tmp_path)
    assert done.returncode == 2
    assert "Give either a FILE or --in-place." in done.stderr
