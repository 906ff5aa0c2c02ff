"""Slow, greedy and malformed requests time out or fail, while the server continues to answer other clients.

The server of these tests has shorter timeouts than the default, or the tests would take minutes.
"""

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest

from seneca.app import ROUTES
from seneca.errors import ServiceUnavailable
from seneca.http.limits.concurrency import MAX_PER_ACCOUNT
from seneca.http.limits.memory_budget import MemoryBudget, Reservation, wait_for_client
from tests.helpers.accounts import Person, make_course, sign_in, sign_up
from tests.helpers.assertions import refused
from tests.helpers.load import workers
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server, running

pytestmark = pytest.mark.http  # about HTTP, whatever the engine

SECONDS = 2  # of each deadline here
SOON = 15  # by when it must have passed, on a machine with other work
HASTE = f"""
import seneca.http.limits.request_body, seneca.http.responses, seneca.http.limits.concurrency, seneca.server.sockets, seneca.server.processes
seneca.http.limits.concurrency.WAIT_SECONDS = {SECONDS / 2}
seneca.http.limits.request_body.BODY_SECONDS = seneca.http.limits.request_body.DRAIN_SECONDS = {SECONDS}
seneca.http.responses.CHUNK_SECONDS = seneca.server.sockets.USER_TIMEOUT_SECONDS = {SECONDS}
seneca.server.processes.HEADER_TIMEOUT_MS = {SECONDS * 1000}
"""
ORIGIN = "https://learn.school.test"
LOGIN = b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with short deadlines, which browser applications of one origin may use."""
    haste = tmp_path_factory.mktemp("haste")
    (haste / "sitecustomize.py").write_text(HASTE)
    data = tmp_path_factory.mktemp("hasty")
    with running(data, PYTHONPATH=str(haste), SENECA_CORS_ORIGINS=ORIGIN) as server:
        yield server


@pytest.fixture(scope="module")
def tara_in_haste(hasty: Server) -> Iterator[Person]:
    with httpx.Client(base_url=hasty.url, timeout=30) as client:
        yield sign_up(client, "tara", role="admin")


def connect(server: Server, buffer: int | None = None) -> socket.socket:
    """A connection; it reads at most ``buffer`` bytes ahead."""
    connection = socket.socket()
    if buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(SOON)
    connection.connect(("127.0.0.1", server.port))
    return connection


def rest(connection: socket.socket) -> bytes:
    """What comes until the server closes, which it does in time."""
    came = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            came += piece
    return came


def ask(server: Server, question: bytes) -> bytes:
    """Send this, and nothing more; all that the server answers until it closes."""
    with connect(server) as connection:
        connection.sendall(question)
        return rest(connection)


def trickle(server: Server, beginning: bytes) -> tuple[bytes, float]:
    """Send this, then a byte every fifth of a second until the server closes; its answer, and when it was there."""
    began = time.monotonic()
    with connect(server) as connection:
        connection.sendall(beginning)
        connection.settimeout(0.2)
        came = b""
        while time.monotonic() - began < SOON:
            try:
                piece = connection.recv(65_536)
                if not piece:
                    return came, time.monotonic() - began
                came += piece
            except TimeoutError:
                connection.send(b" ")
            except (ConnectionResetError, BrokenPipeError):
                return came, time.monotonic() - began
    raise AssertionError("the server puts up with it")


# -- slow clients ------------------------------------------------------------------------------

SLOW_HEADERS = {
    "silent": b"",
    "a letter": b"G",
    "no end": b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ",
    "the beginning of HTTP/2": b"PRI * HTT",
    "idle": b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
}


def test_slow_headers_and_idle_connections_are_closed_while_others_are_answered(hasty: Server):
    connections = [(name, connect(hasty)) for name in SLOW_HEADERS for _ in range(20)]
    began = time.monotonic()
    for name, connection in connections:
        connection.sendall(SLOW_HEADERS[name])
    assert httpx.get(f"{hasty.url}/health", timeout=SOON).status_code == 200
    for name, connection in connections:
        came = rest(connection)
        assert came.count(b"HTTP/1.1 200 OK") == (1 if name == "idle" else 0), name
        connection.close()
    assert time.monotonic() - began > SECONDS / 2


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n3E8\r\n"]
)
def test_a_slow_body_is_408_while_others_are_answered(hasty: Server, framing: bytes):
    with ThreadPoolExecutor(20) as pool:
        slow = [pool.submit(trickle, hasty, LOGIN + framing) for _ in range(20)]
        assert httpx.get(f"{hasty.url}/health", timeout=SOON).status_code == 200
        answers = [future.result() for future in slow]
    for answer, seconds in answers:
        assert seconds > SECONDS / 2
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"\r\nconnection: close" in head.lower()
        assert b"\r\ncontent-type: application/problem+json" in head.lower()
        assert b"\r\nx-content-type-options: nosniff" in head.lower()
        assert json.loads(body)["code"] == "request-timeout"


@pytest.mark.parametrize(("path", "status"), [(b"/auth/me", 405), (b"/nowhere", 404), (b"/test/data", 401)])
def test_a_slow_body_that_nobody_wants_is_not_waited_for(hasty: Server, path: bytes, status: int):
    answer, _ = trickle(hasty, b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)


@pytest.fixture(scope="module")
def reader(tara_in_haste: Person) -> Person:
    """A learner with 3 MB of results."""
    alice = sign_up(tara_in_haste.client, "alice")
    session = alice.start(make_course(tara_in_haste))
    for n in range(15):
        alice.update(session, {"moduleName": f"Module {n}", "quiz": {"answers": ["x" * 1000] * 200, "score": 1}})
    return alice


LONG = ["/stats/user/sessions", "/auth/me/export"]  # what the reader may read, all of it


def question(person: Person, path: str = LONG[0], method: str = "GET") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {person.token}\r\n\r\n"
    return head.encode()


def kept(server: Server, connections: list[socket.socket]) -> int:
    """How many of these the server's side of the system still has."""
    theirs = {connection.getsockname()[1] for connection in connections}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    pairs = {tuple(int(end.partition(":")[2], 16) for end in row[1:3]) for row in rows}
    return sum((server.port, port) in pairs for port in theirs)


