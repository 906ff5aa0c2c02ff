"""A table of totals is declared once: what adds to it, verifies it and rebuilds it follows."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import asdict, replace

from seneca.database import Transaction, open_database
from seneca.sessions.rows import INSERT_RESULT, INSERT_SESSION, ResultRow, SessionRow
from seneca.stats import verification
from seneca.stats.tables import NAMES_TABLES, SUMS, TOTALS_TABLES, Column, TotalsTable, session_column
from seneca.stats.totals import TotalsChange
from seneca.stats.verification import Comparison
from tests.helpers.engines import engine

COURSE_TOPICS = TotalsTable(
    "course_topics",
    key=tuple(map(session_column, ("bucket", "course_id", "topic"))),
    sums=(*SUMS, Column("bytes", sql="s.bytes", attribute="bytes")),
)
"""A table that Seneca does not have, without the columns for module names."""
CREATE = """
CREATE TABLE course_topics (bucket BIGINT NOT NULL, course_id TEXT NOT NULL, topic TEXT NOT NULL, sessions BIGINT NOT NULL,
    results BIGINT NOT NULL, scores BIGINT NOT NULL, points BIGINT NOT NULL, milliseconds BIGINT NOT NULL, active_milliseconds BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (bucket, course_id, topic))
"""
RESULT = ResultRow("Integers", 0, '{"score":1}', None, None, 1000, None)
OPEN = SessionRow(
    bucket=1,
    learner_id="alice",
    id="first",
    course_id="mathematics",
    course_title="Mathematics",
    topic="Numbers",
    started_at=1000,
    ended_at=None,
    ended_by=None,
    idle_since=1000,
    activity=None,
    active_milliseconds=0,
    study_day=0,
    results=1,
    scores=1,
    points=RESULT.points,
    bytes=RESULT.bytes,
)
SESSIONS = (
    OPEN,
    replace(OPEN, id="second", ended_at=5000, ended_by="learner", active_milliseconds=4000),
    replace(OPEN, id="third", topic="Shapes", ended_at=1007, ended_by="learner", active_milliseconds=7),
)
STORED = "SELECT topic, sessions, results, scores, points, milliseconds, active_milliseconds, bytes FROM course_topics ORDER BY topic"


@pytest.fixture
def tx(tmp_path: Path) -> Iterator[Transaction]:
    """A transaction in a database of three sessions and an empty table ``course_topics``."""
    database = open_database(engine().url(tmp_path))
    with database.write_transaction() as tx:
        tx.execute(
            "INSERT INTO accounts (id, bucket, username, email, role, created_at) VALUES ('alice', 1, '', '', 'user', 0)"
        )
        tx.execute(
            "INSERT INTO courses (id, title, qualification, topics, topics_hash, search_key, created_at) "
            "VALUES ('mathematics', '', '', '[]', '', '', 0)"
        )
        tx.execute(CREATE)
        for session in SESSIONS:
            tx.execute(INSERT_SESSION, **asdict(session))
            tx.execute(INSERT_RESULT, bucket=1, learner_id="alice", session_id=session.id, **asdict(RESULT))
        yield tx
        tx.execute("DROP TABLE course_topics")
    database.close()


def differences(tx: Transaction) -> list[str]:
    expected = verification.expected_sums(COURSE_TOPICS)
    comparison = Comparison(COURSE_TOPICS.name, COURSE_TOPICS.key_columns, COURSE_TOPICS.sum_columns, expected)
    return [str(mismatch) for mismatch in verification.mismatched_totals(tx, comparison)]


def test_a_declared_table_is_added_to_verified_and_rebuilt(tx: Transaction):
    assert len(differences(tx)) == 14  # every sum of both topics is missing
    change = TotalsChange((COURSE_TOPICS,))
    for session in SESSIONS:
        change.add(session)
    change.write(tx)
    rows = tx.fetch_all(STORED)
    assert rows == [
        ("Numbers", 2, 2, 2, 2000, 4000, 4000, 2 * RESULT.bytes),
        ("Shapes", 1, 1, 1, 1000, 7, 7, RESULT.bytes),
    ]
    assert differences(tx) == []
    tx.execute("UPDATE course_topics SET milliseconds = 8 WHERE topic = 'Shapes'")
    (difference,) = differences(tx)
    assert difference.endswith("topic Shapes): milliseconds is 8, should be 7")
    for statement in verification.rebuild_totals(COURSE_TOPICS):
        tx.execute(statement)
    assert tx.fetch_all(STORED) == rows


def test_a_session_that_changes_topic_is_subtracted_from_one_row_and_added_to_another(tx: Transaction):
    for statement in verification.rebuild_totals(COURSE_TOPICS):
        tx.execute(statement)
    change = TotalsChange((COURSE_TOPICS,))
    change.subtract(SESSIONS[1])
    change.add(replace(SESSIONS[1], topic="Shapes"))
    change.write(tx)
    tx.execute("UPDATE sessions SET topic = 'Shapes' WHERE id = 'second'")
    assert differences(tx) == []


def test_what_did_not_change_is_not_written(tx: Transaction):
    change = TotalsChange((COURSE_TOPICS,))
    change.subtract(SESSIONS[0])
    change.add(replace(SESSIONS[0], course_title="Maths"))
    change.write(tx)
    assert tx.fetch_all(STORED) == []


def test_each_table_has_the_declared_columns(tmp_path: Path):
    open_database(engine().url(tmp_path)).close()
    for table in TOTALS_TABLES:
        assert sorted(engine().columns(tmp_path, table.name)) == sorted(table.columns)
    for names in NAMES_TABLES:
        assert sorted(engine().columns(tmp_path, names.name)) == sorted((*names.key, names.count))
