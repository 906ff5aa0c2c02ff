"""The server's clock steps back, and ahead: no time is negative, no total wrong, no list out of order."""

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from seneca.auth.token_verifier import POLL_SECONDS
from tests.helpers.accounts import Person, sign_in, sign_up
from tests.helpers.assertions import refused
from tests.helpers.load import Load, stage, wait_for
from tests.helpers.server import Server
from tests.helpers.wire import module, pages, statistics

pytestmark = pytest.mark.slow

HOUR, DAY = 3600, 86_400
Stage = tuple[Server, Person, dict]


class Clock:
    """The time of day of the servers that are started with it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.move(0)
        self.environment = {"PYTHONPATH": str(Path(__file__).parent / "clock"), "MOVED_CLOCK": str(file)}

    def move(self, seconds: int) -> None:
        """Let it go so much ahead of the true time, or behind (less than 0)."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def moved(clock: Clock, tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path / "data", "--workers", "2", **clock.environment) as staged:
        yield staged


def in_order(sessions: list[dict]) -> bool:
    """Whether they are listed by start, then id, each once, and none ends before it starts."""
    keys = [(session["sessionStart"], session["id"]) for session in sessions]
    whole = all(
        session["sessionEnd"] is None or session["sessionEnd"] >= session["sessionStart"] for session in sessions
    )
    return whole and keys == sorted(set(keys))


def test_a_clock_that_steps_back_makes_no_time_negative(clock: Clock, moved: Stage):
    _, tara, course = moved
    alice = sign_up(tara.client, "alice")
    first = alice.start(course)
    alice.update(first, module("Integers", 1))
    for seconds in (-HOUR, -DAY, -DAY - HOUR):
        clock.move(seconds)
        second = alice.start(course)
        alice.update(second, module("Fractions", 1))
        alice.end(second)
    end = alice.end(first)
    assert end == alice.get(f"/session/{first}").json()["sessionStart"]
    own = alice.get("/stats/user/sessions").json()
    assert len(own) == 4
    assert own[-1]["id"] == first
    assert in_order(own)
    expected = statistics("Fractions", "Integers", points=4, mean=0.5)
    for person in (alice, tara):
        assert person.get(f"/stats/courses/{course['id']}").json() == expected
    assert alice.get("/stats/user").json() == expected


def test_a_clock_that_jumps_a_day_ahead_and_back(clock: Clock, moved: Stage):
    _, tara, course = moved
    alice = sign_up(tara.client, "alice")
    session_id = alice.start(course)
    clock.move(DAY)
    assert alice.get("/auth/me").status_code == 401  # her token has expired, as the clock says
    later = sign_in(tara.client, alice.username)
    later.end(session_id)
    of_a_day = statistics(minutes=24 * 60, duration="24 hours 0 minutes")
    assert later.get("/stats/user").json() == of_a_day
    early = later.start(course)
    clock.move(0)
    for person in (alice, later):  # neither has expired
        assert person.get("/stats/user").json() == of_a_day
    assert later.end(early) == alice.get(f"/session/{early}").json()["sessionStart"]
    assert alice.get("/stats/user").json() == of_a_day
    last = alice.start(course)
    alice.end(last)
    own = alice.get("/stats/user/sessions").json()
    assert [session["id"] for session in own] == [session_id, last, early]
    assert in_order(own)


def test_a_clock_that_steps_about_under_load(clock: Clock, moved: Stage):
    server, tara, course = moved
    ended = threading.Event()

    def step() -> None:
        chance = random.Random()
        while not ended.wait(0.05):
            clock.move(-chance.randrange(DAY))  # to the day of the tokens, and to the day before

    stepping = threading.Thread(target=step)
    with Load(server, tara, course) as load:
        stepping.start()
        path = f"/stats/sessions/{course['id']}"
        for _ in range(5):
            written = load.written
            while load.written < written + 60:
                before = {session["id"] for page in pages(tara, path) for session in page}
                listed = [session for page in pages(tara, f"{path}?limit=7") for session in page]
                assert in_order(listed)
                assert before <= {session["id"] for session in listed}
            with load.held():
                load.check_answers(server)
        ended.set()
        stepping.join()
    assert load.errors == []
    for table in ("learner_totals", "course_totals"):
        assert server.rows(f"SELECT min(milliseconds) >= 0, max(milliseconds) > 0 FROM {table}") == [(1, 1)]
    assert '"unhandled exception"' not in server.log.read_text()


def test_what_ended_while_the_clock_was_behind_stays_so(clock: Clock, moved: Stage):
    _, tara, _ = moved
    alice, leaving = sign_up(tara.client, "alice"), sign_up(tara.client, "leaving")
    clock.move(-DAY)
    assert tara.patch(f"/users/{alice.id}", {"password": "another-secret-42"}).status_code == 200
    assert leaving.post("/auth/logout").status_code == 204
    clock.move(0)
    time.sleep(POLL_SECONDS + 1)  # every worker has looked with the right clock
    for former in (alice, leaving):
        for _ in range(8):
            wait_for(lambda former=former: former.get("/test").status_code != 200)  # or is late with it
            refused(former.get("/test"), 401, "signed-out")
