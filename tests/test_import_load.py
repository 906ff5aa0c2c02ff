"""seneca import FILE: very many sessions, beside a running server."""

import asyncio
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from seneca import accounts
from seneca.database.postgres.transaction import LOCK_ATTEMPTS, LOCK_PAUSE_SECONDS
from seneca.exchange.importer import ACCOUNTS_TABLE, INDEXES, MIN_SESSIONS_FOR_BULK_LOAD, TABLES
from tests.helpers.accounts import Person, make_course, sign_in, sign_up
from tests.helpers.commands import seneca
from tests.helpers.engines import Databases, Postgres, engine
from tests.helpers.exchange import (
    ALICE_ID,
    BCRYPT,
    COURSE_ID,
    Line,
    Shell,
    Store,
    course,
    module,
    session,
    stored,
    user,
)
from tests.helpers.names import unique
from tests.helpers.server import running

KEPT = {
    "sqlite": "SELECT name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name",
    "postgres": """
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 2
    """,
}


def kept(data: Path) -> list[tuple[Any, ...]]:
    """Indexes, and on PostgreSQL constraints."""
    return engine().rows(data, KEPT["postgres" if isinstance(engine(), Databases) else "sqlite"])


def load(learners: int = 50) -> tuple[list[Line], list[Line]]:
    """A course, an administrator and learners, and just as many sessions as make it a load."""
    chance = random.Random(1)
    people = [user(id=str(UUID(int=n)), username=f"learner-{n}") for n in range(learners)]
    some = [
        session(
            id=str(UUID(int=chance.getrandbits(128), version=4)),
            userId=chance.choice(people)["id"],
            modulesStats=[module(f"Module {chance.randrange(9)}", adaptive=None)],
        )
        for _ in range(MIN_SESSIONS_FOR_BULK_LOAD)
    ]
    return [course(), user(username="tara", role="admin", passwordHash=BCRYPT), *people], some


def test_a_load_is_seen_at_once_by_a_running_server(tmp_path: Path):
    people, some = load()
    shell = Shell(tmp_path)
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        assert shell.load(*people)[0] == 0
        tara = sign_in(client, "tara")
        before = kept(tmp_path)
        assert tara.get(f"/stats/sessions/{COURSE_ID}").json() == []
        assert tara.get(f"/session/{some[7]['id']}").status_code == 404
        status, said = shell.load(*some)
        assert status == 0, said
        assert tara.get(f"/session/{some[7]['id']}").json()["userId"] == some[7]["userId"]
        page = tara.get(f"/stats/sessions/{COURSE_ID}", params={"limit": 1000}).json()
        assert [entry["id"] for entry in page] == sorted(line["id"] for line in some)[:1000]
        statistics = tara.get(f"/stats/courses/{COURSE_ID}").json()
        assert statistics["sessionTime"]["timeInMinutes"] == 30 * MIN_SESSIONS_FOR_BULK_LOAD
        assert statistics["moduleAmount"]["totalModulesStudied"] == 9
        assert kept(tmp_path) == before
        make_course(tara)  # a write goes on as before
    assert shell.true()
    engine().check(tmp_path)


def test_a_load_that_fails_leaves_all_as_it_was(tmp_path: Path):
    people, some = load()
    shell = Shell(tmp_path)
    assert shell.load(*people)[0] == 0
    before = kept(tmp_path)
    status, said = shell.load(*some, session(userId=ALICE_ID, courseId=ALICE_ID))
    assert (status, f"line {MIN_SESSIONS_FOR_BULK_LOAD + 1}: courseId: does not exist" in said) == (1, True)
    assert kept(tmp_path) == before
    assert shell.counts() == (1, 51, 0, 0, 0, 0)
    assert seneca("stats", "verify", "--data", tmp_path).returncode == 0


def test_a_load_into_an_empty_database_is_whole(tmp_path: Path):
    people, some = load()
    shell = Shell(tmp_path)
    assert seneca("migrate", "--data", tmp_path).returncode == 0
    before = kept(tmp_path)
    status, said = shell.load(*people, *some, session(userId=COURSE_ID))
    assert (status, f"line {len(people) + MIN_SESSIONS_FOR_BULK_LOAD + 1}: userId: does not exist" in said) == (1, True)
    assert (kept(tmp_path), shell.counts()) == (before, (0,) * 6)
    status, said = shell.load(*people, *some)
    assert status == 0, said
    assert (kept(tmp_path), shell.counts()[2]) == (before, MIN_SESSIONS_FOR_BULK_LOAD)
    assert shell.true()
    engine().check(tmp_path)


# -- who is shut out of what, on PostgreSQL ----------------------------------------------------


