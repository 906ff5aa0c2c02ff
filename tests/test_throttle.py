"""Who must wait before trying again (docs/security.md)."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import PASSWORD, Person, Server, refused, running, sign_up, start_server, unique
from tests.engines import engine

pytestmark = pytest.mark.slow

LIMITS = {"SENECA_MOST_FAILURES": "60", "SENECA_MOST_REGISTRATIONS": "600"}
SCHOOL, HOME, ELSEWHERE = "127.0.0.1", "127.0.0.2", "127.0.0.3"


class Places:
    """Clients of one server at several addresses."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._stack = ExitStack()
        self._clients: dict[str, httpx.Client] = {}

    def at(self, address: str) -> httpx.Client:
        if address not in self._clients:
            client = httpx.Client(
                base_url=self.server.url, timeout=30, transport=httpx.HTTPTransport(local_address=address)
            )
            self._clients[address] = self._stack.enter_context(client)
        return self._clients[address]

    def login(self, address: str, name: str, password: str = "wrong-password") -> httpx.Response:
        return self.at(address).post("/auth/login", json={"username": name, "password": password})

    def statuses(self, address: str, name: str, times: int) -> list[int]:
        return [self.login(address, name).status_code for _ in range(times)]

    def fail(self, address: str, names: int) -> None:
        """Five failures on each of so many names, all names at once."""
        self.at(address)
        with ThreadPoolExecutor(names) as pool:
            found = pool.map(lambda _: self.statuses(address, unique("nobody"), 5), range(names))
        assert list(found) == names * [5 * [401]]

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def module_places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with running(tmp_path_factory.mktemp("throttle"), **LIMITS) as server:
        places = Places(server)
        yield places
        places.close()


@pytest.fixture
def places(module_places: Places) -> Places:
    """All addresses and names free again."""
    engine().change(module_places.server.data, "DELETE FROM throttles")
    return module_places


@pytest.fixture
def pupil(places: Places) -> Person:
    """Somebody who has signed in at school."""
    return sign_up(places.at(SCHOOL), "pupil")


def later(places: Places, milliseconds: int) -> None:
    """Let so much time pass for whoever waits."""
    sql = "UPDATE throttles SET tried_at = tried_at - :more"
    engine().change(places.server.data, sql, more=milliseconds)


def is_held(answer: httpx.Response) -> int:
    """Assert that this is the refusal of who must wait; returns for how many seconds."""
    body = refused(answer, 429, "too-many-tries")
    assert body["detail"] == "Too many tries: wait before the next."
    return int(answer.headers["retry-after"])


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("exists", [True, False])
def test_five_failures_are_free_and_then_waiting_doubles(places: Places, pupil: Person, *, exists: bool):
    name = pupil.username if exists else unique("nobody")
    assert places.statuses(HOME, name, 5) == 5 * [401]
    waits = []
    for _ in range(12):
        waits.append(is_held(places.login(HOME, name)))
        assert is_held(places.login(ELSEWHERE, name.upper())) <= waits[-1], "from anywhere, however it is written"
        later(places, waits[-1] * 1000)
        assert places.login(HOME, name).status_code == 401
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


def test_who_is_held_gets_the_same_answer_whether_or_not_the_name_exists(places: Places, pupil: Person):
    stranger = unique("nobody")
    for name in (pupil.username, stranger):
        places.statuses(HOME, name, 1)
    engine().change(places.server.data, "UPDATE throttles SET tries = 15")
    held = [
        places.login(HOME, pupil.username),
        places.login(HOME, pupil.username, PASSWORD),
        places.login(HOME, stranger),
    ]
    assert {answer.content for answer in held} == {held[0].content}
    for answer in held:
        assert 890 <= is_held(answer) <= 900


def test_what_was_held_back_does_not_count(places: Places):
    name = unique("nobody")
    places.statuses(HOME, name, 5)
    assert places.statuses(HOME, name, 10) == 10 * [429]
    later(places, 1000)
    assert places.login(HOME, name).status_code == 401
    assert is_held(places.login(HOME, name)) == 2


def test_after_a_day_a_name_is_free_again(places: Places):
    name = unique("nobody")
    places.statuses(HOME, name, 5)
    later(places, 24 * 60 * 60 * 1000)
    assert places.statuses(HOME, name, 5) == 5 * [401]
    is_held(places.login(HOME, name))


def test_a_clock_that_was_set_back_holds_nobody_for_long(places: Places):
    name = unique("nobody")
    places.statuses(HOME, name, 5)
    later(places, -48 * 60 * 60 * 1000)
    assert places.login(HOME, name).status_code == 401


def test_many_at_once_gain_nothing_once_the_free_ones_are_used(places: Places):
    name = unique("nobody")
    places.statuses(HOME, name, 5)
    later(places, 1000)
    ready, statuses = threading.Barrier(12), []

    def guess() -> None:
        ready.wait()
        body = {"username": name, "password": "wrong-password"}
        statuses.append(httpx.post(f"{places.server.url}/auth/login", json=body, timeout=30).status_code)

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [401] + 11 * [429]


def test_successes_are_free(places: Places, pupil: Person):
    for address in (SCHOOL, HOME):
        for _ in range(3):
            assert places.statuses(address, pupil.username, 3) == 3 * [401]
            assert places.login(address, pupil.username, PASSWORD).status_code == 200
    for _ in range(12):
        assert places.login(SCHOOL, pupil.username, PASSWORD).status_code == 200


