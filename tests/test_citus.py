"""The schema and the statements keep to what Citus asks, so that a database can be distributed when it must be.

Citus itself is not needed here: the rules are its documentation's, the facts are the catalog's of a PostgreSQL.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import seneca
from seneca.database.migrations import known
from seneca.database.postgres.citus import DISTRIBUTED, LOCAL, REFERENCE
from tests.conftest import Server
from tests.conftest import seneca as shell
from tests.engines import Databases, engine

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
    "seneca.transfer": "moves everything, by hand",
    "seneca.verification": "counts everything again, by hand",
    "seneca.privacy.retaining": "looks for old sessions among everybody's, by hand; removes them learner by learner",
}
"""Modules that are about everybody, and what they do."""
SPANNING = {
    "seneca.audit.PAGE": "an administrator reads what was done to anybody",
    "seneca.audit.ABOUT": "what was done by somebody stands with those it was done to",
    "seneca.erasures.AMONG": "an import asks who of its accounts was erased",
    "seneca.erasures.ALL": "a restore erases everybody again",
    "seneca.sessions.reading.OF_ANYONE": "an administrator reads a session by its id alone",
    "seneca.sessions.reading.PAGE_OF_COURSE": "an administrator reads a course's sessions, whoever's",
    "seneca.sessions.reading.PAGE_WITH_ID": "an administrator looks for a session by its id",
    "seneca.signins.recording.END_EVERYBODYS": "once, after a backup was restored",
    "seneca.signins.recording.ENDED": "every worker rereads all sign-ins that ended, every two seconds",
    "seneca.stats.COURSE_TOTALS": "a course's statistic is a sum over every bucket",
    "seneca.stats.COURSE_NAMES": "and so are its names",
}
"""Other statements that are not one learner's, and why."""


def statements() -> dict[str, str]:
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(seneca.__path__, "seneca.")
        if not module.name.endswith("__main__")
    ]
    return {
        f"{module.__name__}.{name}": value
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and re.search(r"\b(SELECT|INSERT|UPDATE|DELETE)\b", value)
    }


def unbound() -> Iterator[str]:
    """The statements that name a distributed table and no bucket."""
    for name, sql in statements().items():
        if any(re.search(rf"\b{table}\b", sql) for table in DISTRIBUTED):
            bound = re.search(r"bucket = (:bucket|a\.bucket)", sql) or re.search(r"VALUES\s*\([^)]*:bucket", sql)
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
