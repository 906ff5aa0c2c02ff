"""Who must wait before trying again (docs/security.md).

On most of these servers time passes only when a test says so (``later``): how slow the machine is makes no difference.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from seneca.auth import login_throttle
from seneca.auth.password_hasher_pool import MAX_OF_ADDRESS
from tests.helpers.accounts import Person, register
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.engines import engine
from tests.helpers.load import wait_for
from tests.helpers.login_burst import WRONG, burst, flood, statuses
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server, running, start_server

pytestmark = pytest.mark.slow

LIMITS = {"SENECA_MAX_LOGIN_FAILURES": "60", "SENECA_MAX_REGISTRATIONS": "600"}
MAX_SLOWED = login_throttle.MAX_SLOW_QUEUE_MS // login_throttle.SLOW_INTERVAL_MS + 1
"""Attempts of an address over its limit that may wait at the same time."""
SCHOOL, HOME, ELSEWHERE = "127.0.0.1", "127.0.0.2", "127.0.0.3"


def stopped_clock() -> dict[str, str]:
    """The environment of a server for which it is always this moment."""
    return {"PYTHONPATH": str(Path(__file__).parent / "clock"), "STOPPED_CLOCK": str(time.time_ns())}


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
        """Those of this many attempts, one after the other: none is slowed by those before it, which have been answered."""
        found = []
        for _ in range(times):
            engine().change(self.server.data, "DELETE FROM throttles WHERE tries = 0")
            found.append(self.login(address, name).status_code)
        return found

    def fail(self, address: str, names: int) -> None:
        """Five failures on each of this many names, all names at once."""
        self.at(address)
        with ThreadPoolExecutor(names) as pool:
            found = pool.map(lambda _: self.statuses(address, unique("nobody"), 5), range(names))
        assert list(found) == names * [5 * [401]]

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def module_places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with running(tmp_path_factory.mktemp("throttle"), **stopped_clock(), **LIMITS) as server:
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
    return register(places.at(SCHOOL), "pupil")


def later(places: Places, milliseconds: int) -> None:
    """Let this much time pass for everyone who waits."""
    sql = "UPDATE throttles SET tried_at = tried_at - :more"
    engine().change(places.server.data, sql, more=milliseconds)


def is_held(answer: httpx.Response) -> int:
    """Assert that this is the error for someone who must wait; returns for how many seconds."""
    body = refused(answer, 429, "too-many-requests")
    assert body["detail"] == "Too many attempts: wait before the next one."
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
    for _ in range(10):
        assert places.login(HOME, name).status_code == 429
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
    assert statuses(places.server, 12 * [(name, WRONG)]) == {401: 1, 429: 11}


def test_successes_are_free(places: Places, pupil: Person):
    for address in (SCHOOL, HOME):
        for _ in range(3):
            assert places.statuses(address, pupil.username, 3) == 3 * [401]
            assert places.login(address, pupil.username, PASSWORD).status_code == 200
    for _ in range(12):
        assert places.login(SCHOOL, pupil.username, PASSWORD).status_code == 200


def test_four_of_one_account_may_sign_in_at_once_and_others_wait_without_being_counted(places: Places, pupil: Person):
    assert burst(places.server, 4 * [(pupil.username, PASSWORD)]) == 4 * [200]
    many = statuses(places.server, 50 * [(pupil.username, PASSWORD)])
    assert many.keys() == {200, 429}
    assert places.statuses(SCHOOL, pupil.username, 5) == 5 * [401]


def test_an_account_has_one_counter_for_both_its_names(places: Places, pupil: Person):
    assert places.statuses(HOME, pupil.username, 3) == 3 * [401]
    assert places.statuses(HOME, pupil.email, 3) == [401, 401, 429]


# -- many at once ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["1", "2"])
def crowded(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with one worker, and one with two."""
    workers = str(request.param)
    data = tmp_path_factory.mktemp("crowded")
    with running(data, "--workers", workers, **stopped_clock(), **LIMITS) as server:
        yield server


