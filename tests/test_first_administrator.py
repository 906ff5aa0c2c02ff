"""POST /auth/register for administrators: who may, before there is one and afterwards."""

import asyncio
import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from seneca.app import create_app
from seneca.http.peer_user import find_uid, is_own_or_root
from seneca.http.registration import LOCAL_SECONDS, host_name, is_loopback
from seneca.settings import STARTED, Settings
from tests.helpers.accounts import Person, sign_up
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server, running, start_server
from tests.helpers.wire import clients_of_workers

pytestmark = pytest.mark.slow

CLOSED = "registration-closed"
PATH = "/auth/register"


def administrator(**members: Any) -> dict[str, Any]:
    name = unique("ada")
    return {"username": name, "email": f"{name}@example.org", "password": PASSWORD, "role": "admin"} | members


def register(server: Server, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    return httpx.post(server.url + PATH, json=administrator(**members), headers=headers, timeout=30)


def token_of(server: Server) -> str:
    return (server.data / "setup-token").read_text().strip()


def administrators(server: Server) -> int:
    return int(server.rows("SELECT count(*) FROM accounts WHERE role = 'admin'")[0][0])


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has never had an administrator. Tests on it are refused, so that it stays so."""
    with running(tmp_path_factory.mktemp("empty")) as server:
        yield server
        assert administrators(server) == 0


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Server]:
    """A server that has never had an administrator, for one test."""
    with running(tmp_path / "data") as server:
        yield server


# -- straight from this machine ----------------------------------------------------------------


def test_the_documented_request_works_once_from_this_machine(fresh: Server):
    response = register(fresh)
    assert response.status_code == 201
    user_id = response.json()["userId"]
    assert response.json() == {"message": "User registered successfully", "userId": user_id}
    assert fresh.rows("SELECT id, role FROM accounts") == [(user_id, "admin")]
    assert fresh.rows("SELECT value FROM properties WHERE name = 'administrator-existed'") == [(user_id,)]

    body = refused(register(fresh), 403, "registration-closed")
    assert "administrator" in body["detail"]
    assert administrators(fresh) == 1


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost", "LOCALHOST:3000", "[::1]:3000", "127.8.9.10"])
def test_it_works_by_any_name_of_this_machine(tmp_path: Path, host: str):
    assert asked_in_process(tmp_path, headers={"Host": host}).status_code == 201


FORWARDED = [
    {"Origin": "http://127.0.0.1:3000"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Forwarded": "for=127.0.0.1"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"x-forwarded-for": "10.0.0.7"},
    {"X-Forwarded-Host": "localhost"},
    {"X-Forwarded-Proto": "https"},
    {"X-Forwarded-Anything": ""},
    {"X-Real-IP": "127.0.0.1"},
    {"Via": "1.1 proxy"},
    {"Host": "example.org"},
    {"Host": "localhost.example.org"},
    {"Host": "127.0.0.1.nip.io:3000"},
    {"Host": "192.168.0.1"},
    {"Host": "0.0.0.0"},
    {"Host": "[2001:db8::1]"},
    {"Host": "2130706433"},
    {"Host": "[::1"},
    {"Host": "localhost:80:80"},
]


@pytest.mark.parametrize("headers", FORWARDED, ids=str)
@pytest.mark.http
def test_requests_that_may_come_from_elsewhere_are_refused_with_advice(empty: Server, headers: dict[str, str]):
    body = refused(register(empty, headers), 403, "registration-closed")
    for way in ("setup-token", "X-Setup-Token", "seneca admin create"):
        assert way in body["detail"]
    assert token_of(empty) not in body["detail"]
    assert empty.rows("SELECT 1 FROM accounts WHERE role = 'admin'") == []


def test_nobody_is_local_to_a_server_that_has_proxies(tmp_path: Path):
    """One that adds no header would make every stranger look so."""
    with running(tmp_path, SENECA_TRUSTED_PROXIES="192.0.2.1") as server:
        refused(register(server), 403, "registration-closed")
        assert register(server, {"X-Setup-Token": token_of(server)}).status_code == 201


def test_learners_may_come_from_anywhere(empty: Server):
    for headers in FORWARDED:
        assert register(empty, headers, role="user").status_code == 201


def test_refused_before_the_rest_is_looked_at(empty: Server):
    body = refused(register(empty, {"Via": "1.1 proxy"}, password="password123"), 403, "registration-closed")
    assert "errors" not in body


@pytest.mark.parametrize("name", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LocalHost"])
def test_loopback_names(name: str):
    assert is_loopback(name)


@pytest.mark.parametrize(
    "name", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.", "localhost6", "localhost@evil", "127.1"]
)
def test_other_names(name: str):
    assert not is_loopback(name)


def test_host_name():
    assert host_name("localhost:3000") == "localhost"
    assert host_name("[::1]:3000") == "::1"
    assert host_name("127.0.0.1") == "127.0.0.1"
    assert host_name("") == ""


@pytest.mark.parametrize("host", ["[::1", "[::1]x", "[[::1]]", "::1", "localhost:80:80", "localhost:x", "[127.0.0.1"])
def test_a_host_that_is_not_well_formed_has_no_name(host: str):
    assert host_name(host) == ""


def asked_in_process(
    data: Path, *, peer: str = "", age: float = 0, headers: dict[str, str] | None = None, **settings: Any
) -> httpx.Response:
    """The answer to the documented request on a connection of ours, or from a peer, by a server of this age in seconds."""
    outer: Any = create_app(Settings(data=data, **settings), time.monotonic() - age)
    state = outer.app.state

    async def ask(client_address: tuple[str, int], port: int) -> httpx.Response:
        transport = httpx.ASGITransport(outer, client=client_address)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{port}") as client:
            return await client.post(PATH, json=administrator(), headers=headers)

    try:
        with connected() as (ours, listener):
            address = ours.getsockname()
            return asyncio.run(ask((peer or address[0], address[1]), listener.getsockname()[1]))
    finally:
        state["services"].password_hashers.close()
        state["services"].database.close()


@contextmanager
def connected(address: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection of this process with itself: its client's end, and where it listens."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener, socket.socket(family) as ours:
        ours.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            yield ours, listener


def test_from_another_machine_it_is_refused(tmp_path: Path):
    refused(asked_in_process(tmp_path, peer="10.0.0.7"), 403, "registration-closed")
    assert asked_in_process(tmp_path).status_code == 201


def test_where_no_process_holds_the_connection_it_is_refused(tmp_path: Path):
    """As when it cannot be told whose it is."""
    refused(asked_in_process(tmp_path, peer="127.0.0.2"), 403, "registration-closed")


# -- whose connection it is --------------------------------------------------------------------

NOBODY = 65534
REGISTER_AS = """
import encodings.idna, http.client, os, sys  # before the library can be read no more
user, port, body = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if user != os.getuid():
    os.setgroups([]); os.setgid(user); os.setuid(user)
connection = http.client.HTTPConnection("127.0.0.1", port)
connection.request("POST", "/auth/register", body, {"Content-Type": "application/json"})
print(connection.getresponse().status)
"""


def register_as(user: int, server: Server) -> int:
    """The status of the documented request from a process of this user."""
    command = [sys.executable, "-c", REGISTER_AS, str(user), str(server.port), json.dumps(administrator())]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_another_user_of_this_machine_needs_the_token(fresh: Server):
    """If the tests run as root, another user is rejected too; the server's own user is always accepted."""
    if os.getuid() == 0:
        assert register_as(NOBODY, fresh) == 403
        assert administrators(fresh) == 0
    assert register_as(os.getuid(), fresh) == 201


TABLE = (Path(__file__).parent / "data" / "proc-net-tcp.txt").read_text()
TABLE_6 = (Path(__file__).parent / "data" / "proc-net-tcp6.txt").read_text()
SERVER = ("127.0.0.1", 3000)


@pytest.mark.parametrize(
    ("client", "user"),
    [
        (("127.0.0.1", 40288), 0),
        (("127.0.0.1", 40290), 1000),
        (("127.0.0.1", 40292), 65534),
        (("127.0.0.1", 40294), None),  # closed by its process: the kernel shows 0, as for root
        (("127.0.0.1", 40296), None),  # TIME_WAIT
        (("127.0.0.1", 40298), None),  # half-closed
        (("127.0.0.1", 3000), None),  # the server's own ends are other rows
        (("127.0.0.2", 40288), None),
        (("127.0.0.1", 4028), None),
    ],
)
def test_who_holds_a_connection_by_a_recorded_table(client: tuple[str, int], user: int | None):
    assert find_uid(TABLE, client, SERVER) == user
    assert find_uid(TABLE, client, ("127.0.0.1", 3001)) is None


def test_who_holds_a_connection_by_a_recorded_table_of_ipv6():
    assert find_uid(TABLE_6, ("::1", 40300), ("::1", 3000)) == 1000
    assert find_uid(TABLE_6, ("::1", 40301), ("::1", 3000)) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "127.5.6.7", "::1"])
