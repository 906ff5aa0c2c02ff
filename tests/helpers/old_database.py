"""A database that an older Seneca made: the schema of its seventh migration, learners and their sessions."""

import random
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

import apsw
import psycopg

from seneca.common.ids import bucket_of
from seneca.database import migrations
from seneca.database.cache import Cache
from seneca.database.migrations import MigrationTransaction
from seneca.database.postgres.engine import adapters
from seneca.database.postgres.transaction import PostgresTransaction
from seneca.database.properties import Properties
from seneca.database.sqlite.transaction import SqliteTransaction
from tests.helpers.engines import Databases, Engine

MIGRATED = 7
"""The last migration that it has."""
BUCKETS = 64
COURSES = 20
SESSIONS_EACH = 20
BEGINNING = 1_767_225_600_000  # 2026-01-01, in milliseconds since 1970
SECOND = 1000

PROPERTIES = "INSERT INTO properties (name, value) VALUES ('buckets', '64'), ('bucket-hash', 'crc32')"
INSERT_ACCOUNTS = """
INSERT INTO accounts (id, bucket, username, email, role, created_at)
VALUES (:id, :bucket, :username, :email, :role, :created_at)
"""
INSERT_COURSES = """
INSERT INTO courses (id, title, qualification, topics, search_key, created_at, topics_hash)
VALUES (:id, :title, :qualification, :topics, :search_key, :created_at, :topics_hash)
"""
INSERT_SESSIONS = """
INSERT INTO sessions (bucket, learner_id, id, course_id, course_title, topic, started_at, ended_at, results, points, bytes)
VALUES (:bucket, :learner_id, :id, :course_id, :course_title, :topic, :started_at, :ended_at, :results, :points, :bytes)
"""
INSERT_TOTALS = """
INSERT INTO learner_totals (bucket, learner_id, course_id, sessions, results, points, milliseconds, names, name_changes)
SELECT bucket, learner_id, course_id, count(*), 0, 0, sum(coalesce(ended_at - started_at, 0)), 0, 0 FROM sessions
GROUP BY bucket, learner_id, course_id;
INSERT INTO course_totals (course_id, bucket, sessions, results, points, milliseconds, name_changes, names)
SELECT course_id, bucket, count(*), 0, 0, sum(coalesce(ended_at - started_at, 0)), 0, 0 FROM sessions
GROUP BY course_id, bucket;
"""


def make_old_database(engine: Engine, data: Path, sessions: int) -> None:
    """Make one with this many sessions of up to twenty minutes, without results; the same in every run."""
    kind = "postgres" if isinstance(engine, Databases) else "sqlite"
    with transaction(engine.url(data)) as tx:
        tx.execute(migrations.CREATE_MIGRATIONS_TABLE)
        for number, name, sql in migrations.known(kind):
            if number <= MIGRATED:
                tx.script(sql)
                tx.execute(migrations.RECORD_MIGRATION, number=number, name=name)
        tx.execute(PROPERTIES)
        insert_contents(tx, sessions)


def insert_contents(tx: MigrationTransaction, sessions: int) -> None:
    """Insert courses, learners, sessions and totals."""
    chance = random.Random(1)
    courses = [new_id(chance) for _ in range(COURSES)]
    learners = [new_id(chance) for _ in range(max(1, sessions // SESSIONS_EACH))]
    tx.copy_rows(INSERT_COURSES, ((id_, id_, "Q", "[]", id_, 0, id_) for id_ in courses))
    tx.copy_rows(INSERT_ACCOUNTS, ((id_, bucket_of(id_, BUCKETS), id_, id_, "user", 0) for id_ in learners))
    tx.copy_rows(INSERT_SESSIONS, session_rows(chance, learners, courses, sessions))
    tx.script(INSERT_TOTALS)


def session_rows(
    chance: random.Random, learners: Sequence[str], courses: Sequence[str], number: int
) -> Iterator[tuple[object, ...]]:
    """The rows of sessions in the order in which they started; one of each hundred is open."""
    for n in range(number):
        learner, course = chance.choice(learners), chance.choice(courses)
        start = BEGINNING + n * SECOND
        end = None if n % 100 == 0 else start + chance.randrange(1200) * SECOND
        yield bucket_of(learner, BUCKETS), learner, new_id(chance), course, course, "Topic", start, end, 0, 0, 0


def new_id(chance: random.Random) -> str:
    """A random UUID of version 4."""
    return str(UUID(int=chance.getrandbits(128), version=4))


@contextmanager
def transaction(url: str) -> Iterator[MigrationTransaction]:
    """A transaction on a database of any schema, past Seneca; committed at the end."""
    if url.startswith("sqlite"):
        with closing(apsw.Connection(url.removeprefix("sqlite:///"))) as connection:
            # ids are inserted into indexes in random order
            connection.execute("PRAGMA cache_size = -500000").fetchall()
            with connection:
                yield SqliteTransaction(connection, Properties(BUCKETS), Cache())
    else:
        with psycopg.connect(url, context=adapters()) as connection:
            yield PostgresTransaction(connection, None, Properties(BUCKETS), Cache())