@pytest.fixture
def free(crowded: Server) -> Server:
    """Nobody has to wait any more."""
    engine().change(crowded.data, "DELETE FROM throttles")
    return crowded


@pytest.fixture
def learner(free: Server) -> Iterator[Person]:
    """Somebody who registered at school."""
    with httpx.Client(base_url=free.url, timeout=30) as client:
        yield register(client, "learner")


def verified(server: Server, guesses: Sequence[tuple[str, str]], address: str = SCHOOL) -> int:
    """How many of these guesses, sent at once, were verified."""
    found = statuses(server, guesses, address)
    assert found.keys() <= {401, 429}
    return found[401]


FEW = (4, 5)  # those that cost no waiting; four where all came to one worker before the first was verified


def test_of_many_at_once_at_an_unknown_name_five_are_verified(free: Server):
    assert verified(free, 150 * [(unique("nobody"), WRONG)]) in FEW


def test_of_many_at_once_at_an_account_five_are_verified(free: Server, learner: Person):
    guesses = 75 * [(learner.username, WRONG), (learner.email, WRONG)]
    assert verified(free, guesses, ELSEWHERE) in FEW
    assert verified(free, guesses) in FEW, "and where it is known, on a counter of its own"


def test_bursts_together_gain_no_more(free: Server, learner: Person):
    found = burst(free, 3 * [(learner.username, WRONG)], ELSEWHERE)
    found += burst(free, 150 * [(learner.username, WRONG)], ELSEWHERE)
    found += burst(free, 75 * [(learner.username, WRONG), (learner.username, PASSWORD)], ELSEWHERE)
    assert len(found) - found.count(429) == 5


def test_after_a_success_five_of_many_are_verified_again(free: Server, learner: Person):
    for _ in range(2):
        assert verified(free, 100 * [(learner.username, WRONG)]) in FEW
        engine().change(free.data, "UPDATE throttles SET tried_at = tried_at - 2000")
        assert burst(free, [(learner.username, PASSWORD)]) == [200]


def test_of_many_names_at_once_sixty_are_verified_and_the_others_slowed(free: Server):
    found = statuses(free, [(unique("nobody"), WRONG) for _ in range(200)], ELSEWHERE)
    assert found.keys() == {401, 429}
    assert found[401] <= 60 + MAX_SLOWED
    (counted,) = {tries for (tries,) in free.rows("SELECT tries FROM throttles WHERE tries > 1")}
    assert counted == found[401]


# -- the first day of school -------------------------------------------------------------------


@pytest.fixture
def school(places: Places) -> list[Person]:
    """Learners whom an administrator has registered, and who have never signed in."""
    tara = administrator(places)
    learners = []
    for _ in range(3):
        name = unique("new")
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        assert tara.post("/auth/register", body).status_code == 201
        learners.append(Person(places.at(SCHOOL), username=name, email=body["email"]))
    return learners


def administrator(places: Places) -> Person:
    """An administrator, made by another or in the shell."""
    name = unique("tara")
    data = places.server.data
    made = seneca("admin", "create", name, f"{name}@example.org", "--data", data, input=PASSWORD + "\n")
    assert made.returncode == 0, made.stderr
    answer = places.login(HOME, name, PASSWORD)
    return Person(places.at(HOME), answer.json()["token"], username=name)


def test_failures_on_invented_names_do_not_keep_out_who_was_never_there(places: Places, school: list[Person]):
    places.fail(SCHOOL, 12)
    for learner in school:
        assert places.login(SCHOOL, learner.username, PASSWORD).status_code == 200


def test_typing_errors_of_a_whole_school_keep_out_nobody(places: Places, school: list[Person]):
    engine().change(places.server.data, "UPDATE throttles SET tries = 77")
    places.login(SCHOOL, unique("nobody"))
    engine().change(places.server.data, "UPDATE throttles SET tries = 77 WHERE tries = 1 AND key NOT LIKE 'account%'")
    for learner in school:
        assert places.statuses(SCHOOL, learner.username, 4) == 4 * [401]
        assert places.login(SCHOOL, learner.username, PASSWORD).status_code == 200
    assert places.login(SCHOOL, administrator(places).username, PASSWORD).status_code == 200


