"""No statement on a request's path looks through a table that grows.

Each engine explains every statement of the source, on tables of ten thousand rows that are made here. A new statement, and a
new table, is covered by itself.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest

from seneca.database import open_database
from seneca.database.postgres.transaction import to_array_comparison
from seneca.exchange.accounts_and_courses import CREATE_IMPORTED
from seneca.sessions import lists
from tests.helpers import engines
from tests.helpers.statements import statements

ROWS = 10_000
BOUNDED = {"migrations", "properties"}
"""Tables that do not grow."""
BY_HAND = {
    "seneca.backup": "a backup and a restore are about everything",
    "seneca.demo": "fills an empty database",
    "seneca.exchange": "an import and an export are about everything",
    "seneca.stats.verification": "counts everything again",
    "seneca.privacy.retention": "looks for old sessions among everybody's",
}
"""Modules whose statements only shell commands run."""
SCANS = {
    "seneca.auth.sign_ins.REVOCATIONS": "once, when a backup takes a database's place",
    "seneca.accounts.PAGE": "with q an administrator searches the names of all accounts",
    "seneca.school.COUNT_CONTRADICTIONS": "an administrator changes the school's marks, which courses may contradict",
    "seneca.sessions.time_zone.ANY_SESSION": "reads the first row, if there is one",
    "seneca.privacy.erased_accounts.ALL": "a start, and a restore, compare all erased accounts with the file of their ids",
    "seneca.auth.sign_ins.END_ALL_SIGN_INS": "after a restore everybody is signed out",
}
"""Other statements that look through a table, and why they may."""
VALUES = {"role": "'user'", "bucket": "i % 64", "ended_at": "i", "started_at": "i"}
"""What a column holds in row number i; else a column of integers holds i, one of text its name's first letter and i."""
STUDY = """
UPDATE sessions SET course_id = 'c' || (started_at / 1000),
    ended_at = CASE WHEN started_at % 10 > 0 THEN ended_at END
"""
"""Courses with a thousand sessions, some of them open."""
SHARED = {"learner_id": "i / 10", "account_id": "i / 10", "course_id": "i / 64", "topic": "i % 5"}
"""Columns in which several rows hold the same text."""


def value(column: str, *, is_text: bool) -> str:
    if column in VALUES:
        return VALUES[column]
    return f"'{column[0]}' || ({SHARED.get(column, 'i')})" if is_text else "i"


def filling(table: str, columns: list[tuple[str, bool]]) -> str:
    """The statement that fills a table: its columns, and which hold text."""
    return (
        f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) "
        f"INSERT INTO {table} ({', '.join(name for name, _ in columns)}) "
        f"SELECT {', '.join(value(name, is_text=is_text) for name, is_text in columns)} FROM n"
    )


