"""Signing keys: one for all servers of a database, and how they rotate."""

import itertools
import secrets
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Self

import httpx
import pytest

from seneca.auth.signing_keys import SigningKey, SigningKeys, register_signing_keys, reset_signing_keys
from seneca.database import open_database
from seneca.errors import CommandError
from tests.helpers.accounts import Person, sign_up
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.engines import engine, free_port
from tests.helpers.server import PASSWORD, running, start_server

OLD, NEW = secrets.token_hex(32), secrets.token_hex(32)


def error_of(data: Path, **environment: str) -> str:
    """Assert that a server does not start; returns what it says."""
    done = seneca("serve", "--data", data, "--port", str(free_port()), env=dict(PATH_ONLY, **environment))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("seneca: The tokens of this database are signed with another key.")
    assert "SENECA_SECRET_KEY" in done.stderr
    return done.stderr


PATH_ONLY = {"PATH": "/usr/bin:/bin"}


def starts(data: Path, **environment: str) -> None:
    with running(data, **environment):
        pass


def test_keys_rotate_and_one_that_nobody_knows_is_refused(tmp_path: Path):
    starts(tmp_path, SENECA_SECRET_KEY=OLD)
    said = error_of(tmp_path, SENECA_SECRET_KEY=NEW)
    assert OLD not in said
    assert NEW not in said
    starts(tmp_path, SENECA_SECRET_KEY=f"{NEW},{OLD}")
    starts(tmp_path, SENECA_SECRET_KEY=NEW)
    error_of(tmp_path, SENECA_SECRET_KEY=OLD)


def test_a_token_of_the_old_key_holds_while_the_keys_rotate(tmp_path: Path):
    with running(tmp_path, SENECA_SECRET_KEY=OLD) as server, httpx.Client(base_url=server.url) as client:
        tara = sign_up(client, "tara", role="admin")
    with running(tmp_path, SENECA_SECRET_KEY=f"{NEW},{OLD}") as server, httpx.Client(base_url=server.url) as client:
        assert Person(client, tara.token).get("/auth/me").status_code == 200
    with running(tmp_path, SENECA_SECRET_KEY=NEW) as server, httpx.Client(base_url=server.url) as client:
        assert Person(client, tara.token).get("/auth/me").status_code == 401


class Clients:
    """Learners who read and go on, all the time, at whichever server answers."""

    def __init__(self, urls: list[str], accounts: list[Person]) -> None:
        self.statuses: Counter[int] = Counter()
        self._urls = urls
        self._stop = Event()
        self._threads = [Thread(target=self._study, args=(account,)) for account in accounts]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _study(self, account: Person) -> None:
        with httpx.Client(timeout=30) as client:
            tokens = self._ask(
                client, "POST", "/auth/login", {"username": account.username, "password": PASSWORD}
            ).json()
            while not self._stop.is_set():
                for _ in range(20):
                    self._ask(client, "GET", "/stats/user", token=tokens["token"])
                    time.sleep(0.005)
                tokens = self._ask(client, "POST", "/auth/refresh", {"refreshToken": tokens["refreshToken"]}).json()

    def _ask(
        self, client: httpx.Client, method: str, path: str, body: dict[str, str] | None = None, token: str = ""
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        for url in itertools.cycle(self._urls):
            try:
                answer = client.request(method, url + path, json=body, headers=headers)
            except httpx.TransportError:  # that server is away: another is there
                continue
            self.statuses[answer.status_code] += 1
            return answer
        raise AssertionError


@pytest.mark.slow
def test_keys_rotate_under_load_without_one_error(tmp_path: Path):
    """Two servers of one database, one restarted after the other: first to know the new key, then to sign with it."""
    servers = [start_server(tmp_path, SENECA_SECRET_KEY=OLD) for _ in range(2)]
    urls = [server.url for server in servers]
    try:
        with httpx.Client(base_url=urls[0], timeout=30) as client:
            people = [sign_up(client, "alice") for _ in range(4)]
        with Clients(urls, people) as clients:
            for keys in (f"{OLD},{NEW}", f"{NEW},{OLD}"):
                for number in range(2):
                    servers[number].stop()
                    servers[number] = start_server(tmp_path, port=servers[number].port, SENECA_SECRET_KEY=keys)
            before = clients.statuses.total()
            while clients.statuses.total() < before + 200:
                time.sleep(0.01)
        assert clients.statuses.keys() == {200}, clients.statuses
        servers[0].stop()
        servers[0] = start_server(tmp_path, port=servers[0].port, SENECA_SECRET_KEY=NEW)
        with httpx.Client(base_url=urls[0], timeout=30) as client:
            refused(Person(client, people[0].token).get("/test"), 401, "token-invalid")  # a dropped key's
    finally:
        for server in servers:
            if server.process.poll() is None:
                server.stop()


def test_of_servers_that_start_at_once_with_different_keys_one_starts(tmp_path: Path):
    database = open_database(engine().url(tmp_path))
    for _ in range(10):
        barrier = Barrier(4)

        def start(text: str) -> bool:
            keys = SigningKeys([SigningKey.of(text)])
            barrier.wait()  # noqa: B023
            try:
                register_signing_keys(database, keys)
            except CommandError:
                return False
            return True

        with ThreadPoolExecutor(4) as threads:
            assert sum(threads.map(start, [secrets.token_hex(32) for _ in range(4)])) == 1
        with database.write_transaction() as tx:
            reset_signing_keys(tx)
    database.close()


def test_a_lost_key_can_be_replaced(tmp_path: Path):
    starts(tmp_path)
    (tmp_path / "secret-key").unlink()
    assert "seneca admin reset-keys" in error_of(tmp_path)
    done = seneca("admin", "reset-keys", "--data", tmp_path)
    assert done.returncode == 0, done.stderr
    starts(tmp_path)


def test_a_second_server_of_a_database_needs_the_first_ones_key(tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    with running(first) as server, httpx.Client(base_url=server.url) as client:
        tara = sign_up(client, "tara", role="admin")
        url = engine().url(first)
        error_of(second, SENECA_DATABASE_URL=url)
        shutil.copy(first / "secret-key", second / "secret-key")
        with running(second, SENECA_DATABASE_URL=url) as other, httpx.Client(base_url=other.url) as there:
            assert Person(there, tara.token).get("/auth/me").status_code == 200