def test_who_was_let_in_does_not_count_for_the_address(places: Places, school: list[Person]):
    for learner in school:
        assert places.login(ELSEWHERE, learner.username, PASSWORD).status_code == 200
    assert places.server.rows("SELECT tries FROM throttles WHERE tries > 0") == []


def test_an_address_over_its_limit_says_the_same_of_accounts_and_of_unknown_names(places: Places, school: list[Person]):
    places.fail(SCHOOL, 12)
    for name in (school[0].username, unique("nobody"), school[1].username, unique("nobody")):
        assert places.statuses(SCHOOL, name, 7) == [*(5 * [401]), 429, 429]
        later_of(places, name, school)
        assert 400 <= is_held(places.login(SCHOOL, name)) <= 600, "its own failures are too many for such an address"


def later_of(places: Places, name: str, school: list[Person]) -> None:
    """Let the wait of a name (after five failures) be over, but not the address's window."""
    del name, school
    sql = "UPDATE throttles SET tried_at = tried_at - 1000 WHERE tries = 5"
    engine().change(places.server.data, sql)


def test_attempts_of_an_address_over_its_limit_are_slowed_and_then_refused(places: Places):
    places.fail(SCHOOL, 12)
    began = time.monotonic()
    found = statuses(places.server, [(unique("nobody"), WRONG) for _ in range(60)])
    seconds = time.monotonic() - began
    most = login_throttle.MAX_SLOW_QUEUE_MS / 1000
    assert most - 1 <= seconds <= most + 4
    assert found[401] <= MAX_SLOWED
    assert found.keys() == {401, 429}


def test_the_address_of_ones_own_registration_is_familiar(places: Places):
    name = unique("self")
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    assert places.at(SCHOOL).post("/auth/register", json=body).status_code == 201
    places.statuses(ELSEWHERE, name, 6)
    assert places.login(SCHOOL, name, PASSWORD).status_code == 200


def test_an_administrators_address_is_not_familiar_to_whom_they_register(places: Places, school: list[Person]):
    places.statuses(ELSEWHERE, school[0].username, 6)
    is_held(places.login(HOME, school[0].username, PASSWORD))


# -- a new password ----------------------------------------------------------------------------


def hold(places: Places, person: Person) -> None:
    """Let somebody have to wait, at a familiar address and elsewhere."""
    for address in (SCHOOL, ELSEWHERE):
        places.statuses(address, person.username, 6)
        is_held(places.login(address, person.username, PASSWORD))


def test_a_password_that_an_administrator_sets_lets_its_owner_in(places: Places, pupil: Person):
    tara = administrator(places)
    user_id = pupil.get("/auth/me").json()["id"]
    hold(places, pupil)
    assert tara.patch(f"/users/{user_id}", {"password": "another-fine-password"}).status_code == 200
    for address in (SCHOOL, ELSEWHERE):
        assert places.login(address, pupil.email, "another-fine-password").status_code == 200


def test_a_password_that_is_set_in_the_shell_lets_its_owner_in(places: Places, pupil: Person):
    hold(places, pupil)
    data = places.server.data
    assert seneca("admin", "password", pupil.username, "--data", data, input="another-fine-one\n").returncode == 0
    for address in (SCHOOL, ELSEWHERE):
        assert places.login(address, pupil.username, "another-fine-one").status_code == 200


