"""`seneca serve`: how it starts, refuses to start, stops, and is killed; nothing acknowledged is lost."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import httpx
import pytest

from seneca.server.processes import STOP_SECONDS
from tests.helpers.accounts import Person, sign_in
from tests.helpers.commands import seneca
from tests.helpers.engines import free_port
from tests.helpers.load import Load, alice_of, answers, children, stage, wait_for, wait_for_end, workers
from tests.helpers.server import Server, is_healthy, launch_server, running, start_server
from tests.helpers.wire import clients_of_workers

# -- stopping ----------------------------------------------------------------------------------


@pytest.mark.sqlite
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_requests_under_way_are_answered_before_it_stops(tmp_path: Path, how: signal.Signals):
    with stage(tmp_path) as (server, tara, course):
        alice = alice_of(tara)
        session_id = alice.start(course)
        lock = apsw.Connection(str(tmp_path / "seneca.db"))
        lock.set_busy_timeout(5000)
        lock.execute("BEGIN IMMEDIATE")  # so that the updates are surely under way
        body = {"sessionId": session_id}
        with ThreadPoolExecutor(8) as pool:
            waiting = [
                pool.submit(
                    alice.put, "/session/updateSession", body | {"moduleStats": [{"moduleName": f"Module {n}"}]}
                )
                for n in range(8)
            ]
            wait_for(lambda: connections(server) >= 8)
            time.sleep(0.5)
            server.process.send_signal(how)
            time.sleep(0.5)
            assert not any(future.done() for future in waiting)
            lock.execute("COMMIT")
            assert [future.result().status_code for future in waiting] == [200] * 8
        lock.close()
        assert server.process.wait(timeout=30) == 0
        assert server.rows("SELECT results FROM sessions WHERE id = :id", id=session_id) == [(8,)]
        assert not answers(server)


def connections(server: Server) -> int:
    """How many clients are connected."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = "01"
    return sum(row[1].endswith(f":{server.port:04X}") and row[3] == established for row in rows)


def test_stopping_under_load_loses_nothing_acknowledged(tmp_path: Path):
    with stage(tmp_path, "--workers", "2") as (server, tara, course):
        with Load(server, tara, course) as load:
            assert server.stop() == 0
        load.check(server)
        assert load.errors == []
        again = start_server(tmp_path, port=server.port)
        try:
            load.check(again)
        finally:
            again.stop()


def test_stops_soon_though_clients_keep_their_connections(tmp_path: Path):
    with stage(tmp_path) as (server, tara, _):
        assert tara.get("/auth/me").status_code == 200  # and the connection stays open
        idle = socket.create_connection(("127.0.0.1", server.port))
        assert server.stop() == 0
        idle.close()


# -- being killed ------------------------------------------------------------------------------


def test_stops_soon_though_its_workers_have_only_just_begun_to_start(tmp_path: Path):
    server = launch_server(tmp_path, "--workers", "2", port=free_port())
    deadline = time.monotonic() + 30
    while "Spawning worker-2" not in server.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(0.2)  # in the moment in which Granian begins to wait for signals, one would block it without end
    wait_for(lambda: is_asleep(server.process.pid))
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < STOP_SECONDS / 2


def is_asleep(pid: int) -> bool:
    """Whether a process does nothing for a tenth of a second."""
    states = []
    for _ in range(10):
        states.append(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
        time.sleep(0.01)
    return set(states) == {"S"}


def test_a_worker_that_died_is_replaced(tmp_path: Path):
    with stage(tmp_path) as (server, tara, _):
        for pid in workers(server):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: answers(server))
        assert tara.get("/auth/me").status_code == 200


def test_workers_whose_server_was_killed_leave(tmp_path: Path):
    with stage(tmp_path, "--workers", "2") as (server, _, _):
        found = children(server)
        server.process.kill()
        server.process.wait()
        wait_for_end(found)  # one may still answer after the other has gone
        again = start_server(tmp_path, port=server.port)
        assert answers(again)
        again.stop()


# -- workers -----------------------------------------------------------------------------------


def test_by_itself_it_starts_a_worker_for_each_core_up_to_four(tmp_path: Path):
    with running(tmp_path, SENECA_WORKERS="0") as server:
        cores = len(os.sched_getaffinity(0))
        for client in clients_of_workers(server, min(cores, 4)):
            client.close()
        assert len(workers(server)) == min(cores, 4)
    again = start_server(tmp_path, "--workers", "3")
    try:
        for client in clients_of_workers(again, 3):
            client.close()
    finally:
        again.stop()