class SqlitePlans:
    def __init__(self, data: Path) -> None:
        self.connection = apsw.Connection(str(data / "seneca.db"))
        self.connection.execute("PRAGMA foreign_keys = OFF")
        self.tables = {row[0] for row in self.connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        self.tables -= {"sqlite_sequence", "sqlite_stat1"} | BOUNDED
        for table in self.tables:
            columns = self.connection.execute(f"SELECT name, type = 'TEXT' FROM pragma_table_info('{table}')")
            self.connection.execute(filling(table, [(name, bool(is_text)) for name, is_text in columns]))
        self.connection.execute(STUDY)
        self.partial_indexes = {
            name
            for table in self.tables
            for (name,) in self.connection.execute(f"SELECT name FROM pragma_index_list('{table}') WHERE partial")
        }
        self.connection.execute(CREATE_IMPORTED)

    def scanned(self, sql: str) -> set[str]:
        """The growing tables through which this statement looks."""
        sql = sql.replace("(:values)", "(:v1, :v2, :v3)")
        names = dict.fromkeys(re.findall(r"(?<![:\w]):(\w+)", sql))
        aliases = dict(re.findall(r"\b(?:FROM|JOIN|,)\s+(\w+)\s+(?:AS\s+)?(\w+)", sql))
        tables = {alias: table for table, alias in aliases.items()}
        found = set()
        for *_, detail in self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", names):
            scan = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", detail)
            if scan and scan[2] not in self.partial_indexes:
                found.add(tables.get(scan[1], scan[1]))
        return found & self.tables

    def sorts(self, sql: str) -> bool:
        """Whether this statement sorts all rows; to sort those that an index gives as equal is none."""
        names = dict.fromkeys(re.findall(r"(?<![:\w]):(\w+)", sql))
        steps = [row[-1] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", names)]
        return "USE TEMP B-TREE FOR ORDER BY" in steps

    def indexes(self, sql: str) -> list[str]:
        """The indexes that this statement searches."""
        names = dict.fromkeys(re.findall(r":(\w+)", sql))
        details = [row[-1] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", names)]
        return [index for detail in details for index in re.findall(r"SEARCH \w+ USING INDEX (\w+)", detail)]

    def foreign_keys(self) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        """Each foreign key's table and columns, and the columns of that table's indexes."""
        rows: Callable[[str], list[Any]] = lambda sql: list(self.connection.execute(sql))  # noqa: E731
        for table in self.tables:
            keys: dict[int, list[str]] = {}
            for key, column in rows(f"SELECT id, \"from\" FROM pragma_foreign_key_list('{table}') ORDER BY id, seq"):
                keys.setdefault(key, []).append(column)
            names = [row[0] for row in rows(f"SELECT name FROM pragma_index_list('{table}')")]
            indexes = [[row[0] for row in rows(f"SELECT name FROM pragma_index_info('{name}')")] for name in names]
            for columns in keys.values():
                yield table, columns, indexes


COLUMNS = """
SELECT table_name, column_name, data_type = 'text' FROM information_schema.columns
WHERE table_schema = 'public' ORDER BY table_name, ordinal_position
"""
FOREIGN_KEYS = """
SELECT c.conrelid::regclass::text,
    ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k (number, place)
          JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.place),
    ARRAY(SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = c.conrelid)
FROM pg_constraint c WHERE c.contype = 'f'
"""
PARTIAL_INDEXES = "SELECT indexrelid::regclass::text FROM pg_index WHERE indpred IS NOT NULL"
INDEX_COLUMNS = "SELECT attname::text FROM pg_attribute WHERE attrelid = %s ORDER BY attnum"


class PostgresPlans:
    def __init__(self, data: Path) -> None:
        self.connection = psycopg.connect(engines.engine().url(data), autocommit=True)
        self.connection.execute("SET session_replication_role = replica")  # foreign keys are not looked at
        self.connection.execute("SET plan_cache_mode = force_generic_plan")
        columns: dict[str, list[tuple[str, bool]]] = {}
        for table, column, is_text in self.connection.execute(COLUMNS):
            columns.setdefault(table, []).append((column, is_text))
        self.tables = set(columns) - BOUNDED
        for table in self.tables:
            self.connection.execute(filling(table, columns[table]).encode())
        self.connection.execute(STUDY)
        self.partial_indexes = {row[0] for row in self.connection.execute(PARTIAL_INDEXES)}
        self.connection.execute(CREATE_IMPORTED)
        self.connection.execute("ANALYZE")

    def scanned(self, sql: str) -> set[str]:
        return {table for table, is_whole in self._tables_read(self._plan(sql)) if is_whole} & self.tables

    def sorts(self, sql: str) -> bool:
        def nodes(node: dict[str, Any]) -> Iterator[str]:
            yield node["Node Type"]
            for child in node.get("Plans", []):
                yield from nodes(child)

        return "Sort" in nodes(self._plan(sql))

    def _plan(self, sql: str) -> dict[str, Any]:
        names: list[str] = []

        def number(parameter: re.Match[str]) -> str:
            if parameter[1] not in names:
                names.append(parameter[1])
            return f"${names.index(parameter[1]) + 1}"

        prepared = re.sub(r"(?<![:\w]):(\w+)", number, to_array_comparison(sql))
        self.connection.execute(f"PREPARE explained AS {prepared}".encode())
        nulls = f"({', '.join('NULL' for _ in names)})" if names else ""
        row = self.connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE explained {nulls}".encode()).fetchone()
        self.connection.execute("DEALLOCATE explained")
        assert row is not None
        plan: dict[str, Any] = row[0][0]["Plan"]
        return plan

    def _tables_read(self, node: dict[str, Any]) -> Iterator[tuple[str, bool]]:
        """The tables that a plan's node reads, and whether it reads the whole table, or a whole index of it."""
        is_by_key = "Index Cond" in node or node.get("Index Name") in self.partial_indexes
        if "Relation Name" in node:
            yield (
                node["Relation Name"],
                node["Node Type"] in {"Seq Scan", "Index Scan", "Index Only Scan"} and not is_by_key,
            )
        for child in node.get("Plans", []):
            yield from self._tables_read(child)

    def foreign_keys(self) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        for table, columns, indexes in self.connection.execute(FOREIGN_KEYS).fetchall():
            yield table, columns, [[row[0] for row in self.connection.execute(INDEX_COLUMNS, (i,))] for i in indexes]


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlitePlans | PostgresPlans]:
    data = tmp_path_factory.mktemp("plans")
    url = engines.engine().url(data)
    open_database(url).close()
    made = PostgresPlans(data) if url.startswith("postgresql") else SqlitePlans(data)
    with closing(made.connection):
        yield made


def test_no_statement_looks_through_a_table_that_grows_without_saying_why(plans: SqlitePlans | PostgresPlans):
    scanned = {}
    for name, sql in statements().items():
        if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", sql) and not name.startswith("seneca.database."):
            tables = plans.scanned(sql.replace("{column}", "study_day" if "UPDATE sessions" in sql else "quiz_score"))
            if tables and not name.startswith(tuple(f"{module}." for module in BY_HAND)) and name not in SCANS:
                scanned[name] = tables
    assert scanned == {}


CONDITIONS = {
    "until": "started_at < :until",
    "since": "started_at >= :since",
    "course": "course_id = :course_id",
    "topic": "topic = :topic",
    "open": "ended_at IS NULL",
    "ended": "ended_at IS NOT NULL",
}


@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize("scope", [lists.OF_LEARNER, lists.OF_COURSE])
def test_pages_of_sessions_are_read_in_the_order_of_an_index(
    plans: SqlitePlans | PostgresPlans, scope: str, *, is_descending: bool
):
    for number in range(3):
        for names in combinations(CONDITIONS, number):
            sql = lists.page_query(scope, tuple(CONDITIONS[name] for name in names), is_descending=is_descending)
            assert plans.scanned(sql) == set(), names
            if "open" not in names:  # few sessions are open: to sort those is as good
                assert not plans.sorts(sql), names


def test_a_page_of_sessions_with_one_id_reads_those(plans: SqlitePlans | PostgresPlans):
    for condition in ((), *((each,) for each in CONDITIONS.values())):
        for is_descending in (False, True):
            assert plans.scanned(lists.page_query(lists.WITH_ID, condition, is_descending=is_descending)) == set()


def test_a_sort_is_noticed(plans: SqlitePlans | PostgresPlans):
    sql = "SELECT id FROM sessions WHERE bucket = :bucket AND learner_id = :learner_id ORDER BY topic LIMIT 5"
    assert plans.sorts(sql)


def test_a_scan_is_noticed(plans: SqlitePlans | PostgresPlans):
    assert plans.scanned("SELECT id FROM sessions s WHERE topic = :topic") == {"sessions"}
    assert plans.scanned("SELECT a.id FROM accounts a ORDER BY a.created_at, a.id") == {"accounts"}
    assert plans.scanned("SELECT 1 FROM sessions WHERE bucket = :b AND learner_id = :l AND id = :i") == set()


@pytest.mark.sqlite
def test_a_list_is_searched_by_the_index_of_its_scope_whatever_its_filters(plans: SqlitePlans):
    """PostgreSQL chooses by its statistics. SQLite would look through a course's sessions for those of one learner."""
    by_scope = {
        lists.OF_LEARNER: "sessions_of_learner",
        lists.OF_COURSE: "sessions_of_course",
        lists.WITH_ID: "sessions_by_id",
    }
    for scope, index in by_scope.items():
        for *members, is_descending in itertools.product(
            (None, 1), (None, 1), (None, "c"), (None, "t"), (None, True), (False, True)
        ):
            filter_ = lists.SessionFilter(*members, is_descending=is_descending)
            query = lists.page_query(scope, tuple(lists.conditions(filter_)), is_descending=is_descending)
            assert plans.indexes(query) == [index], query


def test_the_rows_that_refer_to_a_row_are_found_by_index(plans: SqlitePlans | PostgresPlans):
    """Otherwise deleting that row looks through all of them."""
    keys = list(plans.foreign_keys())
    assert keys
    for table, columns, indexes in keys:
        assert any(index[: len(columns)] == columns for index in indexes), (table, columns)