def test_a_new_password_of_ones_own_clears_the_waiting_times(places: Places, pupil: Person):
    places.statuses(ELSEWHERE, pupil.username, 6)
    change = {"currentPassword": PASSWORD, "newPassword": "another-fine-password"}
    assert pupil.put("/auth/password", change).status_code == 204
    assert places.login(ELSEWHERE, pupil.username, "another-fine-password").status_code == 200
    assert places.server.rows("SELECT tries FROM throttles WHERE tries > 0 AND key LIKE 'account%'") == []


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
    began = time.monotonic()
    found = statuses(places.server, [(unique("nobody"), WRONG) for _ in range(40)])
    assert found[429] > 0, "the address is slowed"
    assert time.monotonic() - began > 5
    assert places.login(SCHOOL, pupil.username, PASSWORD).status_code == 200


def test_a_flood_from_their_own_address_does_not_hold_a_pupil(tmp_path: Path):
    with running(tmp_path, **LIMITS) as server:
        places = Places(server)
        pupil = register(places.at(SCHOOL), "pupil")
        with flood(server, 2 * MAX_OF_ADDRESS):
            wait_for(
                lambda: (
                    server.rows("SELECT max(tries) FROM throttles")[0][0] >= int(LIMITS["SENECA_MAX_LOGIN_FAILURES"])
                )
            )
            assert [places.login(SCHOOL, pupil.username, PASSWORD).status_code for _ in range(4)] == 4 * [200]
        places.close()


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
    held = unique("nobody")
    places.statuses(ELSEWHERE, held, 5)
    places.fail(ELSEWHERE, 11)
    engine().change(places.server.data, "UPDATE throttles SET tried_at = tried_at - 1000")
    assert 500 <= is_held(places.login(ELSEWHERE, held)) <= 600
    assert places.login(HOME, held).status_code == 401, "another address goes on"
    later(places, 600_000)
    assert places.login(ELSEWHERE, held).status_code == 401


def test_registrations_of_an_address(tmp_path: Path):
    with running(tmp_path, SENECA_MAX_REGISTRATIONS="3") as server:
        places = Places(server)
        tara = register(places.at(HOME), "tara", role="admin")
        for _ in range(2):
            register(places.at(HOME), "pupil")
        name = unique("pupil")
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        assert is_held(places.at(HOME).post("/auth/register", json=body)) <= 600
        for header in ({"Authorization": "Bearer made-up"}, {"Authorization": "Basic eDp5"}):
            assert is_held(places.at(HOME).post("/auth/register", json=body, headers=header)) <= 600
        assert server.rows("SELECT 1 FROM accounts WHERE username = :name", name=name) == []
        assert tara.post("/auth/register", body).status_code == 201, "an administrator registers a whole school"
        register(places.at(ELSEWHERE), "pupil")
        later(places, 600_000)
        register(places.at(HOME), "pupil")
        places.close()


def test_bad_registrations_are_refused_before_they_count(tmp_path: Path):
    with running(tmp_path, SENECA_MAX_REGISTRATIONS="1") as server:
        places = Places(server)
        for _ in range(3):
            answer = places.at(HOME).post("/auth/register", json={"username": "x", "email": "x", "password": "short"})
            refused(answer, 400, "invalid-input")
        register(places.at(HOME), "tara", role="admin")
        places.close()


# -- several workers, a restart ----------------------------------------------------------------


def test_workers_share_what_they_count_and_a_restart_forgets_nothing(tmp_path: Path):
    environment = stopped_clock() | LIMITS
    with running(tmp_path, "--workers", "2", **environment) as server:
        name = unique("nobody")
        statuses = []
        for _ in range(6):  # each on a connection of its own, so that both workers are asked
            body = {"username": name, "password": "wrong-password"}
            statuses.append(httpx.post(f"{server.url}/auth/login", json=body, timeout=30).status_code)
        assert statuses == [*(5 * [401]), 429]
        engine().change(server.data, "UPDATE throttles SET tries = 20 WHERE tries = 5")
        server.stop()
        again = start_server(tmp_path, port=server.port, **environment)
        try:
            assert 800 <= is_held(httpx.post(f"{again.url}/auth/login", json=body, timeout=30)) <= 900
        finally:
            again.stop()
