"""Signing keys: one for all servers of a database, and how they rotate."""

import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx

from seneca.database import open_database
from seneca.errors import Unusable
from seneca.tokens import Key, Keys, agree, forget
from tests.conftest import Person, free_port, running, seneca, sign_up
from tests.engines import engine

OLD, NEW = secrets.token_hex(32), secrets.token_hex(32)


def refusal(data: Path, **environment: str) -> str:
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
    said = refusal(tmp_path, SENECA_SECRET_KEY=NEW)
    assert OLD not in said
    assert NEW not in said
    starts(tmp_path, SENECA_SECRET_KEY=f"{NEW},{OLD}")
    starts(tmp_path, SENECA_SECRET_KEY=NEW)
    refusal(tmp_path, SENECA_SECRET_KEY=OLD)


def test_a_token_of_the_old_key_holds_while_the_keys_rotate(tmp_path: Path):
    with running(tmp_path, SENECA_SECRET_KEY=OLD) as server, httpx.Client(base_url=server.url) as client:
        tara = sign_up(client, "tara", role="admin")
    with running(tmp_path, SENECA_SECRET_KEY=f"{NEW},{OLD}") as server, httpx.Client(base_url=server.url) as client:
        assert Person(client, tara.token).get("/auth/me").status_code == 200
    with running(tmp_path, SENECA_SECRET_KEY=NEW) as server, httpx.Client(base_url=server.url) as client:
        assert Person(client, tara.token).get("/auth/me").status_code == 401


def test_of_servers_that_start_at_once_with_different_keys_one_starts(tmp_path: Path):
    database = open_database(engine().url(tmp_path))
    for _ in range(10):
        barrier = Barrier(4)

        def start(text: str) -> bool:
            keys = Keys([Key.of(text)])
            barrier.wait()  # noqa: B023
            try:
                agree(database, keys)
            except Unusable:
                return False
            return True

        with ThreadPoolExecutor(4) as threads:
            assert sum(threads.map(start, [secrets.token_hex(32) for _ in range(4)])) == 1
        with database.writing() as tx:
            forget(tx)
    database.close()


def test_a_lost_key_can_be_replaced(tmp_path: Path):
    starts(tmp_path)
    (tmp_path / "secret-key").unlink()
    assert "seneca admin forget-keys" in refusal(tmp_path)
    done = seneca("admin", "forget-keys", "--data", tmp_path)
    assert done.returncode == 0, done.stderr
    starts(tmp_path)


def test_a_second_server_of_a_database_needs_the_first_ones_key(tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    with running(first) as server, httpx.Client(base_url=server.url) as client:
        tara = sign_up(client, "tara", role="admin")
        url = engine().url(first)
        refusal(second, SENECA_DATABASE_URL=url)
        shutil.copy(first / "secret-key", second / "secret-key")
        with running(second, SENECA_DATABASE_URL=url) as other, httpx.Client(base_url=other.url) as there:
            assert Person(there, tara.token).get("/auth/me").status_code == 200
