"""What is PostgreSQL's own: connections that break, races that are run again, round trips, and starting together."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import mode
from typing import Any

import httpx
import psycopg
import pytest
from msgspec import UNSET

from seneca import accounts, courses
from seneca.accounts import Learner
from seneca.common.ids import bucket_of, new_id
from seneca.courses import NewCourse, Topic
from seneca.database import Transaction, UniqueViolation, open_database
from seneca.database.postgres.engine import Postgres
from seneca.errors import CommandError, ServiceUnavailable
from seneca.sessions import commands
from seneca.sessions import queries as session_queries
from seneca.sessions.requests import StartSession
from seneca.sessions.results import ModuleUpdate, Part, parse_results
from seneca.sessions.rows import RecordedResult
from seneca.settings import Settings
from seneca.stats import queries
from tests.helpers import engines
from tests.helpers.accounts import make_course, sign_up
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.load import wait_for
from tests.helpers.server import running

pytestmark = pytest.mark.postgres  # about its connections


@pytest.fixture(scope="module")
def cluster() -> Iterator[engines.Postgres]:
    """A server of our own, since it is stopped like in a crash: with many databases its recovery would take long."""
    made = engines.Postgres(engines.binaries())
    yield made
    made.remove()


@pytest.fixture
def url(cluster: engines.Postgres, tmp_path: Path) -> str:
    return cluster.url(tmp_path)


@pytest.fixture
def database(url: str) -> Iterator[Postgres]:
    opened = open_database(url, 4)
    assert isinstance(opened, Postgres)
    yield opened
    opened.close()


def write(database: Postgres, *work: Callable[[Transaction], Any]) -> list[Any]:
    """Run writes at once; returns their outcomes."""

    async def together() -> list[Any]:
        return await asyncio.gather(*(database.write(f) for f in work), return_exceptions=True)

    return asyncio.run(together())


def read(database: Postgres, work: Callable[[Transaction], Any]) -> Any:
    return asyncio.run(database.read(work))


PUT = "INSERT INTO properties (name, value) VALUES (:name, :value)"
SET = "UPDATE properties SET value = :value WHERE name = :name"
GET = "SELECT value FROM properties WHERE name = :name"


# -- opening it --------------------------------------------------------------------------------


def test_processes_that_start_together_bring_the_schema_up_to_date_once(url: str):
    code = f"from seneca.database import open_database; print(open_database({url!r}).applied)"
    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(lambda _: subprocess.check_output([sys.executable, "-c", code]), range(6)))
    applied = sorted(int(text) for text in said)
    assert applied[:-1] == [0] * 5
    assert applied[-1] > 0


@pytest.mark.parametrize("wrong", ["postgresql://seneca:hunter2@127.0.0.1:1/x", "postgresql://nobody:hunter2@{}/x"])
def test_a_database_that_cannot_be_reached_is_one_line_without_the_password(
    cluster: engines.Postgres, tmp_path: Path, wrong: str
):
    url = wrong.format(f"127.0.0.1:{cluster.port}")
    done = seneca("migrate", "--data", tmp_path, "--database", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("seneca: The database x on 127.0.0.1 cannot be used: ")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_a_url_that_is_none_is_refused_without_showing_it(tmp_path: Path):
    done = seneca("migrate", "--data", tmp_path, "--database", "postgresql://seneca:hunter%2@127.0.0.1/x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("seneca: SENECA_DATABASE_URL is not a valid PostgreSQL URL. Its form: ")


def test_another_encoding_is_refused(url: str):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS latin")
        connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(CommandError, match="UTF8"):
        open_database(url.rpartition("/")[0] + "/latin")


# -- transactions ------------------------------------------------------------------------------


def test_what_is_put_is_there_after_the_commit_and_nothing_of_what_failed(database: Postgres):
    write(database, lambda tx: tx.execute_later(PUT, name="a", value="1"))
    assert read(database, lambda tx: tx.fetch_one(GET, name="a")) == ("1",)

    def fails(tx: Transaction) -> None:
        tx.execute_later(SET, name="a", value="2")
        raise ZeroDivisionError

    assert [type(outcome) for outcome in write(database, fails)] == [ZeroDivisionError]
    assert read(database, lambda tx: tx.fetch_one(GET, name="a")) == ("1",)


def test_an_error_that_a_domain_function_hides_is_no_commit(database: Postgres):
    def hides(tx: Transaction) -> str:
        tx.execute(PUT, name="b", value="1")
        try:
            tx.execute(PUT, name="b", value="2")
        except UniqueViolation:
            return "all is well"
        raise AssertionError

    assert [type(outcome) for outcome in write(database, hides)] == [RuntimeError]
    assert read(database, lambda tx: tx.fetch_one(GET, name="b")) is None


def test_a_rollback_hidden_from_a_command_raises(database: Postgres):
    def hides(tx: Transaction) -> None:
        tx.execute(PUT, name="h", value="1")
        with suppress(UniqueViolation):
            tx.execute(PUT, name="h", value="2")

    with pytest.raises(RuntimeError, match="ROLLBACK"), database.write_transaction() as tx:
        hides(tx)
    assert read(database, lambda tx: tx.fetch_one(GET, name="h")) is None


def test_a_constraint_that_a_put_breaks_has_all_of_it_run_again(database: Postgres):
    attempts: list[int] = []
    both = threading.Barrier(2)

    def make(tx: Transaction) -> str:
        attempts.append(1)
        if tx.fetch_one(GET, name="c"):
            return "was there"
        if len(attempts) <= 2:
            both.wait()
        tx.execute_later(PUT, name="c", value="1")
        return "made"

    assert sorted(write(database, make, make)) == ["made", "was there"]
    assert len(attempts) == 3


def test_transactions_that_wait_for_each_other_are_run_again(database: Postgres):
    write(
        database,
        lambda tx: tx.execute_later(PUT, name="d", value="0"),
        lambda tx: tx.execute_later(PUT, name="e", value="0"),
    )
    both = threading.Barrier(2)
    attempts: list[int] = []

    def cross(first: str, second: str) -> Callable[[Transaction], None]:
        def work(tx: Transaction) -> None:
            attempts.append(1)
            tx.execute(SET, name=first, value=first)
            if len(attempts) <= 2:
                both.wait()
            tx.execute(SET, name=second, value=first)

        return work

    assert write(database, cross("d", "e"), cross("e", "d")) == [None, None]
    assert len(attempts) > 2  # at least 3: the victim may lock its first row again before the other has locked it
    values = [read(database, lambda tx, name=name: tx.fetch_one(GET, name=name)) for name in ("d", "e")]
    assert values in ([("d",), ("d",)], [("e",), ("e",)])  # one after the other, whole


def test_a_row_that_is_locked_waits_for_its_turn(database: Postgres):
    write(database, lambda tx: tx.execute_later(PUT, name="f", value="0"))

    def count(tx: Transaction) -> None:
        row = tx.select_for_update(GET, name="f").fetchone()
        assert row is not None
        tx.execute_later(SET, name="f", value=str(int(row[0]) + 1))

    assert write(database, *[count] * 40) == [None] * 40
    assert read(database, lambda tx: tx.fetch_one(GET, name="f")) == ("40",)


def test_a_read_of_several_statements_sees_one_moment(database: Postgres):
    write(database, lambda tx: tx.execute_later(PUT, name="g", value="0"))
    between = threading.Event()
    changed = threading.Event()

    def twice(tx: Transaction) -> tuple[Any, Any]:
        first = tx.fetch_one(GET, name="g")
        between.set()
        changed.wait(10)
        return first, tx.fetch_one(GET, name="g")

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: asyncio.run(database.read_snapshot(twice)))
        assert between.wait(10)
        write(database, lambda tx: tx.execute_later(SET, name="g", value="1"))
        changed.set()
        assert reading.result() == (("0",), ("0",))


# -- connections that break --------------------------------------------------------------------

CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'seneca' AND datname = %s"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'seneca' AND datname = %s"


def test_a_broken_connection_is_replaced_unnoticed(database: Postgres, url: str):
    write(database, *[lambda tx: tx.execute_later(SET, name="none", value="1")] * 8)
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute(TERMINATE, (url.rpartition("/")[2],)).fetchall()
        wait_for(lambda: connection.execute(CONNECTED, (url.rpartition("/")[2],)).fetchone() == (0,))
    assert write(database, *[lambda tx: tx.execute_later(SET, name="none", value="1")] * 8) == [None] * 8
    assert read(database, lambda tx: tx.fetch_one("SELECT 1")) == (1,)


def test_a_server_that_is_down_is_answered_503_and_its_return_is_noticed(cluster: engines.Postgres, tmp_path: Path):
    environment = cluster.environment(tmp_path)
    with running(tmp_path, **environment) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara = sign_up(client, "tara", role="admin")
        course = make_course(tara)
        alice = sign_up(client, "alice")
        session_id = alice.start(course)
        with cluster.away():
            answer = alice.put("/session/endSession", {"sessionId": session_id})
            assert int(refused_503(answer).headers["retry-after"]) > 0
            refused_503(client.get(f"/course/{course['id']}"))
            assert client.get("/health").status_code == 200
        back = time.monotonic()
        while (answer := alice.put("/session/endSession", {"sessionId": session_id})).status_code == 503:
            assert time.monotonic() - back < 5
            time.sleep(0.05)
        assert answer.status_code == 200
        assert '"unhandled exception"' not in server.log.read_text()


def refused_503(answer: httpx.Response) -> httpx.Response:
    refused(answer, 503, "service-unavailable")
    return answer


def test_a_database_that_went_away_is_unavailable_to_the_shell(cluster: engines.Postgres, url: str):
    opened = open_database(url)
    with cluster.away(), pytest.raises(ServiceUnavailable), opened.read_transaction() as tx:
        tx.fetch_one("SELECT 1")
    opened.close()


# -- round trips -------------------------------------------------------------------------------


class Proxy:
    """Between a client and PostgreSQL: counts how often the client waits for an answer."""

    def __init__(self, port: int) -> None:
        self.turns = 0
        self._turn = "server"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._server = port
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server))
            for here, there, who in ((client, server, "client"), (server, client, "server")):
                threading.Thread(target=self._pass_on, args=(here, there, who), daemon=True).start()

    def _pass_on(self, here: socket.socket, there: socket.socket, who: str) -> None:
        with suppress(OSError):  # the other side has gone
            while data := here.recv(65536):
                if who == "client" and self._turn == "server":
                    self.turns += 1
                self._turn = who
                there.sendall(data)
        there.close()

    def close(self) -> None:
        self._listener.close()


def recorded(modules: Sequence[ModuleUpdate]) -> list[RecordedResult]:
    return [*map(RecordedResult, parse_results(modules))]


def test_start_update_and_end_cost_two_round_trips_each_a_session_three_and_a_statistic_one(
    cluster: engines.Postgres, url: str
):
    proxy = Proxy(cluster.port)
    database = open_database(url.replace(f":{cluster.port}/", f":{proxy.port}/"), 1)
    learner_id = new_id()
    learner = Learner(learner_id, bucket_of(learner_id, database.buckets))

    async def costs() -> dict[str, int]:
        turns: defaultdict[str, list[int]] = defaultdict(list)

        async def count(what: str, awaitable: Any) -> Any:
            before = proxy.turns
            result = await awaitable
            turns[what].append(proxy.turns - before)
            return result

        await database.write(
            accounts.create,
            id=learner.id,
            username="a",
            email="a@example.org",
            role="user",
            password_hash=None,
            created_at=0,
        )
        course = await database.write(courses.insert, NewCourse("Mathematics", "GCSE", [Topic("Number", [])]), 0)
        for n in range(
            17
        ):  # every statement is prepared by the sixth; once in a while the proxy counts one more or less
            start = StartSession(course.id, "Number", UNSET)
            session_id, _ = await count("start", database.write(commands.start, learner, start, n))
            fresh = [ModuleUpdate(f"{n} {m}", quiz=Part(score=n)) for m in range(3)]
            await count("update, new", database.write(commands.update, learner, session_id, recorded(fresh), now=n))
            again = [ModuleUpdate(f"{n} {m}", quiz=Part(score=n + 1)) for m in range(3)]
            await count("update", database.write(commands.update, learner, session_id, recorded(again), now=n))
            await count("end", database.write(commands.end, learner, session_id, None, now=n))
            await database.read_snapshot(queries.of_learner_in_course, learner.id, course.id)
            await count("session", database.read_snapshot(session_queries.get, learner.id, session_id))
            await count("statistic", database.read(queries.of_learner_in_course, learner.id, course.id))
        return {what: mode(numbers[6:]) for what, numbers in turns.items()}

    try:
        assert asyncio.run(costs()) == {
            "start": 2,
            "update, new": 2,
            "update": 2,
            "end": 2,
            "session": 3,
            "statistic": 1,
        }
    finally:
        database.close()
        proxy.close()


def test_a_server_that_could_lose_writes_is_warned_about(cluster: engines.Postgres, tmp_path: Path):
    with running(tmp_path, **cluster.environment(tmp_path)) as server:
        assert any("fsync = off" in line and "warning" in line for line in server.log_lines())
    assert "fsync" not in seneca("migrate", "--data", tmp_path).stderr


# -- sign-ins ----------------------------------------------------------------------------------

CONNECTIONS = Settings().database_connections
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def test_sign_ins_that_wait_for_each_other_leave_connections_to_everybody_else(tmp_path: Path):
    def fail(name: str) -> int:
        return httpx.post(
            f"{server.url}/auth/login", json={"username": name, "password": "wrong"}, timeout=30
        ).status_code

    cluster = engines.engine()
    assert isinstance(cluster, engines.Postgres)
    with (
        running(tmp_path) as server,
        httpx.Client(base_url=server.url) as client,
        psycopg.connect(cluster.url(tmp_path)) as another,
        psycopg.connect(cluster.url(tmp_path), autocommit=True) as watcher,
        ThreadPoolExecutor(8) as pool,
    ):
        tara = sign_up(client, "tara", role="admin")
        assert fail("nobody") == 401
        another.execute("SELECT 1 FROM throttles FOR UPDATE")
        failing = [pool.submit(fail, f"nobody-{n}") for n in range(8)]
        wait_for(lambda: watcher.execute(WAITING).fetchone() >= (CONNECTIONS // 2,))
        time.sleep(0.5)  # in which no other joins them
        assert watcher.execute(WAITING).fetchone() == (CONNECTIONS // 2,)
        assert tara.get("/auth/me", timeout=3).status_code == 200  # before they give up, after 5 s
        another.rollback()
        assert [answer.result() for answer in failing] == 8 * [401]
