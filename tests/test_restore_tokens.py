"""Tokens and seneca restore: none that was issued before it is good afterwards, and all that are issued afterwards are."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.accounts import Person, make_course, sign_in, sign_up
from tests.helpers.assertions import refused
from tests.helpers.engines import engine
from tests.helpers.server import PASSWORD, Server, running
from tests.test_backup import back_up, client_of, put_back
from tests.test_clock import HOUR, Clock

EVERYWHERE = 5.0
"""Seconds in which every worker knows of a restore."""


@contextmanager
def restoring(file: Path, data: Path) -> Iterator[None]:
    """The real command, which has read its arguments and waits for the backup's bytes while the block runs."""
    pipe = file.with_name("pipe")
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "seneca", "restore", str(pipe), "--yes", "--data", str(data)]
    environment = os.environ | engine().environment(data)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        with pipe.open("wb") as content:  # returns once the command has opened it
            time.sleep(1.1)  # tokens tell the second of their issue
            yield
            content.write(file.read_bytes())
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said


def statuses(server: Server, method: str, path: str, token: str, **options: object) -> set[int]:
    """What every worker answers: each connection goes to one of them."""
    found = set()
    for _ in range(16):
        with client_of(server) as client:
            found.add(Person(client, token).request(method, path, **options).status_code)
    return found


@pytest.mark.sqlite
@pytest.mark.parametrize("workers", ["1", "2"])
def test_tokens_that_were_issued_while_a_backup_was_proven(tmp_path: Path, workers: str):
    """They are as bad as older ones, whether they were revoked since, as an erased administrator's is, or not."""
    data, file = tmp_path / "data", tmp_path / "backup"
    with running(data, "--workers", workers) as server, client_of(server) as client:
        tara = sign_up(client, "tara", role="admin")
        alice, eve = sign_up(client, "alice"), sign_up(client, "eve", role="admin", by=tara)
        course = make_course(tara)
        back_up(data, file)
        with restoring(file, data):
            signed_out, going_on, erased = (sign_in(client, p.username, id=p.id) for p in (alice, alice, eve))
            assert signed_out.post("/auth/logout").status_code == 204
            assert tara.delete(f"/users/{eve.id}").status_code == 204
        time.sleep(EVERYWHERE)
        for person in (alice, signed_out, going_on, erased):
            assert statuses(server, "GET", "/auth/me", str(person.token)) == {401}
        assert statuses(server, "GET", "/users", str(erased.token)) == {401}
        body = {"courseTitle": "Evil", "qualification": "Q", "topicsAndModules": []}
        assert statuses(server, "POST", "/course/create", str(erased.token), json=body) == {401}
        again = sign_in(client, tara.username)
        assert statuses(server, "GET", f"/course/{course['id']}", str(again.token)) == {200}
        refused(again.get(f"/users/{eve.id}"), 404, "account-not-found")
        assert len(server.rows("SELECT 1 FROM revocations")) >= 2  # of the database that was replaced


@pytest.mark.sqlite
def test_a_worker_that_has_not_heard_of_the_restore_refuses_nobody_for_good(tmp_path: Path):
    """Who signs in right after a restore is let in by every worker, at the latest when they try again a second later."""
    data, file = tmp_path / "data", tmp_path / "backup"
    with running(data, "--workers", "2") as server, client_of(server) as client:
        tara = sign_up(client, "tara", role="admin")
        back_up(data, file)
        put_back(file, data)
        token = str(sign_in(client, tara.username).token)
        assert statuses(server, "GET", "/auth/me", token) <= {200, 503}
        time.sleep(1)
        assert statuses(server, "GET", "/auth/me", token) == {200}


def test_a_restore_made_while_the_clock_was_ahead_locks_nobody_out(tmp_path: Path):
    """Nor does it let an old token in, not even one that was issued while the clock was still ahead."""
    data, file, clock = tmp_path / "data", tmp_path / "backup", Clock(tmp_path / "clock")
    with running(data, **clock.environment) as server, client_of(server) as client:
        tara = sign_up(client, "tara", role="admin")
        back_up(data, file)
        clock.move(2 * HOUR)
        ahead = sign_in(client, tara.username)
    clock.move(HOUR)
    put_back(file, data, **clock.environment)
    clock.move(0)
    with running(data, **clock.environment) as server, client_of(server) as client:
        for old in (tara, ahead):
            refused(Person(client, old.token).get("/auth/me"), 401, "signed-out")
        assert sign_in(client, tara.username).get("/users").status_code == 200


def test_two_restores_of_one_backup_are_two_generations(tmp_path: Path):
    data, file = tmp_path / "data", tmp_path / "backup"
    with running(data) as server, client_of(server) as client:
        tara = sign_up(client, "tara", role="admin")
        back_up(data, file)
    for _ in range(2):
        put_back(file, data)
        with running(data) as server, client_of(server) as client:
            refused(Person(client, tara.token).get("/auth/me"), 401, "signed-out")
            tara.token = sign_in(client, tara.username).token
            answer = client.post("/auth/login", json={"username": tara.username, "password": PASSWORD})
            tokens = client.post("/auth/refresh", json={"refreshToken": answer.json()["refreshToken"]}).json()
            assert Person(client, tokens["token"]).get("/auth/me").status_code == 200
