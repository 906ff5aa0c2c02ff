"""The schema and the statements keep to what Citus asks, so that a database can be distributed when it must be.

Citus itself is not needed here: the rules are its documentation's, the facts are the catalog's of a PostgreSQL.
"""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import seneca.sessions
from seneca import accounts, figures, stats, throttle
from seneca.database.migrations import known
from seneca.database.postgres.citus import DISTRIBUTED, LOCAL, REFERENCE
from seneca.sessions import recording
from seneca.signins import recording as signins
from tests.conftest import Server
from tests.conftest import seneca as shell
from tests.engines import Postgres, engine

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

HOT = (recording, figures, signins, throttle, accounts, stats)
SPANNING = {
    "COURSE_TOTALS": "a course's statistic is a sum over every bucket",
    "COURSE_NAMES": "and so are its names",
    "END_EVERYBODYS": "once, after a backup was restored",
    "ENDED": "every worker rereads all sign-ins that ended, every two seconds",
}
"""Statements that are not one learner's, and why."""


def statements() -> dict[str, str]:
    return {
        f"{module.__name__}.{name}": value
        for module in HOT
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and re.search(r"\b(SELECT|INSERT|UPDATE|DELETE)\b", value)
    }


def test_every_hot_statement_is_bound_to_one_bucket():
    for name, sql in statements().items():
        of_learners = [table for table in DISTRIBUTED if re.search(rf"\b{table}\b", sql)]
        if not of_learners or name.rpartition(".")[2] in SPANNING:
            continue
        bound = re.search(r"bucket = (:bucket|a\.bucket)", sql) or re.search(r"VALUES\s*\([^)]*:bucket", sql)
        assert bound, f"{name} names no bucket"


def test_no_statement_asks_the_server_for_time_chance_or_numbers():
    forbidden = re.compile(r"\b(now|random|nextval|gen_random_uuid|current_timestamp|clock_timestamp)\b", re.IGNORECASE)
    for module in pkgutil.walk_packages([str(Path(seneca.sessions.__file__).parents[1])], "seneca."):
        if not module.name.startswith(("seneca.cli", "seneca.api", "seneca.__main__")):
            for name, value in vars(importlib.import_module(module.name)).items():
                if name.isupper() and isinstance(value, str) and "SELECT" in value:
                    assert not forbidden.search(value), f"{module.name}.{name}"


# -- distributing ------------------------------------------------------------------------------


def test_a_database_without_citus_cannot_be_distributed(tmp_path: Path):
    done = shell("migrate", "--distribute", "--data", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("seneca: ")
    wanted = (
        "CREATE EXTENSION citus" if isinstance(engine(), Postgres) else "SQLite is one file and cannot be distributed."
    )
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
