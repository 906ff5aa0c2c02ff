"""Locks on PostgreSQL: reads never wait for writes, and shell commands and a server's writes do not fail each other."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from seneca.cli import exchange
from seneca.database import open_database
from seneca.errors import ServiceUnavailable
from seneca.privacy import vacuum
from seneca.settings import Settings
from tests.helpers import engines
from tests.helpers.accounts import make_course, sign_up
from tests.helpers.commands import seneca
from tests.helpers.exchange import course, session, user, write
from tests.helpers.load import wait_for
from tests.helpers.server import PASSWORD, Server, running
from tests.helpers.wire import module

pytestmark = pytest.mark.postgres  # SQLite has one writer, and its readers take no locks

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
PROMPT = 1.0  # seconds; this machine has other work to do


def check_prompt(answers: list[tuple[int, float]], status: int, seconds: float = PROMPT) -> None:
    """All have this status, and all came at once."""
    assert {answer[0] for answer in answers} == {status}
    assert max(answer[1] for answer in answers) <= seconds


@contextmanager
def repeated(work: Callable[[], Any], pause: float = 0.02) -> Iterator[list[tuple[int, float]]]:
    """Make a request again and again while the block runs; yields the status and seconds of each."""
    answers: list[tuple[int, float]] = []
    stopped = threading.Event()

    def loop() -> None:
        while not stopped.is_set():
            began = time.monotonic()
            answer = work()
            answers.append((answer.status_code, time.monotonic() - began))
            stopped.wait(pause)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield answers
    finally:
        stopped.set()
        thread.join()


def wait_until_waiting(url: str, number: int) -> None:
    """Wait until that many connections wait for locks."""
    with psycopg.connect(url, autocommit=True) as watcher:
        deadline = time.monotonic() + 60
        while (row := watcher.execute(WAITING).fetchone()) is not None and row[0] < number:
            assert time.monotonic() < deadline, row
            time.sleep(0.05)


# -- reads -------------------------------------------------------------------------------------

HOLD = "SELECT 1 FROM course_totals WHERE course_id = %s FOR UPDATE"


@contextmanager
def totals_held(url: str, course_id: str) -> Iterator[None]:
    """Hold one course's totals, as a long erasure does."""
    with psycopg.connect(url) as another:
        another.execute(HOLD, (course_id,))
        yield
        another.rollback()


@contextmanager
def writers_excluded(url: str, _: str) -> Iterator[None]:
    """Keep writers out, as an import does."""
    database = open_database(url)
    with database.write_transaction():
        yield
    database.close()


@pytest.mark.parametrize("held", [totals_held, writers_excluded])
def test_reads_and_the_check_of_tokens_do_not_wait_for_writes(
    tmp_path: Path, held: Callable[[str, str], AbstractContextManager[None]]
):
    url = engines.engine().url(tmp_path)
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara = sign_up(client, "tara", role="admin")
        course, other = make_course(tara), make_course(tara)
        learners = [sign_up(client, "learner") for _ in range(Settings().database_connections + 2)]
        for learner in learners:
            learner.start(course)
        start = {"courseIdentifier": course["id"], "topic": "Number"}
        threads = []
        with held(url, course["id"]):
            for learner in learners:
                threads.append(threading.Thread(target=learner.post, args=("/session/startSession", start)))
                threads[-1].start()
            wait_until_waiting(url, Settings().database_connections)
            answers = []
            end = (
                time.monotonic() + 7
            )  # after five seconds a worker that cannot check for ended sign-ins refuses everybody
            while time.monotonic() < end:
                for person, path in ((tara, f"/stats/courses/{other['id']}"), (learners[0], "/test")):
                    began = time.monotonic()
                    headers = {"Authorization": f"Bearer {person.token}"}  # and not again if it is refused
                    answers.append((client.get(path, headers=headers).status_code, time.monotonic() - began))
                time.sleep(0.05)
        for thread in threads:
            thread.join()
    check_prompt(answers, 200)


# -- shell commands ----------------------------------------------------------------------------

DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
EXCLUSIONS = 150


@contextmanager
def starting(server: Server, client: httpx.Client) -> Iterator[list[tuple[int, float]]]:
    """Six learners start sessions in a loop while the block runs; yields status and seconds of each start."""
    tara = sign_up(client, "tara", role="admin")
    start = {"courseIdentifier": make_course(tara)["id"], "topic": "Number"}
    learners = [sign_up(client, "learner") for _ in range(6)]
    with ExitStack() as stack:
        loops = []
        for learner in learners:
            learner.client = stack.enter_context(httpx.Client(base_url=server.url, timeout=30))
            loops.append(stack.enter_context(repeated(partial(learner.post, "/session/startSession", start))))
        answers: list[tuple[int, float]] = []
        yield answers
        wait_for(lambda: sum(map(len, loops)) > 100)
        stack.close()
        answers += [answer for loop in loops for answer in loop]


