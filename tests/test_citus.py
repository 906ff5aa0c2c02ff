"""The schema and the statements keep to what Citus asks, so that a database can be distributed when it must be.

Citus itself is not needed here: the rules are its documentation's, the facts are the catalog's of a PostgreSQL.
"""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import apsw
import psycopg
import pytest

from seneca.database import open_database
from seneca.database.migrations import known
from seneca.database.postgres.citus import (
    DISTRIBUTED,
    FOREIGN_KEYS,
    LOCAL,
    REFERENCE,
    add_foreign_keys,
    drop_foreign_keys,
)
from seneca.errors import CommandError
from seneca.exchange.importer import USERS_PER_BATCH
from tests.helpers.commands import seneca as shell
from tests.helpers.engines import Databases, engine
from tests.helpers.exchange import BCRYPT, CHARLIE_ID, course, session, stored, user
from tests.helpers.server import Server
from tests.helpers.statements import statements

KEYS = """
SELECT c.conrelid::regclass::text, c.contype::text, c.confrelid::regclass::text,
    ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k (number, place)
          JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.place)
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE n.nspname = 'public' AND c.contype IN ('p', 'u', 'f')
"""
UNIQUE_INDEXES = """
SELECT i.indrelid::regclass::text,
    ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int[]) k (number)
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indisunique AND n.nspname = 'public'
"""
TRIGGERS = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
GENERATED = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public' AND (is_identity = 'YES' OR column_default IS NOT NULL OR is_generated <> 'NEVER')
"""


@pytest.mark.postgres
def test_every_table_has_its_place(server: Server):
    assert sorted(engine().tables(server.data)) == sorted((*LOCAL, *REFERENCE, *DISTRIBUTED))


@pytest.mark.postgres
def test_every_key_of_a_distributed_table_has_the_bucket(server: Server):
    seen = set()
    for table, kind, referred, columns in server.rows(KEYS):
        if table in DISTRIBUTED and not (kind == "f" and referred in REFERENCE):
            assert "bucket" in columns, (table, kind, columns)
            seen.add(table)
        if table in REFERENCE and kind == "f":
            assert referred in REFERENCE, "a reference table may refer to nothing that is distributed"
        if kind == "f" and referred in DISTRIBUTED:
            assert columns[0] == "bucket", (table, columns)
    assert seen == set(DISTRIBUTED)
    for table, columns in server.rows(UNIQUE_INDEXES):
        assert table not in DISTRIBUTED or "bucket" in columns, (table, columns)


@pytest.mark.postgres
def test_nothing_is_made_by_the_database(server: Server):
    assert server.rows(TRIGGERS) == []
    assert server.rows(GENERATED) == []


def test_what_is_referred_to_is_distributed_first():
    order = [*REFERENCE, *DISTRIBUTED]
    ddl = "".join(sql for _, _, sql in known("postgres"))
    for made in re.finditer(r"CREATE TABLE (\w+) \((.*?)\n\)", ddl, re.DOTALL):
        for referred in re.findall(r"REFERENCES (\w+)", made[2]):
            assert order.index(referred) < order.index(made[1])


# -- statements --------------------------------------------------------------------------------

WHOLE = {
    "seneca.backup": "copies everything, by hand",
    "seneca.exchange": "moves everything, by hand",
    "seneca.stats.verification": "counts everything again, by hand",
    "seneca.privacy.retention": "looks for old sessions among everybody's, by hand; removes them learner by learner",
}
"""Modules that are about everybody, and what they do."""
SPANNING = {
    "seneca.audit.PAGE": "an administrator reads what was done to anybody",
    "seneca.audit.ABOUT": "what was done by somebody stands with those it was done to",
    "seneca.stats.course_names.COUNT": "a course's names are a sum over every bucket",
    "seneca.stats.course_names.ADD_NEW_TO_COURSE": "a name is new to the course where no bucket has it",
    "seneca.stats.course_names.IN_COURSE": "asked of a course that is nearly full",
    "seneca.stats.course_names.IN_OTHER_BUCKETS": "likewise, when an import brings names, or an erasure takes the last in a bucket",
    "seneca.stats.course_names.NAMES": "an import compares with all names of a course that is nearly full",
    "seneca.privacy.erased_accounts.ALL": "a restore erases everybody again",
    "seneca.sessions.queries.OF_ANYONE": "an administrator reads a session by its id alone",
    "seneca.sessions.queries.TWO_WITH_ID": "an administrator reads or corrects a session by its id alone",
    "seneca.sessions.lists.SESSION_WITH_ID": "an administrator looks for a session by its id",
    "seneca.sessions.time_zone.ANY_SESSION": "the time zone is fixed while anybody has a session",
    "seneca.sessions.timeouts.CANDIDATES": "a worker looks for forgotten sessions of anybody",
    "seneca.database.migrations.COUNT_SESSIONS": "a migration says how much it migrates",
    "seneca.auth.sign_ins.END_ALL_SIGN_INS": "once, after a backup was restored",
    "seneca.auth.sign_ins.ENDED": "every worker reads which sign-ins have ended, of all accounts, every two seconds",
    "seneca.auth.sign_ins.REVOCATIONS": "once, when a backup takes a database's place",
    "seneca.stats.queries.COURSE_TOTALS": "a course's statistic is a sum over every bucket",
    "seneca.stats.queries.COURSE_NAMES": "and so are its names",
    "seneca.stats.days.COURSE_BY_DAY": "and its days",
    "seneca.stats.days.COURSE_LEARNERS_BY_WEEK": "and its weeks",
}
"""Other statements that are not one learner's, and why."""


