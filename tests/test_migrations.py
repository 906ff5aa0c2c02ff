"""A database that an older Seneca made goes on: nothing is lost, and what had ended stays ended."""

import os
import time
import unicodedata
from pathlib import Path

import httpx
import pytest

from seneca.auth.access_tokens import issue
from seneca.auth.signing_keys import SigningKey, SigningKeys
from seneca.common.ids import bucket_of, new_id
from seneca.database import ForeignKeyViolation, migrations, open_database
from tests.helpers.accounts import Person
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.engines import Databases, engine
from tests.helpers.server import running

pytestmark = pytest.mark.old_schema

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
    ledger = f"{migrations.CREATE_MIGRATIONS_TABLE}; INSERT INTO migrations (number, name) VALUES ({number}, '{name}');"
    engine().script(data, sql + ledger + CONTENTS.format(**values))


@pytest.mark.parametrize("by", ["serve", "migrate"])
def test_sign_ins_of_the_first_schema_go_on_or_stay_ended(tmp_path: Path, by: str):
    alice, going_on, ended = (new_id() for _ in range(3))
    now = int(time.time() * 1000)
    make_first_schema(tmp_path, alice=alice, bucket=bucket_of(alice, 64), going_on=going_on, ended=ended, now=now)
    if by == "migrate":
        done = seneca("migrate", "--data", tmp_path)
        assert (done.returncode, done.stdout) == (0, f"{len(migrations.known('sqlite')) - 1} migrations applied.\n")
    keys = SigningKeys([SigningKey.of(KEY)])
    with running(tmp_path, SENECA_SECRET_KEY=KEY) as server, httpx.Client(base_url=server.url) as client:

        def holder(sign_in: str) -> Person:
            return Person(client, issue(keys, account_id=alice, role="user", sign_in=sign_in, now=now))

        assert holder(going_on).get("/auth/me").json()["username"] == "alice"
        refused(holder(ended).get("/auth/me"), 401, "signed-out")
        assert server.rows("SELECT id, live_hash, refreshed_at FROM sign_ins") == [(going_on, "", now)]
        assert holder(going_on).post("/auth/logout").status_code == 204
        refused(holder(going_on).get("/auth/me"), 401, "signed-out")


def test_of_a_database_that_was_restored_older_tokens_are_refused(tmp_path: Path):
    """It told the second from which on tokens are good, an hour ahead: now tokens of that generation are."""
    alice, sign_in, now = new_id(), new_id(), int(time.time() * 1000)
    make_first_schema(tmp_path, alice=alice, bucket=0, going_on=sign_in, ended=new_id(), now=now)
    sql = "INSERT INTO properties (name, value) VALUES ('tokens-not-before', '1800000000')"
    engine().script(tmp_path, sql)
    keys = SigningKeys([SigningKey.of(KEY)])
    with running(tmp_path, SENECA_SECRET_KEY=KEY) as server, httpx.Client(base_url=server.url) as client:
        for generation, status in (("", 401), ("1800000000", 200)):
            token = issue(keys, account_id=alice, role="user", sign_in=sign_in, now=now, generation=generation)
            assert Person(client, token).get("/auth/me").status_code == status


