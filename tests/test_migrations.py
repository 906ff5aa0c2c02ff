"""A database that an older Seneca made goes on: nothing is lost, and what had ended stays ended."""

import time
from pathlib import Path

import httpx
import pytest

from seneca import units
from seneca.database import migrations
from seneca.tokens import Key, Keys
from tests.conftest import Person, refused, running, seneca
from tests.engines import Databases, engine

KEY = "b4zX-first-key-of-this-installation-7Kq"
CONTENTS = """
INSERT INTO properties (name, value) VALUES ('buckets', '64'), ('bucket-hash', 'crc32');
INSERT INTO accounts (id, bucket, username, email, role, created_at)
VALUES ('{alice}', {bucket}, 'alice', 'alice@example.org', 'user', {now});
INSERT INTO account_names (name_key, account_id) VALUES ('alice', '{alice}'), ('alice@example.org', '{alice}');
INSERT INTO sign_ins (bucket, account_id, id, started_at, ended_at)
VALUES ({bucket}, '{alice}', '{going_on}', {now}, NULL), ({bucket}, '{alice}', '{ended}', {now}, {now});
"""


def make_first_schema(data: Path, **values: object) -> None:
    """A database as it was before the second migration."""
    number, name, sql = migrations.known("postgres" if isinstance(engine(), Databases) else "sqlite")[0]
    ledger = f"{migrations.CREATE_LEDGER}; INSERT INTO migrations (number, name) VALUES ({number}, '{name}');"
    engine().script(data, sql + ledger + CONTENTS.format(**values))


@pytest.mark.parametrize("by", ["serve", "migrate"])
def test_sign_ins_of_the_first_schema_go_on_or_stay_ended(tmp_path: Path, by: str):
    alice, going_on, ended = (units.new_id() for _ in range(3))
    now = int(time.time() * 1000)
    make_first_schema(tmp_path, alice=alice, bucket=units.bucket_of(alice, 64), going_on=going_on, ended=ended, now=now)
    if by == "migrate":
        done = seneca("migrate", "--data", tmp_path)
        assert (done.returncode, done.stdout) == (0, f"{len(migrations.known('sqlite')) - 1} migrations applied.\n")
    keys = Keys([Key.of(KEY)])
    with running(tmp_path, SENECA_SECRET_KEY=KEY) as server, httpx.Client(base_url=server.url) as client:

        def holder(sign_in: str) -> Person:
            return Person(client, keys.issue(account_id=alice, role="user", sign_in=sign_in, now=now))

        assert holder(going_on).get("/auth/me").json()["username"] == "alice"
        refused(holder(ended).get("/auth/me"), 401, "not-signed-in")
        assert server.rows("SELECT id, live_hash, refreshed_at FROM sign_ins") == [(going_on, "", now)]
        assert holder(going_on).post("/auth/logout").status_code == 204
        refused(holder(going_on).get("/auth/me"), 401, "not-signed-in")


def test_a_new_database_and_an_upgraded_one_have_the_same_schema(tmp_path: Path):
    old, new = tmp_path / "old", tmp_path / "new"
    for data in (old, new):
        data.mkdir()
    values = {"alice": units.new_id(), "bucket": 0, "going_on": units.new_id(), "ended": units.new_id(), "now": 0}
    make_first_schema(old, **values)
    for data in (old, new):
        assert seneca("migrate", "--data", data).returncode == 0
    assert engine().tables(old) == engine().tables(new)
    for table in engine().tables(new):
        assert engine().columns(old, table) == engine().columns(new, table)