def test_many_of_one_account_may_sign_in_at_once(places: Places, pupil: Person):
    ready, statuses = threading.Barrier(12), []

    def sign_in() -> None:
        ready.wait()
        body = {"username": pupil.username, "password": PASSWORD}
        statuses.append(httpx.post(f"{places.server.url}/auth/login", json=body, timeout=30).status_code)

    threads = [threading.Thread(target=sign_in) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == 12 * [200]


# -- a pupil where they have signed in before --------------------------------------------------


def test_failures_from_elsewhere_do_not_hold_a_pupil(places: Places, pupil: Person):
    places.statuses(ELSEWHERE, pupil.username, 6)
    is_held(places.login(ELSEWHERE, pupil.username, PASSWORD))
    is_held(places.login(HOME, pupil.username, PASSWORD))
    assert places.login(SCHOOL, pupil.username, PASSWORD).status_code == 200
    assert places.login(SCHOOL, pupil.email, PASSWORD).status_code == 200


def test_failures_on_other_names_do_not_hold_a_pupil(places: Places, pupil: Person):
    engine().change(places.server.data, "DELETE FROM throttles")
    places.fail(SCHOOL, 12)
    is_held(places.login(SCHOOL, unique("nobody")))
    assert places.login(SCHOOL, pupil.username, PASSWORD).status_code == 200


def test_their_own_failures_there_do(places: Places, pupil: Person):
    assert places.statuses(SCHOOL, pupil.username, 6) == [*(5 * [401]), 429]
    later(places, 1000)
    assert places.login(SCHOOL, pupil.username, PASSWORD).status_code == 200
    assert places.statuses(SCHOOL, pupil.username, 5) == 5 * [401], "and count from the beginning after a success"


def test_a_new_address_is_familiar_after_the_first_success(places: Places, pupil: Person):
    assert places.login(HOME, pupil.username, PASSWORD).status_code == 200
    places.statuses(ELSEWHERE, pupil.username, 6)
    assert places.login(HOME, pupil.username, PASSWORD).status_code == 200


def test_only_hashes_of_names_and_addresses_are_kept(places: Places, pupil: Person):
    places.statuses(ELSEWHERE, pupil.username, 2)
    kept = [*places.server.rows("SELECT * FROM throttles"), *places.server.rows("SELECT * FROM familiar_addresses")]
    assert len(kept) >= 3
    for secret in (pupil.username, pupil.email, SCHOOL, ELSEWHERE):
        assert secret not in repr(kept)


# -- addresses ---------------------------------------------------------------------------------


def test_sixty_failures_of_an_address_in_ten_minutes(places: Places):
    places.fail(ELSEWHERE, 12)
    assert 500 <= is_held(places.login(ELSEWHERE, unique("nobody"))) <= 600
    assert places.login(HOME, unique("nobody")).status_code == 401, "another address goes on"
    later(places, 600_000)
    assert places.login(ELSEWHERE, unique("nobody")).status_code == 401


def test_registrations_of_an_address(tmp_path: Path):
    with running(tmp_path, SENECA_MOST_REGISTRATIONS="3") as server:
        places = Places(server)
        tara = sign_up(places.at(HOME), "tara", role="admin")
        for _ in range(2):
            sign_up(places.at(HOME), "pupil")
        name = unique("pupil")
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        assert is_held(places.at(HOME).post("/auth/register", json=body)) <= 600
        for header in ({"Authorization": "Bearer made-up"}, {"Authorization": "Basic eDp5"}):
            assert is_held(places.at(HOME).post("/auth/register", json=body, headers=header)) <= 600
        assert server.rows("SELECT 1 FROM accounts WHERE username = :name", name=name) == []
        assert tara.post("/auth/register", body).status_code == 201, "an administrator registers a whole school"
        sign_up(places.at(ELSEWHERE), "pupil")
        later(places, 600_000)
        sign_up(places.at(HOME), "pupil")
        places.close()


def test_bad_registrations_are_refused_before_they_count(tmp_path: Path):
    with running(tmp_path, SENECA_MOST_REGISTRATIONS="1") as server:
        places = Places(server)
        for _ in range(3):
            answer = places.at(HOME).post("/auth/register", json={"username": "x", "email": "x", "password": "short"})
            refused(answer, 400, "invalid-input")
        sign_up(places.at(HOME), "tara", role="admin")
        places.close()


# -- several workers, a restart ----------------------------------------------------------------


def test_workers_share_what_they_count_and_a_restart_forgets_nothing(tmp_path: Path):
    with running(tmp_path, "--workers", "2", **LIMITS) as server:
        name = unique("nobody")
        statuses = []
        for _ in range(6):  # each on a connection of its own, so that both workers are asked
            body = {"username": name, "password": "wrong-password"}
            statuses.append(httpx.post(f"{server.url}/auth/login", json=body, timeout=30).status_code)
        assert statuses == [*(5 * [401]), 429]
        engine().change(server.data, "UPDATE throttles SET tries = 20 WHERE tries = 5")
        server.stop()
        again = start_server(tmp_path, port=server.port, **LIMITS)
        try:
            assert 890 <= is_held(httpx.post(f"{again.url}/auth/login", json=body, timeout=30)) <= 900
        finally:
            again.stop()