def test_a_connection_of_ones_own_is_ones_own_until_it_is_closed(address: str):
    with connected(address) as (ours, listener):
        ends = [end.getsockname()[:2] for end in (ours, listener)]
        assert is_own_or_root(*ends)
        ours.close()
        assert not is_own_or_root(*ends)


@pytest.mark.parametrize("address", ["10.0.0.7", "localhost", ""])
def test_what_is_not_to_be_found_is_not_ones_own(address: str):
    assert not is_own_or_root((address, 40_000), (address, 3000))


def test_it_is_found_among_many_connections():
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener, ExitStack() as stack:
        many = []
        for _ in range(400):  # each has two ends
            many.append(stack.enter_context(socket.create_connection(listener.getsockname())))
            stack.enter_context(listener.accept()[0])
        assert all(is_own_or_root(one.getsockname(), listener.getsockname()) for one in many[::40])


def test_an_hour_after_the_start_it_is_refused(tmp_path: Path):
    refused(asked_in_process(tmp_path, age=LOCAL_SECONDS + 1), 403, "registration-closed")
    assert LOCAL_SECONDS == 3600
    assert asked_in_process(tmp_path, age=LOCAL_SECONDS - 60).status_code == 201


SAY_STARTED = "from seneca.app import from_environment as made; print(made().app.state['services'].started); import os; os._exit(0)"