def test_an_interrupted_migration_begins_again(tmp_path: Path):
    make_first_schema(tmp_path, alice=new_id(), bucket=0, going_on=new_id(), ended=new_id(), now=0)
    announced: list[str] = []

    def interrupt(text: str) -> None:
        announced.append(text)
        if text.startswith("Migration 8 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_database(engine().url(tmp_path), announce=interrupt)
    assert [text.split(" (")[0] for text in announced] == [f"Migration {number}" for number in (2, 4, 5, 6, 7, 8)]
    assert engine().rows(tmp_path, "SELECT number FROM migrations") == [(1,)]
    open_database(engine().url(tmp_path)).close()
    assert engine().rows(tmp_path, "SELECT max(number) FROM migrations") == [(migrations.known("sqlite")[-1][0],)]


def test_a_new_database_and_an_upgraded_one_have_the_same_schema(tmp_path: Path):
    old, new = tmp_path / "old", tmp_path / "new"
    for data in (old, new):
        data.mkdir()
    values = {"alice": new_id(), "bucket": 0, "going_on": new_id(), "ended": new_id(), "now": 0}
    make_first_schema(old, **values)
    for data in (old, new):
        assert seneca("migrate", "--data", data).returncode == 0
    assert engine().tables(old) == engine().tables(new)
    for table in engine().tables(new):
        assert engine().columns(old, table) == engine().columns(new, table)


def test_rows_of_an_account_refer_to_it_by_bucket_after_the_upgrade(tmp_path: Path):
    alice, now = new_id(), int(time.time() * 1000)
    bucket = bucket_of(alice, 64)
    make_first_schema(tmp_path, alice=alice, bucket=bucket, going_on=new_id(), ended=new_id(), now=now)
    database = open_database(engine().url(tmp_path))
    engine().check(tmp_path)
    put = "INSERT INTO passwords (bucket, account_id, hash) VALUES (:bucket, :id, '')"
    with pytest.raises(ForeignKeyViolation), database.write_transaction() as tx:
        tx.execute(put, bucket=(bucket + 1) % 64, id=alice)
    with database.write_transaction() as tx:
        tx.execute(put, bucket=bucket, id=alice)
    with database.write_transaction() as tx:
        tx.execute("DELETE FROM account_names")
    with pytest.raises(ForeignKeyViolation), database.write_transaction() as tx:
        tx.execute("DELETE FROM accounts WHERE id = :id", id=alice)
    database.close()


NAMES = """
INSERT INTO properties (name, value) VALUES ('buckets', '64'), ('bucket-hash', 'crc32');
INSERT INTO accounts (id, bucket, username, email, role, created_at) VALUES {accounts};
INSERT INTO account_names (name_key, account_id) VALUES {names};
INSERT INTO courses (id, title, qualification, topics, search_key, created_at) VALUES {courses};
"""
ZERO_WIDTH, SOFT_HYPHEN, ACUTE = "\u200b", "\u00ad", "\u0301"


def old_key(name: str) -> str:
    """How names were compared before the sixth migration."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def row(*values: object) -> str:
    return "(" + ", ".join(repr(value) if isinstance(value, int) else f"'{value}'" for value in values) + ")"


def test_names_are_compared_as_new_ones_and_two_that_are_one_now_are_distinguished(tmp_path: Path):
    alice, bob, mallory, carol, dora, zoe = ids = sorted(new_id() for _ in range(6))
    names = {
        alice: ("ali" + ZERO_WIDTH + "ce", "first@example.org"),
        bob: ("ALICE", "second@example.org"),
        mallory: (f"carol{SOFT_HYPHEN}@example.org", "third@example.org"),  # an address that is carol's
        carol: ("carol", "carol@example.org"),
        dora: ("Dór" + SOFT_HYPHEN + "a", "fourth@example.org"),
        zoe: ("zoe", "zoe@example.org"),
    }
    titles = {"c1": f"Cafe{ACUTE}", "c2": f"Bio{ACUTE}", "c3": "Bió", "c4": " Art "}
    topics = f'[{{"topic":" Le{ACUTE}s ","modules":["a ","b"]}}]'
    twice = f'[{{"topic":"é","modules":[]}},{{"topic":"e{ACUTE}","modules":[]}}]'
    number, name, sql = migrations.known("postgres" if isinstance(engine(), Databases) else "sqlite")[0]
    ledger = f"{migrations.CREATE_MIGRATIONS_TABLE}; INSERT INTO migrations (number, name) VALUES ({number}, '{name}');"
    contents = NAMES.format(
        accounts=", ".join(row(id_, bucket_of(id_, 64), *names[id_], "user", number) for number, id_ in enumerate(ids)),
        names=", ".join(row(old_key(each), id_) for id_ in ids for each in names[id_]),
        courses=", ".join(
            row(id_, title, "Q", twice if id_ == "c4" else topics, old_key(title) + "\nq", 0)
            for id_, title in titles.items()
        ),
    )
    engine().script(tmp_path, sql + ledger + contents)
    done = seneca("migrate", "--data", tmp_path)
    assert done.returncode == 0, done.stderr
    warnings = [
        line for line in done.stderr.splitlines() if line.startswith("Warning: The ")
    ]  # PostgreSQL here is not durable, and says so
    assert [
        (sorted(id_ for id_ in ids if id_ in line), f"Only {winner}" in line)
        for line, winner in zip(warnings, (alice, carol), strict=False)
    ] == [([alice, bob], True), ([mallory, carol], True)]
    assert "courses c3 and c2 have the same title" in warnings[2]
    holders = dict(engine().rows(tmp_path, "SELECT name_key, account_id FROM account_names"))
    assert holders == {
        "alice": alice,
        "carol": carol,
        "dóra": dora,
        "zoe": zoe,
        **{names[id_][1]: id_ for id_ in ids},
    }
    found = {row[0]: row[1:] for row in engine().rows(tmp_path, "SELECT id, title, topics, search_key FROM courses")}
    normal = '[{"topic":"Lés","modules":["a","b"]}]'
    assert found == {
        "c1": ("Café", normal, "café\nq"),
        "c2": (f"Bio{ACUTE}", normal, "bió\nq"),
        "c3": ("Bió", normal, "bió\nq"),
        "c4": ("Art", twice, "art\nq"),
    }
    again = seneca("migrate", "--data", tmp_path)
    assert (again.stdout, "Warning: The " in again.stderr) == ("The schema is up to date.\n", False)


STUDY = """
INSERT INTO properties (name, value) VALUES ('buckets', '64'), ('bucket-hash', 'crc32');
INSERT INTO accounts (id, bucket, username, email, role, created_at) VALUES ('{alice}', {bucket}, 'alice', 'alice@example.org', 'user', 0);
INSERT INTO account_names (name_key, account_id) VALUES ('alice', '{alice}'), ('alice@example.org', '{alice}');
INSERT INTO courses (id, title, qualification, topics, search_key, created_at) VALUES ('{course}', 'C', 'Q', '[]', 'c', 0);
INSERT INTO sessions (bucket, learner_id, id, course_id, course_title, topic, started_at, ended_at, results, points, bytes) VALUES {sessions};
INSERT INTO results (bucket, learner_id, session_id, module_name, position, quiz, quiz_score)
VALUES ({bucket}, '{alice}', '{first}', 'M', 0, '{part}', 5000);
INSERT INTO learner_totals (bucket, learner_id, course_id, sessions, results, points, milliseconds, names, name_changes)
VALUES ({bucket}, '{alice}', '{course}', {count}, 1, 5000, {duration}, 1, 1);
INSERT INTO learner_names (bucket, learner_id, course_id, module_name, results) VALUES ({bucket}, '{alice}', '{course}', 'M', 1);
INSERT INTO course_totals (course_id, bucket, sessions, results, points, milliseconds, name_changes)
VALUES ('{course}', {bucket}, {count}, 1, 5000, {duration}, 1);
INSERT INTO course_names (course_id, module_name, bucket, learners) VALUES ('{course}', 'M', {bucket}, 1);
"""
MINUTE = 60_000


def test_older_sessions_get_their_active_time_and_their_day(tmp_path: Path):
    alice, course, *ids = sorted(new_id() for _ in range(6))
    part = '{"answers":[],"isCompleted":true,"score":5}'
    ends = (30 * MINUTE, 2 * MINUTE, 0, None)
    starts = range(0, 4 * MINUTE, MINUTE)
    sessions = [
        f"({bucket_of(alice, 64)}, '{alice}', '{id_}', '{course}', 'C', 'T', {start}, "
        f"{'NULL' if length is None else start + length}, {result}, {5000 * result}, {(1 + len(part)) * result})"
        for id_, start, length, result in zip(ids, starts, ends, (1, 0, 0, 0), strict=True)
    ]
    contents = STUDY.format(
        alice=alice,
        bucket=bucket_of(alice, 64),
        course=course,
        first=ids[0],
        part=part,
        sessions=", ".join(sessions),
        count=len(ids),
        duration=32 * MINUTE,
    )
    kind = "postgres" if isinstance(engine(), Databases) else "sqlite"
    number, name, sql = migrations.known(kind)[0]
    ledger = f"{migrations.CREATE_MIGRATIONS_TABLE}; INSERT INTO migrations (number, name) VALUES ({number}, '{name}');"
    engine().script(tmp_path, sql + ledger + contents)
    done = seneca("migrate", "--data", tmp_path, env=os.environ | {"SENECA_TIME_ZONE": "America/New_York"})
    assert done.returncode == 0, done.stderr
    assert (
        "Migration 8 (study) of a database with 4 sessions. If it is interrupted, it continues where it was.\n"
        in done.stderr
    )
    assert "Migration 8 (study) fills sessions: 4 of 4, " in done.stderr
    columns = "id, ended_by, idle_since, activity, active_milliseconds"
    assert engine().rows(tmp_path, f"SELECT {columns} FROM sessions ORDER BY id") == [
        (ids[0], "learner", 0, None, 5 * MINUTE),
        (ids[1], "learner", MINUTE, None, 2 * MINUTE),
        (ids[2], "learner", 2 * MINUTE, None, 0),
        (ids[3], None, 3 * MINUTE, None, 0),
    ]
    for table in ("learner_totals", "course_totals"):
        assert engine().rows(tmp_path, f"SELECT active_milliseconds FROM {table}") == [(7 * MINUTE,)]
    assert engine().rows(tmp_path, "SELECT quiz_at FROM results") == [(None,)]
    sums = "study_day, sessions, results, scores, points, milliseconds, active_milliseconds, learners"
    for table in ("course_days", "days"):  # midnight in UTC, the evening before in New York, on the last day of 1969
        assert engine().rows(tmp_path, f"SELECT {sums} FROM {table}") == [
            (-1, 4, 1, 1, 5000, 32 * MINUTE, 7 * MINUTE, 1)
        ]
    for table in ("course_weeks", "weeks"):
        assert engine().rows(tmp_path, f"SELECT study_week, learners FROM {table}") == [(-3, 1)]
    verified = seneca("stats", "verify", "--data", tmp_path)
    assert verified.returncode == 0, verified.stdout
