"""After an erasure, and what docs/privacy.md says to do then, nobody finds in the database's files what was erased."""

import re
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.helpers.accounts import make_course, sign_up
from tests.helpers.commands import seneca
from tests.helpers.engines import Postgres, engine, name_of
from tests.helpers.erasure import erase_self
from tests.helpers.names import unique
from tests.helpers.server import running
from tests.helpers.wire import module

pytestmark = pytest.mark.postgres

PRIVACY = (Path(__file__).parent.parent / "docs" / "privacy.md").read_text()


def test_after_the_documented_vacuum_nothing_is_left(tmp_path: Path):
    (statement,) = re.findall(r"```sql\n(.*?);\n```", PRIVACY, re.DOTALL)
    postgres = engine()
    assert isinstance(postgres, Postgres)
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara = sign_up(client, "tara", role="admin")
        made, word = make_course(tara), unique("only-alice-studied-this")
        alice, stays = sign_up(client, "alice-to-be-erased"), sign_up(client, "bob-who-stays")
        alice.update(alice.start(made), module(word, 1))
        assert erase_self(alice).status_code == 204
        with psycopg.connect(postgres.url(tmp_path), autocommit=True) as connection:
            connection.execute(statement)
            connection.execute("CHECKPOINT")
            ((oid,),) = connection.execute(
                "SELECT oid FROM pg_database WHERE datname = %s", (name_of(tmp_path),)
            ).fetchall()
        files = [
            file.read_bytes() for file in (postgres.directory / "db" / "base" / str(oid)).iterdir() if file.is_file()
        ]
        assert any(stays.username.encode() in raw for raw in files)
        assert [w for w in (alice.username, word) if any(w.encode() in raw for raw in files)] == []


def test_the_command_says_whose_business_it_is(tmp_path: Path):
    assert seneca("migrate", "--data", tmp_path).returncode == 0
    done = seneca("vacuum", "--data", tmp_path)
    assert (done.returncode, "VACUUM (FULL)" in done.stderr) == (1, True), done.stderr