def test_a_worker_that_takes_another_s_place_begins_no_new_hour(tmp_path: Path):
    told = os.environ | {"SENECA_DATA": str(tmp_path), STARTED: "12.5"}  # which every worker of a server inherits
    done = subprocess.run(
        [sys.executable, "-u", "-c", SAY_STARTED], env=told, capture_output=True, text=True, check=True
    )
    assert done.stdout == "12.5\n"


def test_with_two_workers_both_ways_are_open_until_the_first(tmp_path: Path):
    with running(tmp_path, "--workers", "2") as server, ExitStack() as stack:
        each = [stack.enter_context(closing(client)) for client in clients_of_workers(server, 2)]
        token = token_of(server)
        for client in each:
            refused(client.post(PATH, json=administrator(), headers={"X-Setup-Token": token[::-1]}), 403, CLOSED)
        assert each[0].post(PATH, json=administrator(), headers={"X-Setup-Token": token}).status_code == 201
        for client in each:  # straight from this machine, and with the token
            refused(client.post(PATH, json=administrator()), 403, CLOSED)
            refused(client.post(PATH, json=administrator(), headers={"X-Setup-Token": token}), 403, CLOSED)


def test_a_server_that_listens_to_the_network_needs_the_token(tmp_path: Path):
    with running(tmp_path, "--host", "0.0.0.0") as server:
        refused(register(server), 403, "registration-closed")
        assert register(server, {"X-Setup-Token": token_of(server)}).status_code == 201
        assert administrators(server) == 1


# -- the setup token ---------------------------------------------------------------------------


def test_the_setup_token_is_private_and_stored_hashed(empty: Server):
    path = empty.data / "setup-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = token_of(empty)
    assert len(token) >= 32
    assert empty.rows("SELECT value FROM properties WHERE name = 'setup-token-hash'") == [
        (hashlib.sha256(token.encode()).hexdigest(),)
    ]
    assert token not in "".join(str(row) for row in empty.rows("SELECT * FROM properties"))


@pytest.mark.parametrize("wrong", ["", "wrong", "x" * 32, "ÿ", "{token}", "{token}xx", "{token},{token}"])
def test_a_wrong_token_is_refused_even_from_this_machine(empty: Server, wrong: str):
    sent = wrong.format(token=token_of(empty)[:-1]).encode("latin-1")  # a token that lacks its last character
    answer = httpx.post(empty.url + PATH, json=administrator(), headers=[(b"X-Setup-Token", sent)])
    refused(answer, 403, "registration-closed")


def test_the_right_token_works_once_from_anywhere_and_is_in_no_log(fresh: Server):
    token = token_of(fresh)
    headers = {
        "X-Setup-Token": token,
        "Host": "seneca.example.org",
        "Origin": "https://seneca.example.org",
        "X-Forwarded-For": "203.0.113.7",
        "Via": "1.1 proxy",
    }
    refused(register(fresh, headers | {"X-Setup-Token": token[::-1]}), 403, "registration-closed")
    assert register(fresh, headers).status_code == 201
    assert not (fresh.data / "setup-token").exists()
    refused(register(fresh, headers), 403, "registration-closed")
    refused(register(fresh, {"X-Setup-Token": token}), 403, "registration-closed")
    assert administrators(fresh) == 1
    fresh.stop()
    assert token not in fresh.log.read_text()