@pytest.mark.postgres
def test_tables_are_locked_only_where_nobody_misses_them(tmp_path: Path):
    def prepared(store: Store) -> bool:
        with store.database.write_transaction() as tx:
            return tx.prepare_bulk_load(TABLES, empty=(ACCOUNTS_TABLE, *TABLES))

    cluster = engine()
    assert isinstance(cluster, Postgres)
    with stored(tmp_path) as store:
        assert prepared(store)
        with psycopg.connect(cluster.url(tmp_path)) as reader:
            reader.execute("SELECT 1 FROM results LIMIT 1")
            begun = time.monotonic()
            assert not prepared(store)  # it waits for nobody, or both would wait without end
            assert time.monotonic() - begun < LOCK_ATTEMPTS * LOCK_PAUSE_SECONDS + 5
        store.load(user())
        assert not prepared(store)


@pytest.mark.postgres
def test_readers_get_answers_while_an_import_stores(tmp_path: Path):
    """As much as makes a load, into a database that has accounts and a course, but no session yet."""
    people, some = load()
    shell = Shell(tmp_path)
    answers: Counter[tuple[str, int]] = Counter()
    done = threading.Event()
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        assert shell.load(*people)[0] == 0
        tara = sign_in(client, "tara")
        alice = sign_up(client, "alice")

        def read(who: Person, path: str) -> None:
            while not done.is_set():
                answers[path, who.get(path).status_code] += 1
                time.sleep(0.05)

        def create_and_delete() -> None:
            while not done.is_set():
                title = unique("Course")
                body = {"courseTitle": title, "qualification": "Q", "topicsAndModules": []}
                answers["create", tara.post("/course/create", body).status_code] += 1
                answers["delete", tara.delete(f"/course/{title}").status_code] += 1

        courses = f"/stats/courses/{COURSE_ID}"
        jobs = [(tara, "/course/Mathematics"), (alice, "/auth/me"), (tara, courses), (alice, "/stats/user/sessions")]
        threads = [threading.Thread(target=read, args=job) for job in jobs]
        threads.append(threading.Thread(target=create_and_delete))
        for thread in threads:
            thread.start()
        try:
            status, said = shell.load(*some)
        finally:
            done.set()
            for thread in threads:
                thread.join()
    assert status == 0, said
    assert {status for (path, status) in answers if path.startswith("/")} == {200}, answers
    assert {status for (path, status) in answers if not path.startswith("/")} <= {201, 204, 404, 503}, answers
    assert shell.true()


@pytest.mark.postgres
def test_an_administrator_who_registers_during_an_import_does_not_end_it(tmp_path: Path):
    def register() -> None:
        async def write() -> None:
            await other.database.write(
                accounts.create,
                id=ALICE_ID,
                username="alice",
                email="alice@example.org",
                role="admin",
                password_hash=None,
                created_at=0,
            )

        asyncio.run(write())

    with stored(tmp_path) as store, stored(tmp_path) as other:
        with ThreadPoolExecutor(1) as threads:
            with store.database.write_transaction() as tx:
                registered = threads.submit(register)
                time.sleep(1.5)  # it waits for the accounts, and has looked for a deadlock (deadlock_timeout)
                accounts.create(
                    tx,
                    id=COURSE_ID,
                    username="tara",
                    email="tara@example.org",
                    role="admin",
                    password_hash=None,
                    created_at=0,
                )
            registered.result()
        assert store.rows("SELECT value FROM properties WHERE name = 'administrator-existed'") == [(COURSE_ID,)]
        assert store.rows("SELECT count(*) FROM accounts") == [(2,)]


@pytest.mark.postgres
def test_readers_of_a_course_do_not_wait_for_a_load_into_an_empty_database(tmp_path: Path):
    cluster = engine()
    assert isinstance(cluster, Postgres)
    with stored(tmp_path) as store, store.database.write_transaction() as tx:
        assert tx.prepare_bulk_load(TABLES, empty=(ACCOUNTS_TABLE, *TABLES))
        with tx.bulk_load(TABLES, INDEXES), psycopg.connect(cluster.url(tmp_path)) as reader:
            reader.execute("SET lock_timeout = '1s'")
            for table in ("courses", "accounts", "account_names", "course_totals", "course_names", "learner_totals"):
                assert reader.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


@pytest.mark.postgres
def test_a_load_waits_for_no_reader_where_somebody_has_a_session(tmp_path: Path):
    people, some = load()
    shell = Shell(tmp_path)
    assert shell.load(*people, some[0])[0] == 0
    cluster = engine()
    assert isinstance(cluster, Postgres)
    with psycopg.connect(cluster.url(tmp_path)) as reader:
        reader.execute("SELECT 1 FROM sessions, results LIMIT 1")
        status, said = shell.load(*some)
        assert status == 0, said
    assert shell.counts()[2] == MIN_SESSIONS_FOR_BULK_LOAD