def unbound() -> Iterator[str]:
    """The statements that name a distributed table and no bucket."""
    for name, sql in statements().items():
        if any(re.search(rf"\b{table}\b", sql) for table in DISTRIBUTED):
            # the range of a backfill is of one bucket
            bound = re.search(r"bucket = (:bucket|a\.bucket)|\{range\}", sql) or re.search(
                r"VALUES\s*\([^)]*:bucket", sql
            )
            if not bound:
                yield name


def test_every_statement_is_bound_to_one_bucket_or_says_why_not():
    spanning = {name for name in unbound() if not name.startswith(tuple(f"{module}." for module in WHOLE))}
    assert spanning == set(SPANNING)


def test_no_statement_asks_the_server_for_time_chance_or_numbers():
    forbidden = re.compile(
        r"(?<!:)\b(now|random|nextval|gen_random_uuid|current_timestamp|clock_timestamp)\b", re.IGNORECASE
    )
    for name, sql in statements().items():
        assert not forbidden.search(sql), name


# -- the order of statements in an import ------------------------------------------------------


def named_tables(sql: str) -> set[str]:
    return {table for table in (*REFERENCE, *DISTRIBUTED) if re.search(rf"\b{table}\b", sql)}


def writes_a_reference_table(sql: str) -> bool:
    return bool(re.match(rf"\s*(INSERT INTO|UPDATE|DELETE FROM) ({'|'.join(REFERENCE)})\b", sql))


def spans_shards(sql: str, bindings: Any) -> bool:
    """Whether a statement names a distributed table, and not one bucket."""
    if not named_tables(sql) & set(DISTRIBUTED) or "bucket = :bucket" in sql:
        return False
    into = re.match(r"\s*INSERT INTO \w+\s*\(([^)]*)\)", sql)
    if into is None:
        return True
    columns = [column.strip() for column in into[1].split(",")]
    if isinstance(bindings, tuple):  # many rows
        return len(set(bindings[columns.index("bucket") :: len(columns)])) != 1
    return ":bucket" not in sql


def test_spanning_statements_are_recognised():
    rows = "INSERT INTO passwords (bucket, account_id, hash) VALUES (?, ?, ?), (?, ?, ?)"
    assert not spans_shards(rows, (1, "a", "h", 1, "b", "h"))
    assert spans_shards(rows, (1, "a", "h", 2, "b", "h"))
    assert spans_shards("SELECT 1 FROM sessions WHERE id = :id", {"id": "a"})
    assert not spans_shards("SELECT 1 FROM courses WHERE id = :id", {"id": "a"})
    assert writes_a_reference_table("\nUPDATE courses SET title = :title")
    assert not writes_a_reference_table("SELECT id FROM courses")