# -- refusing to start -------------------------------------------------------------------------


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Assert that a command was refused with exit status 1 and one line; returns the line."""
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith("seneca: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_port_that_is_taken_is_one_clear_line(server: Server, tmp_path: Path):
    said = one_line(seneca("serve", "--data", tmp_path, "--port", str(server.port)))
    assert f"Port {server.port} on 127.0.0.1 is in use" in said
    assert "--port" in said
    assert answers(server)


def test_an_address_that_is_not_this_machines_is_one_clear_line(tmp_path: Path):
    assert "192.0.2.1" in one_line(seneca("serve", "--data", tmp_path, "--host", "192.0.2.1"))
    assert "no such host" in one_line(seneca("serve", "--data", tmp_path, "--host", "no such host"))


def test_an_unknown_setting_is_one_clear_line(tmp_path: Path):
    done = seneca("serve", "--data", tmp_path, env=os.environ | {"SENECA_PROT": "3000"})
    said = one_line(done)
    assert "Unknown setting SENECA_PROT" in said
    assert "SENECA_PORT" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SENECA_REGISTRATION", "closed"),
        ("SENECA_LOG_FORMAT", "xml"),
        ("SENECA_TRUSTED_PROXIES", "10.0.0.7/8"),
        ("SENECA_TRUSTED_PROXIES", "proxy.school.test"),
        ("SENECA_SECRET_KEY", "short"),
        ("SENECA_SECRET_KEY", "a" * 64),
        ("SENECA_DATABASE_URL", "mysql://localhost/seneca"),
    ],
)
@pytest.mark.http
def test_a_value_that_a_setting_cannot_have_is_one_clear_line(tmp_path: Path, name: str, value: str):
    variables = {"SENECA_PORT": str(free_port()), name: value}
    assert name in one_line(seneca("serve", "--data", tmp_path, env=os.environ | variables))


@pytest.mark.parametrize(
    ("option", "value"),
    [("port", "http"), ("port", "99999"), ("port", "-1"), ("workers", "two"), ("workers", "-1"), ("workers", "65")],
)
@pytest.mark.parametrize("way", ["option", "variable"])
def test_a_value_that_an_option_cannot_have_is_wrong_usage(tmp_path: Path, option: str, value: str, way: str):
    variable = f"SENECA_{option.upper()}"
    if way == "option":
        done = seneca("serve", "--data", tmp_path, f"--{option}", value)
    else:
        done = seneca("serve", "--data", tmp_path, env=os.environ | {variable: value})
    assert (done.returncode, done.stdout) == (2, "")
    assert variable in done.stderr
    assert f"--{option}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


# -- where it listens --------------------------------------------------------------------------


def accepts(host: str, port: int) -> bool:
    """Whether a server accepts connections."""
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False


def test_port_0_is_one_free_port_for_every_worker(tmp_path: Path):
    server = launch_server(tmp_path, "--workers", "2", port=0, forked=True)
    try:
        wait_for(lambda: server.log.exists() and server.log.read_text().count('"Started worker-') == 2)
        first = json.loads(server.log_lines()[0])
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)", first["address"])
        server.port = int(found[1])
        assert server.port > 0
        wait_for(lambda: accepts("127.0.0.1", server.port))
        assert f"Listening at: {server.url}" in server.log.read_text()
        for client in clients_of_workers(server, 2):
            assert client.get("/health").status_code == 200
            client.close()
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize(("host", "address"), [("localhost", "127.0.0.1"), ("::1", "[::1]")])
def test_a_host_may_be_a_name_or_an_ipv6_address(tmp_path: Path, host: str, address: str):
    server = launch_server(tmp_path, "--host", host, port=free_port(), forked=True)
    try:
        wait_for(lambda: accepts(host, server.port))
        assert json.loads(server.log_lines()[0])["address"] == f"http://{address}:{server.port}"
        assert httpx.get(f"http://{address}:{server.port}/health").status_code == 200
    finally:
        assert server.stop() == 0


# -- several servers ---------------------------------------------------------------------------


def test_two_servers_work_on_one_data_directory(tmp_path: Path):
    with stage(tmp_path) as (_, tara, course), running(tmp_path) as other:
        alice = alice_of(tara)
        with httpx.Client(base_url=other.url, timeout=30) as client:
            here, there = alice, sign_in(client, alice.username)
            assert Person(client, alice.token).get("/test/user").text == "User Functionality"
            session_id = here.start(course)
            with ThreadPoolExecutor(8) as pool:
                outcomes = pool.map(
                    lambda n: (here, there)[n % 2].update(
                        session_id, {"moduleName": f"Module {n}", "quiz": {"score": 0.5}}
                    ),
                    range(64),
                )
                assert len(list(outcomes)) == 64
            end = there.end(session_id)
            path = f"/stats/user/courses/{course['id']}"
            assert here.get(path).json() == there.get(path).json()
            assert here.get(path).json()["scores"]["totalSessionPoints"] == 32
            assert here.get(f"/session/{session_id}").json()["sessionEnd"] == end
        assert seneca("stats", "verify", "--data", tmp_path).returncode == 0


def test_start_to_first_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Printed, since the machine's other work counts too; ten seconds are too many whatever else it does."""
    start_server(tmp_path).stop()
    began = time.monotonic()
    server = launch_server(tmp_path, port=free_port())  # the command itself, and not a fork
    wait_for(lambda: is_healthy(server))
    seconds = time.monotonic() - began
    server.stop()
    with capsys.disabled():
        print(f"\nstart to first answer: {seconds:.2f} s")  # noqa: T201 this is what the test is for
    assert seconds < 10