def test_the_token_file_goes_once_there_is_an_administrator(fresh: Server):
    assert (fresh.data / "setup-token").exists()
    assert register(fresh).status_code == 201
    assert not (fresh.data / "setup-token").exists()


def test_the_token_is_one_for_the_life_of_the_database(tmp_path: Path):
    with running(tmp_path) as server:
        token = token_of(server)
    with running(tmp_path) as server:
        assert token_of(server) == token
    (tmp_path / "setup-token").unlink()
    with running(tmp_path) as server:
        assert not (tmp_path / "setup-token").exists()
        assert register(server, {"X-Setup-Token": token}).status_code == 201


def test_a_restart_with_an_administrator_makes_no_token(tmp_path: Path):
    with running(tmp_path) as server:
        assert register(server).status_code == 201
    (tmp_path / "setup-token").write_text("left over\n")
    with running(tmp_path) as server:
        assert not (tmp_path / "setup-token").exists()
        refused(register(server), 403, "registration-closed")


def test_an_administrator_from_the_shell_is_the_first_too(fresh: Server):
    token = token_of(fresh)
    made = seneca("admin", "create", "ada", "ada@example.org", "--data", fresh.data, input=PASSWORD + "\n")
    assert made.returncode == 0, made.stderr
    refused(register(fresh), 403, "registration-closed")
    refused(register(fresh, {"X-Setup-Token": token}), 403, "registration-closed")
    assert not (fresh.data / "setup-token").exists()


# -- races -------------------------------------------------------------------------------------


def race(count: int, *servers: Server) -> list[int]:
    """The statuses of ``count`` documented requests, sent concurrently."""
    ready, statuses = threading.Barrier(count), []

    def ask(number: int) -> None:
        server, body = servers[number % len(servers)], administrator()
        ready.wait()
        statuses.append(httpx.post(server.url + PATH, json=body, timeout=60).status_code)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(statuses)


def test_of_two_at_once_one_is_first(fresh: Server):
    assert race(2, fresh) == [201, 403]
    assert administrators(fresh) == 1
    assert fresh.rows("SELECT count(*) FROM account_names") == [(2,)]


def test_of_a_hundred_at_once_on_two_servers_one_is_first(fresh: Server):
    other = start_server(fresh.data)
    try:
        assert race(100, fresh, other) == [201] + 99 * [403]
    finally:
        other.stop()
    assert fresh.rows("SELECT role FROM accounts") == [("admin",)]
    assert fresh.rows("SELECT count(*) FROM passwords") == [(1,)]


# -- afterwards --------------------------------------------------------------------------------


def test_afterwards_only_an_administrator_registers_another(
    server: Server, nobody: Person, alice: Person, tara: Person
):
    given = administrator()
    refused(nobody.post(PATH, given), 403, "registration-closed")
    refused(alice.post(PATH, given), 403, "registration-closed")
    refused(Person(nobody.client, "no.such.token").post(PATH, given), 401, "token-invalid")
    refused(nobody.post(PATH, given, headers={"Authorization": "Basic YTpi"}), 401, "token-invalid")
    assert server.rows("SELECT 1 FROM accounts WHERE username = :u", u=given["username"]) == []
    answer = tara.post(PATH, given)
    assert answer.status_code == 201
    assert server.rows("SELECT id, role FROM accounts WHERE username = :u", u=given["username"]) == [
        (answer.json()["userId"], "admin")
    ]


# -- SENECA_REGISTRATION=admin -----------------------------------------------------------------


def test_registration_by_administrators_only(tmp_path: Path):
    with running(tmp_path, SENECA_REGISTRATION="admin") as server, httpx.Client(base_url=server.url) as client:
        nobody = Person(client)
        learner = administrator(role="user")
        refused(nobody.post(PATH, learner), 403, "registration-closed")
        refused(nobody.post(PATH, learner, headers={"X-Setup-Token": token_of(server)}), 403, "registration-closed")
        assert server.rows("SELECT 1 FROM accounts") == []

        tara = sign_up(client, "tara", role="admin")
        refused(nobody.post(PATH, learner), 403, "registration-closed")
        refused(Person(client, "bad").post(PATH, learner), 401, "token-invalid")
        alice = sign_up(client, "alice", by=tara)
        refused(alice.post(PATH, learner), 403, "registration-closed")
        assert tara.post(PATH, learner).status_code == 201
        assert tara.post(PATH, administrator()).status_code == 201
        assert server.rows("SELECT role FROM accounts ORDER BY created_at, id") == [
            ("admin",),
            ("user",),
            ("user",),
            ("admin",),
        ]
