"""Locks on PostgreSQL: reads never wait for writes, and shell commands and a server's writes do not fail each other."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from seneca.database import open_database
from seneca.settings import Settings
from tests import engines
from tests.conftest import make_course, running, sign_up

pytestmark = pytest.mark.postgres  # SQLite has one writer, and its readers take no locks

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
PROMPT = 1.0  # seconds; this machine has other work to do


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
        deadline = time.monotonic() + 10
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
    with database.writing():
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
        learners = [sign_up(client, "learner") for _ in range(Settings().connections + 2)]
        for learner in learners:
            learner.start(course)
        start = {"courseIdentifier": course["id"], "topic": "Number"}
        threads = []
        with held(url, course["id"]):
            for learner in learners:
                threads.append(threading.Thread(target=learner.post, args=("/session/startSession", start)))
                threads[-1].start()
            wait_until_waiting(url, Settings().connections)
            answers = []
            end = (
                time.monotonic() + 7
            )  # after five seconds a worker that cannot check for ended sign-ins refuses everybody
            while time.monotonic() < end:
                for person, path in ((tara, f"/stats/courses/{other['id']}"), (learners[0], "/test")):
                    began = time.monotonic()
                    answers.append((path, person.get(path).status_code, time.monotonic() - began))
                time.sleep(0.05)
        for thread in threads:
            thread.join()
    assert [answer for answer in answers if answer[1] != 200 or answer[2] > PROMPT] == []