@pytest.mark.sqlite
@pytest.mark.parametrize("update", [False, True])
def test_an_import_writes_reference_tables_before_any_statement_that_spans_shards(tmp_path: Path, *, update: bool):
    """Citus refuses to change a reference table in a transaction that has accessed shards over several connections."""
    people = [
        user(id=str(UUID(int=n)), username=f"learner-{n}", passwordHash=BCRYPT) for n in range(USERS_PER_BATCH + 9)
    ]
    lines = [
        course(),
        *people,
        course(id=CHARLIE_ID, courseTitle="Physics"),
        *(session(id=person["id"], userId=person["id"]) for person in people[::10]),
    ]
    people[-1]["role"] = "admin"
    statements: list[tuple[str, Any]] = []

    def watch(connection: apsw.Connection) -> None:
        connection.exec_trace = lambda _cursor, sql, bindings: statements.append((sql, bindings)) or True

    with stored(tmp_path) as store:
        if update:
            store.load(*lines)
            lines = [line | {"role": "admin"} if line["kind"] == "user" else line for line in lines]
            lines = [line | {"topic": "Other"} if line["kind"] == "session" else line for line in lines]
            lines[0]["courseTitle"] = "Maths"
        apsw.connection_hooks.append(watch)
        try:
            report = store.load(*lines, update=update)
        finally:
            apsw.connection_hooks.remove(watch)
        changed = report.users.updated if update else report.users.stored
        assert changed == len(people) - update
    begun = max(number for number, (sql, _) in enumerate(statements) if sql.startswith("BEGIN IMMEDIATE"))
    statements = statements[begun:]
    reference = [number for number, (sql, _) in enumerate(statements) if writes_a_reference_table(sql)]
    written = {table for number in reference for table in named_tables(statements[number][0])}
    assert written >= {"courses", "accounts", "properties"} | (set() if update else {"account_names"})
    assert {"sessions", "results", "audit"} <= {table for sql, _ in statements for table in named_tables(sql)}
    assert [sql for sql, bindings in statements[: reference[-1]] if spans_shards(sql, bindings)] == []


# -- distributing ------------------------------------------------------------------------------


def test_a_database_without_citus_cannot_be_distributed(tmp_path: Path):
    done = shell("migrate", "--distribute", "--data", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("seneca: ")
    wanted = (
        "CREATE EXTENSION citus" if isinstance(engine(), Databases) else "SQLite is one file and cannot be distributed."
    )
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr


def foreign_keys(connection: psycopg.Connection) -> list[tuple[str, ...]]:
    return connection.execute(FOREIGN_KEYS, {"tables": [*REFERENCE, *DISTRIBUTED]}).fetchall()


@pytest.mark.postgres
def test_every_foreign_key_is_dropped_before_distributing_and_added_again_by_name(tmp_path: Path):
    url = engine().url(tmp_path)
    open_database(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        before = foreign_keys(connection)
        assert {table for table, _, _ in before} >= {"results", "sessions", "passwords", "account_names"}
        drop_foreign_keys(connection, [*REFERENCE, *DISTRIBUTED])
        assert foreign_keys(connection) == []
    with psycopg.connect(url, autocommit=True) as connection:  # after an interruption, another process
        drop_foreign_keys(connection, [*DISTRIBUTED])
        table, name, definition = before[0]
        connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}".encode())
        add_foreign_keys(connection)
        assert foreign_keys(connection) == before
        assert connection.execute("SELECT 1 FROM properties WHERE name LIKE 'dropped%'").fetchall() == []


@pytest.mark.postgres
def test_rows_that_break_a_dropped_foreign_key_are_reported_and_it_is_tried_again(tmp_path: Path):
    url = engine().url(tmp_path)
    open_database(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        before = foreign_keys(connection)
        drop_foreign_keys(connection, [*REFERENCE, *DISTRIBUTED])
        connection.execute("INSERT INTO passwords (bucket, account_id, hash) VALUES (0, 'nobody', '')")
        with pytest.raises(CommandError, match="passwords_account_id_fkey of passwords cannot be added"):
            add_foreign_keys(connection)
        connection.execute("DELETE FROM passwords")
        add_foreign_keys(connection)
        assert foreign_keys(connection) == before


# -- connections -------------------------------------------------------------------------------


@pytest.mark.postgres
def test_who_may_write_a_reference_table_asks_each_node_on_one_connection(server: Server):
    """After a query of many nodes on several connections to each, Citus lets nobody write a reference table."""
    setting = "SELECT current_setting('citus.multi_shard_modify_mode', true)"
    database = open_database(engine().url(server.data))
    try:
        assert asyncio.run(database.write(lambda tx: tx.fetch_one(setting))) == ("sequential",)
        with database.write_transaction() as tx:
            assert tx.fetch_one(setting) == ("sequential",)
    finally:
        database.close()
