"""`seneca migrate` of an older database in two checkouts, in turn: ``python -m bench.migrations OTHER`` prints their ratios."""

import argparse
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from statistics import median

import apsw
import psycopg
from tests.helpers import engines

from bench.exchange import BEGINNING, BUCKETS, SECOND, SESSIONS_EACH, Ids
from bench.machine import Patience
from bench.postgres import cluster
from bench.servers import environment
from bench.wrk import Failed
from seneca.common.ids import bucket_of
from seneca.database import migrations
from seneca.database.cache import Cache
from seneca.database.migrations import MigrationTransaction
from seneca.database.postgres.engine import adapters
from seneca.database.postgres.transaction import PostgresTransaction
from seneca.database.properties import Properties
from seneca.database.sqlite.transaction import SqliteTransaction

SESSIONS = 300_000
COURSES = 20
MIGRATED = 7  # the last migration that the older database has
HERE = Path(__file__).parent.parent

PROPERTIES = "INSERT INTO properties (name, value) VALUES ('buckets', '64'), ('bucket-hash', 'crc32')"
ACCOUNTS = """
INSERT INTO accounts (id, bucket, username, email, role, created_at, erased_at)
VALUES (:id, :bucket, :username, :email, 'user', 0, NULL)
"""
COURSE = """
INSERT INTO courses (id, title, qualification, topics, search_key, created_at, topics_hash)
VALUES (:id, :title, 'Q', '[]', :title, 0, :title)
"""
INSERT_SESSIONS = """
INSERT INTO sessions (bucket, learner_id, id, course_id, course_title, topic, started_at, ended_at, results, points, bytes)
VALUES (:bucket, :learner_id, :id, :course_id, :course_title, :topic, :started_at, :ended_at, :results, :points, :bytes)
"""
TOTALS = """
INSERT INTO learner_totals (bucket, learner_id, course_id, sessions, results, points, milliseconds, names, name_changes)
SELECT bucket, learner_id, course_id, count(*), 0, 0, sum(coalesce(ended_at - started_at, 0)), 0, 0 FROM sessions
GROUP BY bucket, learner_id, course_id;
INSERT INTO course_totals (course_id, bucket, sessions, results, points, milliseconds, name_changes, names)
SELECT course_id, bucket, count(*), 0, 0, sum(coalesce(ended_at - started_at, 0)), 0, 0 FROM sessions
GROUP BY course_id, bucket;
"""


def make_database(tx: MigrationTransaction, engine: str, sessions: int) -> None:
    """Make a database with an older schema, in the caller's transaction: learners with sessions of ten minutes, without results."""
    tx.execute(migrations.CREATE_MIGRATIONS_TABLE)
    for number, name, sql in (each for each in migrations.known(engine) if each[0] <= MIGRATED):
        tx.script(sql)
        tx.execute(migrations.RECORD_MIGRATION, number=number, name=name)
    tx.execute(PROPERTIES)
    ids = Ids()
    courses = [ids.new() for _ in range(COURSES)]
    learners = [ids.new() for _ in range(max(1, sessions // SESSIONS_EACH))]
    for course in courses:
        tx.execute(COURSE, id=course, title=course)
    tx.insert_many(
        ACCOUNTS,
        [{"id": id_, "bucket": bucket_of(id_, BUCKETS), "username": id_, "email": id_} for id_ in learners],
    )
    tx.copy_rows(INSERT_SESSIONS, session_rows(ids, learners, courses, sessions))
    tx.script(TOTALS)


def session_rows(
    ids: Ids, learners: Sequence[str], courses: Sequence[str], number: int
) -> Iterator[tuple[object, ...]]:
    """The rows of sessions in the order in which they started; one of each hundred is open."""
    chance = random.Random(1)
    for n in range(number):
        learner, course = chance.choice(learners), chance.choice(courses)
        start = BEGINNING + n * SECOND
        end = None if n % 100 == 0 else start + chance.randrange(1200) * SECOND
        yield (bucket_of(learner, BUCKETS), learner, ids.new(), course, course, "Topic", start, end, 0, 0, 0)


@contextmanager
def transaction(url: str) -> Iterator[MigrationTransaction]:
    """A transaction on a new database, whose schema is the caller's."""
    if url.startswith("sqlite"):
        with closing(apsw.Connection(url.removeprefix("sqlite:///"))) as connection, connection:
            yield SqliteTransaction(connection, Properties(BUCKETS), Cache())
    else:
        with psycopg.connect(url, context=adapters()) as connection:
            yield PostgresTransaction(connection, None, Properties(BUCKETS), Cache())
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


def migrate(checkout: Path, data: Path, variables: dict[str, str]) -> tuple[float, float]:
    """Migrate with a checkout's program; returns the seconds from start to end, and the most memory it had, in MiB.

    Raises:
        Failed: it did.

    """
    command = [checkout / ".venv/bin/python", "-m", "seneca", "migrate", "--data", data]
    log = data.parent / f"{data.name}.log"
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen([*map(str, command)], stdout=output, stderr=output, env=environment(**variables))
        _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"seneca migrate failed:\n{log.read_text()[-2000:]}")
    return taken, usage.ru_maxrss / 1024


def measure(
    checkouts: Sequence[Path], server: engines.Postgres | None, directory: Path, arguments: argparse.Namespace
) -> None:
    """Make a database, copy it for each checkout and round, migrate the copies, and print the ratios."""
    engine = engines.Sqlite() if server is None else server
    original = directory / "original"
    original.mkdir()
    with transaction(engine.url(original)) as tx:
        make_database(tx, "sqlite" if server is None else "postgres", arguments.sessions)
    patience = Patience(60)
    results: dict[Path, list[tuple[float, float]]] = {checkout: [] for checkout in checkouts}
    for number in range(arguments.rounds):
        for index, checkout in enumerate(sorted(checkouts, reverse=number % 2 == 1)):
            data = directory / f"{number}-{index}"
            data.mkdir()
            engine.copy(original, data)
            patience.wait()
            results[checkout].append(migrate(checkout, data, engine.environment(data)))
    for checkout, pairs in results.items():
        seconds, memory = (median(column) for column in zip(*pairs, strict=True))
        print(f"{checkout}: {seconds:.2f} s, {memory:.0f} MiB, for {arguments.sessions:,} sessions")
    first, last = results[checkouts[0]], results[checkouts[-1]]
    ratio = median(this[0] / other[0] for this, other in zip(first, last, strict=True))
    print(f"ratio of the elapsed times: {ratio:.2f}")


def main() -> None:
    """Migrate the same database with two checkouts, round after round."""
    parser = argparse.ArgumentParser(prog="python -m bench.migrations", description=main.__doc__)
    parser.add_argument("other", type=Path, nargs="?", default=HERE, help="another checkout, set up with make setup")
    parser.add_argument("--rounds", type=int, default=5, help="migrations by each (default: 5)")
    parser.add_argument("--sessions", type=int, default=SESSIONS, help=f"how many (default: {SESSIONS})")
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL instead of SQLite")
    arguments = parser.parse_args()
    Path("build").mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir="build") as name,
        cluster() if arguments.postgres else nullcontext() as server,
    ):
        measure(
            sorted({HERE, arguments.other}, key=lambda path: path != HERE), server, Path(name).absolute(), arguments
        )


if __name__ == "__main__":
    main()