def log_of(server: Server, event: str) -> int:
    return sum(f'"event":"{event}"' in line for line in server.log_lines())


@pytest.mark.parametrize("path", LONG)
def test_readers_that_stop_are_broken_off_while_others_are_answered(hasty: Server, reader: Person, path: str):
    whole = len(reader.get(path).content)
    before = log_of(hasty, "response aborted")
    connections = [connect(hasty, 4096) for _ in range(MAX_PER_ACCOUNT)]
    for connection in connections:
        connection.sendall(question(reader, path))
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    assert httpx.get(f"{hasty.url}/health", timeout=SOON).status_code == 200
    assert kept(hasty, connections) == len(connections)
    deadline = time.monotonic() + SOON
    while log_of(hasty, "response aborted") < before + len(connections):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    while kept(hasty, connections):  # nor does the system keep what they do not read
        assert time.monotonic() < deadline + SOON
        time.sleep(0.1)
    for connection in connections:
        assert len(rest(connection)) < whole / 2
        connection.close()
    assert len(reader.get(path).content) == whole  # its place is free again


@pytest.mark.parametrize("path", LONG)
def test_an_account_that_does_not_read_what_it_asks_for_holds_up_itself_alone(
    hasty: Server, reader: Person, tara_in_haste: Person, path: str
):
    connections = [connect(hasty, 4096) for _ in range(MAX_PER_ACCOUNT)]
    for connection in connections:
        connection.sendall(question(reader, path))
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    answer = reader.get(path)
    refused(answer, 503, "service-unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert reader.get("/stats/user").status_code == 200
    assert tara_in_haste.get("/users").status_code == 200
    for connection in connections:
        connection.close()
    deadline = time.monotonic() + SOON
    while reader.get(path).status_code != 200:
        assert time.monotonic() < deadline


def test_who_was_signed_out_while_they_waited_for_their_turn_is_refused(hasty: Server, reader: Person):
    leaving = sign_in(reader.client, reader.username)
    connections = [connect(hasty, 4096) for _ in range(MAX_PER_ACCOUNT)]
    for connection in connections:
        connection.sendall(question(reader))
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    with connect(hasty) as waiting:
        waiting.sendall(question(leaving))
        assert leaving.post("/auth/logout").status_code == 204
        for connection in connections:
            connection.close()
        answer = waiting.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b'"code":"signed-out"' in answer


@pytest.mark.parametrize(
    "hosts",
    [b"", b"Host: localhost\r\nHost: localhost\r\n", b"Host: a\r\nhost: b\r\n", b"Host: a\r\nX: y\r\nHOST: a\r\n"],
)
def test_http_1_1_has_one_host_header_on_every_route(hasty: Server, hosts: bytes):
    routes = [(method, path) for path, methods in described(hasty).items() for method in methods]
    for method, path in [
        *routes,
        ("GET", "/docs"),
        ("OPTIONS", "/users"),
        ("GET", "/no/such/path"),
        ("BREW", "/health"),
    ]:
        head = f"{method.upper()} {path} HTTP/1.1\r\n".encode() + hosts
        answer = ask(hasty, head + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 "), (method, path)
        assert b"content-type: application/problem+json\r\n" in answer
        assert b'"code":"invalid-input"' in answer
        assert b'"field":"Host"' in answer
        assert b"x-content-type-options: nosniff\r\n" in answer


def test_http_1_0_needs_no_host_header(hasty: Server):
    assert ask(hasty, b"GET /health HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200 ")
    assert ask(hasty, b"GET /health HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n").startswith(b"HTTP/1.0 400 ")


def described(server: Server) -> dict[str, Any]:
    """The paths of the OpenAPI document."""
    return dict(httpx.get(f"{server.url}/openapi.json").json()["paths"])


def test_an_account_may_ask_for_more_lists_at_once_than_are_made_at_once(hasty: Server, tara_in_haste: Person):
    def ask_once(_: int) -> int:
        return httpx.get(f"{hasty.url}/users", headers=token, timeout=30).status_code

    token = {"Authorization": f"Bearer {tara_in_haste.token}"}
    with ThreadPoolExecutor(5 * MAX_PER_ACCOUNT) as pool:
        assert set(pool.map(ask_once, range(10 * MAX_PER_ACCOUNT))) == {200}


def test_a_reader_that_takes_its_time_gets_all_of_it(hasty: Server, reader: Person):
    whole = reader.get("/stats/user/sessions").content
    with connect(hasty, 65_536) as connection:
        connection.sendall(question(reader))
        came = b""
        while not came.endswith(whole[-100:]):
            came += connection.recv(100_000)
            time.sleep(0.05)  # in all longer than a piece may take
        assert came.partition(b"\r\n\r\n")[2] == whole
        connection.sendall(question(reader, method="HEAD"))
        time.sleep(0.2)
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, *others = rest(connection).split(b"\r\n\r\n")
        assert b"content-length: %d" % len(whole) in head
        assert others[0].startswith(b"HTTP/1.1 200 OK")  # right behind it: HEAD has no body
        assert others[1] == b"OK"


# -- memory budgets ----------------------------------------------------------------------------


def test_a_new_reservation_evicts_the_oldest_that_waits_for_its_client():
    async def hold(budget: MemoryBudget, seconds: float, outcomes: list[str], name: str) -> None:
        reservation = Reservation()
        budget.reserve(reservation, 50)
        try:
            await wait_for_client(reservation, asyncio.get_running_loop().time() + seconds, asyncio.Event().wait())
        except TimeoutError:
            outcomes.append(name)
        finally:
            budget.release(reservation)

    async def crowd() -> list[str]:
        budget, outcomes = MemoryBudget(100), []
        first = asyncio.create_task(hold(budget, 60, outcomes, "first"))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(hold(budget, 60, outcomes, "second"))
        await asyncio.sleep(0.1)
        reservation = Reservation()
        with pytest.raises(ServiceUnavailable):  # both are too new to be evicted
            budget.reserve(reservation, 50)
        budget.reserve(reservation, 10, guaranteed=10)  # small ones are always granted
        budget.release(reservation)
        await asyncio.sleep(1)
        budget.reserve(reservation, 50)
        await first
        assert outcomes == ["first"]
        budget.release(reservation)
        budget.release(reservation)
        budget.reserve(reservation, 50)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        budget.reserve(reservation, 50)
        with pytest.raises(ServiceUnavailable):  # none waits for its client
            budget.reserve(reservation, 1)
        return outcomes

    assert asyncio.run(crowd()) == ["first"]


def test_a_reservation_that_is_being_evicted_is_not_evicted_again():
    async def crowd() -> None:
        budget, slow, reservation = MemoryBudget(100), Reservation(), Reservation()
        budget.reserve(slow, 100)
        await asyncio.sleep(1.1)
        waiting = asyncio.create_task(wait_for_client(slow, asyncio.get_running_loop().time(), asyncio.Event().wait()))
        while slow.timeout is None or not slow.timeout.expired():  # noqa: ASYNC110 the one turn of the loop between the two
            await asyncio.sleep(0)
        assert not waiting.done()
        with pytest.raises(ServiceUnavailable):
            budget.reserve(reservation, 50)
        with pytest.raises(TimeoutError):
            await waiting

    asyncio.run(crowd())


# -- what is no HTTP ---------------------------------------------------------------------------

MALFORMED = {
    "rubbish": b"RUBBISH\r\n\r\n",
    "another version": b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
    "a NUL in a field": b"GET /health HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "a space before the colon": LOGIN + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded field": LOGIN + b"Content-Length: 2\r\n X: y\r\n\r\n{}",
    "two lengths": LOGIN + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "a signed length": LOGIN + b"Content-Length: +2\r\n\r\n{}",
    "a length without end": LOGIN + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "an unknown encoding": LOGIN + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "an encoding after chunked": LOGIN + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
}
TOO_MUCH = {
    "a field": (b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 300_000 + b"\r\n\r\n", 431),
    "fields": (b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: x\r\n" % n for n in range(200)) + b"\r\n", 431),
    "a path": (b"GET /" + b"x" * 66_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a query": (b"GET /health?" + b"x" * 66_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_http_is_400_and_the_connection_closed(hasty: Server, sent: bytes):
    answer = ask(hasty, sent + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(("sent", "status"), TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_more_header_than_anybody_needs(hasty: Server, sent: bytes, status: int):
    with connect(hasty) as connection:
        with suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(sent)
        answer = rest(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 %d " % status)  # what was still on its way may reset it
    assert httpx.get(f"{hasty.url}/health", timeout=SOON).status_code == 200


@pytest.mark.parametrize("order", [1, -1])
def test_nothing_is_smuggled_behind_two_framings(hasty: Server, order: int):
    fields = [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"][::order]
    hidden = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = ask(hasty, LOGIN + b"".join(fields) + b"\r\n0\r\n\r\n" + hidden)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_http_2_is_not_spoken(hasty: Server):
    assert b"\0\0" not in ask(hasty, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")


def test_requests_one_behind_the_other_are_answered_in_turn(hasty: Server):
    each = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = ask(hasty, each * 20)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"404", b"200"] * 20


BROKEN_OFF = [b"Content-Length: 1000\r\n\r\n%s", b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\nZZ\r\n"]


@pytest.mark.parametrize("framing", BROKEN_OFF)
def test_a_body_that_breaks_off_is_not_obeyed_though_it_is_json(hasty: Server, framing: bytes):
    name = unique("vera")
    body = json.dumps({"username": name, "email": f"{name}@example.org", "password": PASSWORD}).encode()
    head = LOGIN.replace(b"/login", b"/register")
    with connect(hasty) as connection:
        connection.sendall(head + framing % ((len(body), body) if b"%x" in framing else body))
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection)[:13] in (b"", b"HTTP/1.1 400 ")
    assert hasty.rows("SELECT 1 FROM accounts WHERE username = :name", name=name) == []


# -- headers on every answer -------------------------------------------------------------------


TABLES = {endpoint.path for endpoint in ROUTES if endpoint.table is not None}


def assert_secure(answer: httpx.Response, *, is_list: bool = False) -> None:
    names = [name.lower() for name, _ in answer.headers.multi_items()]
    for name in (
        "x-content-type-options",
        "referrer-policy",
        "content-security-policy",
        "cache-control",
        "x-request-id",
    ):
        assert names.count(name) == 1, (answer.request.method, answer.request.url, answer.status_code, name)
    assert answer.headers["vary"] == ("Origin, Accept" if is_list else "Origin")
    assert names.count("vary") == 1


def test_every_route_answers_every_method_with_security_headers(tara_in_haste: Person):
    client = tara_in_haste.client
    document: dict[str, Any] = client.get("/openapi.json").json()
    seen = set()
    signed_in = sign_in(client, tara_in_haste.username)
    for template in [*document["paths"], "/docs", "/docs.css", "/docs.svg", "/openapi.json", "/nowhere"]:
        path = re.sub(r"\{\w+\}", "0199aaaa-0000-7000-8000-000000000000", template)
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"):
            if signed_in.get("/auth/me").status_code == 401:  # one of these requests signs out
                signed_in = sign_in(client, tara_in_haste.username)
            for person in (Person(client), signed_in):
                for headers in ({}, {"Origin": ORIGIN}, {"Origin": "https://evil.test"}):
                    answer = person.request(method, path, headers=headers)
                    is_list = method in ("GET", "HEAD") and template in TABLES
                    assert_secure(answer, is_list=is_list)
                    seen.add(answer.status_code)
    assert {200, 204, 400, 401, 403, 404, 405, 415} <= seen


@pytest.mark.parametrize("origin", [ORIGIN, "https://evil.test"])
def test_preflights_have_security_headers(tara_in_haste: Person, origin: str):
    preflight = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    answer = tara_in_haste.client.options("/session/updateSession", headers=preflight)
    assert answer.status_code == (204 if origin == ORIGIN else 400)
    assert_secure(answer)


@pytest.mark.sqlite
def test_a_bug_has_security_headers_and_tells_nothing(tmp_path: Path):
    with running(tmp_path, SENECA_CORS_ORIGINS=ORIGIN) as server:
        connection = apsw.Connection(str(tmp_path / "seneca.db"))
        connection.execute("ALTER TABLE courses RENAME TO elsewhere")
        connection.close()
        answer = httpx.get(f"{server.url}/course/x", timeout=SOON)
        assert "courses" not in answer.text
        refused(answer, 500, "internal-error")
        assert_secure(answer)
    assert '"unhandled exception"' in server.log.read_text(), "other tests check that no log has this"


# -- open files --------------------------------------------------------------------------------


def test_workers_may_open_as_many_files_as_the_system_lets_them(server: Server):
    for pid in workers(server):
        limits = Path(f"/proc/{pid}/limits").read_text()
        found = re.search(r"^Max open files\s+(\d+)\s+(\d+)", limits, re.MULTILINE)
        assert found is not None
        assert found[1] == found[2]


@pytest.mark.parametrize(("most", "connections"), [(1000, 500), (4000, 3488), (16_896, 16_384)])
def test_where_few_files_may_be_open_fewer_connections_are_admitted_and_the_log_says_so(most: int, connections: int):
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, {most}))\n"
        "from seneca import logs; from seneca.server.processes import raise_open_file_limit; logs.configure('json')\n"
        "print(raise_open_file_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{connections} ({most}, {most})\n"
    assert ("low open file limit" in done.stderr) == (connections < 16_384)
