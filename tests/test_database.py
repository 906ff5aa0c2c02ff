"""The database: how it comes to be, which are refused, and what a lock that another process holds does."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import httpx
import pytest

from seneca.database import migrations, open_database
from seneca.database.sqlite.locks import wait_for_locks
from seneca.database.sqlite.transaction import MAX_WRITE_WAIT_SECONDS
from seneca.database.sqlite.version import check_version, linked_version
from seneca.errors import CommandError
from tests.helpers.accounts import Person, sign_up
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca, seneca_process
from tests.helpers.engines import free_port
from tests.helpers.load import workers
from tests.helpers.server import Server, running

pytestmark = pytest.mark.sqlite  # about the file

OPEN = "import sys, time; from seneca.database import open_database; sys.stdin.readline(); open_database(sys.argv[1])"


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def rows(path: Path, sql: str) -> list[tuple]:
    connection = apsw.Connection(str(path))
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


# -- how it comes to be ------------------------------------------------------------------------


def test_is_made_with_its_directory_and_for_its_owner_only(tmp_path: Path):
    path = tmp_path / "not" / "yet" / "seneca.db"
    open_database(url(path)).close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]
    assert rows(path, "SELECT name, value FROM properties WHERE name <> 'database-id' ORDER BY name") == [
        ("bucket-hash", "crc32"),
        ("buckets", str(migrations.BUCKETS)),
        ("idle-minutes", "5"),
        ("time-zone", "UTC"),
    ]
    assert rows(path, "SELECT number FROM migrations") == [(m[0],) for m in migrations.known("sqlite")]


def test_every_commit_is_synced_and_references_hold(tmp_path: Path):
    database = open_database(url(tmp_path / "seneca.db"))
    for tx in (database.transaction(), database.transaction()):
        assert tx.fetch_one("PRAGMA synchronous") == (2,)
        assert tx.fetch_one("PRAGMA foreign_keys") == (1,)
        tx.connection.close()
    database.close()


def test_opening_again_applies_nothing(tmp_path: Path):
    first = open_database(url(tmp_path / "seneca.db"))
    second = open_database(url(tmp_path / "seneca.db"))
    assert (first.applied, second.applied) == (len(migrations.known("sqlite")), 0)
    first.close()
    second.close()


@pytest.mark.parametrize("_", range(3))
def test_several_processes_create_it_at_once(tmp_path: Path, _: int):
    path = tmp_path / "seneca.db"
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN, url(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, b"")
    assert rows(path, "SELECT count(*) FROM migrations") == [(len(migrations.known("sqlite")),)]
    assert rows(path, "SELECT count(*) FROM properties") == [(5,)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_several_threads_create_it_at_once(tmp_path: Path):
    barrier = threading.Barrier(8)

    def create(_: int) -> int:
        barrier.wait()
        database = open_database(url(tmp_path / "seneca.db"))
        database.close()
        return database.applied

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(8))) == [0] * 7 + [len(migrations.known("sqlite"))]


# -- which are refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "version",
    [3_007_000, 3_040_001, 3_044_005, 3_045_000, 3_046_001, 3_050_006, 3_051_000, 3_051_001, 3_051_002],
)
def test_refuses_a_sqlite_that_can_corrupt_a_write_ahead_log(version: int):
    with pytest.raises(CommandError, match=r"SQLite 3\.\d+\.\d+ can corrupt a database in WAL mode"):
        check_version(version)


@pytest.mark.parametrize("version", [3_044_006, 3_044_007, 3_050_007, 3_050_099, 3_051_003, 3_052_000, 4_000_000])
def test_accepts_a_sqlite_with_the_correction(version: int):
    check_version(version)


def test_the_sqlite_in_use_has_the_correction():
    check_version(linked_version())


def refused_by_serve(data: Path, *arguments: str) -> str:
    """Assert that `seneca serve` refuses with exit status 1 and one line; returns the line."""
    done = seneca("serve", "--data", data, "--port", str(free_port()), *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("seneca: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(".\n")
    return done.stderr


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / "seneca.db"
    open_database(url(path)).close()
    rows(path, "INSERT INTO migrations (number, name) VALUES (999, 'from the future')")
    before = rows(path, "SELECT * FROM migrations"), rows(path, "SELECT * FROM sqlite_schema")
    with pytest.raises(CommandError, match="The database has schema 999, newer than this program knows"):
        open_database(url(path))
    assert "schema 999" in refused_by_serve(tmp_path)
    assert (rows(path, "SELECT * FROM migrations"), rows(path, "SELECT * FROM sqlite_schema")) == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / "seneca.db"
    path.write_bytes(b"something else" * 1000)
    assert str(path) in refused_by_serve(tmp_path)
    assert path.read_bytes() == b"something else" * 1000


def test_a_directory_in_its_place_is_refused(tmp_path: Path):
    (tmp_path / "seneca.db").mkdir()
    assert str(tmp_path / "seneca.db") in refused_by_serve(tmp_path)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in refused_by_serve(tmp_path / "file" / "data")
    assert str(tmp_path / "file") in refused_by_serve(tmp_path, "--database", url(tmp_path / "file" / "seneca.db"))


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path):
    assert "/proc/seneca.db" in refused_by_serve(tmp_path, "--database", "sqlite:////proc/seneca.db")
    assert "/proc/data" in refused_by_serve(Path("/proc/data"))


@pytest.mark.parametrize("text", ["", "seneca.db", "sqlite:seneca.db", "sqlite:///", "mysql://localhost/seneca"])
def test_a_url_of_another_form_is_refused(text: str):
    with pytest.raises(CommandError, match="SENECA_DATABASE_URL"):
        open_database(text)


# -- a lock that another process holds ---------------------------------------------------------


class Lock:
    """SQLite's write lock, held by another connection than the server's."""

    def __init__(self, server: Server) -> None:
        self._connection = apsw.Connection(str(server.data / "seneca.db"))
        self._connection.set_busy_timeout(5000)

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.close()


def result(session_id: str, name: str = "Integers") -> dict:
    return {"sessionId": session_id, "moduleStats": [{"moduleName": name, "quiz": {"score": 1}}]}


def test_writes_wait_for_a_lock_while_reads_go_on(server: Server, alice: Person, course):
    session_id = alice.start(course)
    with ThreadPoolExecutor(8) as pool:
        with Lock(server):
            waiting = [
                pool.submit(alice.put, "/session/updateSession", result(session_id, f"Module {n}")) for n in range(8)
            ]
            time.sleep(0.5)
            assert alice.get(f"/stats/user/courses/{course['id']}").json()["moduleAmount"]["moduleNames"] == []
            assert not any(future.done() for future in waiting)
        assert {future.result().status_code for future in waiting} == {200}
    totals = alice.get(f"/stats/user/courses/{course['id']}").json()
    assert totals["moduleAmount"]["totalModulesStudied"] == totals["scores"]["totalSessionPoints"] == 8


def test_writes_are_refused_when_a_lock_is_held_too_long(server: Server, alice: Person, course):
    session_id = alice.start(course)
    before = server.rows("SELECT (SELECT count(*) FROM results), (SELECT count(*) FROM sessions)")

    def timed(name: str) -> tuple[httpx.Response, float]:
        began = time.monotonic()
        return alice.put("/session/updateSession", result(session_id, name)), time.monotonic() - began

    with ThreadPoolExecutor(8) as pool, Lock(server):
        waiting = [pool.submit(timed, f"Module {n}") for n in range(8)]
        while not all(future.done() for future in waiting):
            assert alice.get(f"/session/{session_id}").json()["modulesStats"] == []
            assert alice.get(f"/course/{course['id']}").status_code == 200
            time.sleep(0.1)
        for future in waiting:
            answer, seconds = future.result()
            refused(answer, 503, "service-unavailable")
            assert int(answer.headers["retry-after"]) > 0
            assert seconds >= MAX_WRITE_WAIT_SECONDS
    after = server.rows("SELECT (SELECT count(*) FROM results), (SELECT count(*) FROM sessions)")
    assert after == before
    assert alice.update(session_id, {"moduleName": "Integers", "quiz": {"score": 1}})["sessionPoints"] == 1


# -- a start while somebody else writes ----------------------------------------------------------

AT_ONCE = 15.0
"""Seconds in which a command starts and answers on a busy machine; waiting for the lock would take thirty."""


def timed(*arguments: str | Path) -> tuple[int, float]:
    began = time.monotonic()
    done = seneca(*arguments)
    return done.returncode, time.monotonic() - began


def test_commands_that_read_do_not_wait_for_the_writer(tmp_path: Path):
    assert seneca("demo", "--data", tmp_path).returncode == 0
    with running(tmp_path) as server, Lock(server):
        status, seconds = timed("stats", "verify", "--data", tmp_path)
        assert (status, seconds < AT_ONCE) == (0, True)


def test_an_export_waits_for_the_writer_to_record_itself(tmp_path: Path):
    file = tmp_path / "all.jsonl"
    assert seneca("demo", "--data", tmp_path).returncode == 0
    with running(tmp_path) as server, ThreadPoolExecutor(1) as pool:
        with Lock(server):
            exported = pool.submit(seneca_process, "export", file, "--data", tmp_path)
            time.sleep(2 * MAX_WRITE_WAIT_SECONDS)
            assert not exported.done()
            assert not file.exists()
        done = exported.result()
        assert done.returncode == 0
        assert done.stderr.splitlines()[0] == "Waiting for another process to finish writing to the database."
        assert file.exists()
        assert server.rows("SELECT count(*) FROM audit WHERE act = 'data.exported'") == [(1,)]


@pytest.mark.parametrize("has_administrator", [False, True])
def test_a_server_starts_and_replaces_a_worker_while_somebody_writes(tmp_path: Path, *, has_administrator: bool):
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        if has_administrator:
            sign_up(client, "tara", role="admin")
        alice = sign_up(client, "alice")
    connection = apsw.Connection(str(tmp_path / "seneca.db"))
    connection.execute("BEGIN IMMEDIATE")
    try:
        began = time.monotonic()
        with running(tmp_path) as server:
            assert time.monotonic() - began < AT_ONCE
            assert httpx.get(f"{server.url}/auth/me", headers={"Authorization": f"Bearer {alice.token}"}).is_success
            (worker,) = workers(server)
            os.kill(worker, signal.SIGKILL)
            began = time.monotonic()
            while not answers(server):
                assert time.monotonic() - began < AT_ONCE
                time.sleep(0.05)
            assert workers(server) != [worker]
    finally:
        connection.close()


def answers(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/course/Mathematics", timeout=1).status_code == 404
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("seconds", [0.05, 1.0])
def test_patience_is_counted_in_time(tmp_path: Path, seconds: float):
    holder, waiter = (apsw.Connection(str(tmp_path / "file.db")) for _ in range(2))
    holder.execute("CREATE TABLE t (a)")
    wait_for_locks(waiter, seconds)
    holder.execute("BEGIN IMMEDIATE")
    waits = []
    while not waits or (min(waits) >= seconds * 1.1 + 0.05 and len(waits) < 10):  # a busy machine may wake it late
        began = time.monotonic()
        with pytest.raises(apsw.BusyError):
            waiter.execute("BEGIN IMMEDIATE")
        waits.append(time.monotonic() - began)
    assert seconds <= min(waits) < seconds * 1.1 + 0.05
    holder.close()
    waiter.close()


# -- whose its files are -------------------------------------------------------------------------

WATCH = """
import os, sys
from pathlib import Path
import apsw
opened = []
class Vfs(apsw.VFS):
    def __init__(self):
        super().__init__("watching", "", makedefault=True)
    def xOpen(self, name, flags):
        file = super().xOpen(name, flags)
        opened.append(Path(name if isinstance(name, str) else name.filename()))
        for path in Path(sys.argv[1]).iterdir():
            if path.stat().st_mode & 0o077:
                print("open to others:", path.name)
        return file
vfs = Vfs()
from seneca.database import open_database
os.umask(0)
database = open_database(f"sqlite:///{sys.argv[1]}/seneca.db")
with database.write_transaction() as tx:
    tx.execute("INSERT INTO properties VALUES ('a', 'b')")
    for path in Path(sys.argv[1]).iterdir():
        print(path.name, oct(path.stat().st_mode & 0o777))
database.close()
"""


def test_its_files_are_private_from_the_first_moment(tmp_path: Path):
    """In a directory that was there before, open to everybody; whatever the umask."""
    tmp_path.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", WATCH, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"seneca.db{end} 0o600" for end in ("", "-shm", "-wal")]


def test_files_that_others_could_read_are_closed_to_them(tmp_path: Path):
    open_database(url(tmp_path / "seneca.db")).close()
    (tmp_path / "seneca.db").chmod(0o644)
    open_database(url(tmp_path / "seneca.db")).close()
    assert (tmp_path / "seneca.db").stat().st_mode & 0o777 == 0o600


def test_a_command_makes_files_for_its_owner_only():
    script = "import os, sys; sys.argv = ['seneca', '--help']; from seneca import cli\ntry: cli.main()\nfinally: print(os.umask(0))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == str(0o077)