def check_nobody_waited_for_another(answers: list[tuple[int, float]], url: str) -> None:
    assert len(answers) > 100
    check_prompt(answers, 201, 2 * PROMPT)
    with psycopg.connect(url) as connection:
        assert connection.execute(DEADLOCKS).fetchone() == (0,)


def test_who_excludes_writers_and_who_starts_sessions_do_not_wait_for_each_other(tmp_path: Path):
    url = engines.engine().url(tmp_path)
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        database = open_database(url)
        with starting(server, client) as answers:
            for _ in range(EXCLUSIONS):
                with database.write_transaction():
                    pass
                time.sleep(0.02)
        database.close()
        check_nobody_waited_for_another(answers, url)


def test_no_shell_command_fails_beside_starts_and_no_start_waits_for_one(tmp_path: Path):
    url = engines.engine().url(tmp_path)
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        removed = [sign_up(client, "removed").username for _ in range(3)]
        listed = tmp_path / "listed"
        listed.write_text(f'{{"id": "{sign_up(client, "replayed").id}", "erasedAt": "2026-01-01T00:00:00.000Z"}}\n')
        lines = write(tmp_path / "in.jsonl", course(), user(), session())
        commands: list[tuple[str | Path, ...]] = [("erase", "--replay", listed), ("import", lines), ("migrate",)]
        for name in removed:
            commands += [
                ("admin", "create", f"admin-{name}", f"admin-{name}@example.org"),
                ("admin", "password", name),
                ("admin", "reset-keys"),
                ("erase", name, "--yes"),
                ("prune", "--months", "1"),
                ("stats", "rebuild"),
                ("stats", "verify"),
                ("export", tmp_path / f"{name}.jsonl"),
            ]
        with starting(server, client) as answers:
            done = [seneca(*command, "--data", tmp_path, input=f"{PASSWORD}2\n") for command in commands]
        assert [command.stderr for command in done if command.returncode] == []
        check_nobody_waited_for_another(answers, url)
        assert server.rows("SELECT count(*) FROM audit WHERE act = 'data.exported'") == [(len(removed),)]


def test_an_export_that_cannot_be_recorded_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(exchange, "MAX_WAIT_SECONDS", 0.0)
    url = engines.engine().url(tmp_path)
    assert seneca("migrate", "--data", tmp_path).returncode == 0
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE audit")
        with pytest.raises(ServiceUnavailable, match="busy with another write"):
            exchange.export_file(tmp_path / "out.jsonl", data=tmp_path, url=url)
    assert not (tmp_path / "out.jsonl").exists()


# -- courses -------------------------------------------------------------------------------------

DELETE_COURSE = "DELETE FROM courses WHERE id = %s"


def test_who_deletes_a_course_and_who_removes_its_sessions_do_not_wait_for_each_other(tmp_path: Path):
    url = engines.engine().url(tmp_path)
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara, alice = sign_up(client, "tara", role="admin"), sign_up(client, "alice")
        made = make_course(tara)
        alice.update(alice.start(made), module("Integers", 1))
        with psycopg.connect(url) as another, ThreadPoolExecutor(1) as thread:
            another.execute("SELECT 1 FROM courses WHERE id = %s FOR UPDATE", (made["id"],))  # as DELETE does
            erased = thread.submit(tara.delete, f"/users/{alice.id}")
            wait_until_waiting(url, 1)
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                another.execute(DELETE_COURSE, (made["id"],))
            another.rollback()
            assert erased.result().status_code == 204
        assert tara.delete(f"/course/{made['id']}").status_code == 204
    with psycopg.connect(url) as connection:
        assert connection.execute(DEADLOCKS).fetchone() == (0,)


# -- erasures ------------------------------------------------------------------------------------


def test_who_wants_the_files_vacuumed_and_who_has_done_so_do_not_wait_for_each_other(tmp_path: Path):
    url = engines.engine().url(tmp_path)
    database = open_database(url)
    with database.write_transaction() as tx:
        vacuum.request_vacuum(tx, had_sessions=True)
        fulfilled = vacuum.state(tx)
    with psycopg.connect(url) as another, ThreadPoolExecutor(1) as thread:
        mark = "UPDATE properties SET value = 'another' WHERE name = %s"
        another.execute(mark, (vacuum.LOG,))  # as an erasure does
        done = thread.submit(lambda: asyncio.run(database.write(vacuum.end_vacuum, fulfilled, 1)))
        wait_until_waiting(url, 1)
        another.execute(mark, (vacuum.VACUUM,))
        another.commit()
        done.result()
    with database.read_transaction() as tx:
        assert vacuum.state(tx)[vacuum.VACUUM] == "another"
    database.close()
    with psycopg.connect(url) as connection:
        assert connection.execute(DEADLOCKS).fetchone() == (0,)
