"""A migration fills the rows of an older database in steps: whatever interrupts it, the result is that of the rule, applied once."""

import os
import random
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from seneca.database import Transaction, migrations
from seneca.database.migrations import backfill
from seneca.database.migrations.backfill import Backfill
from seneca.database.migrations.progress_lines import ProgressLines
from seneca.database.migrations.ranges import Range
from tests.helpers.commands import seneca, seneca_process
from tests.helpers.engines import Databases, engine
from tests.helpers.load import wait_for
from tests.helpers.old_database import MIGRATED, make_old_database, transaction
from tests.helpers.server import free_port, launch_server, running

pytestmark = pytest.mark.old_schema

SESSIONS = 12_000
LATEST = migrations.known("sqlite")[-1][0]
COLUMNS = {
    "sessions": "bucket, learner_id, id, course_id, course_title, topic, started_at, ended_at, results, points, bytes",
    "learner_totals": "bucket, learner_id, course_id, sessions, results, points, milliseconds, names, name_changes",
    "course_totals": "course_id, bucket, sessions, results, points, milliseconds, name_changes, names",
}
"""The columns that the older database has."""
RULE = """
UPDATE sessions SET
    ended_by = CASE WHEN ended_at IS NULL THEN NULL ELSE 'learner' END,
    idle_since = started_at,
    active_milliseconds = CASE
        WHEN ended_at IS NULL THEN 0
        WHEN ended_at - started_at < 300000 THEN ended_at - started_at
        ELSE 300000 END;
UPDATE learner_totals SET active_milliseconds = sums.active
FROM (SELECT bucket, learner_id, course_id, sum(active_milliseconds) AS active FROM sessions
      GROUP BY bucket, learner_id, course_id) sums
WHERE learner_totals.bucket = sums.bucket AND learner_totals.learner_id = sums.learner_id
    AND learner_totals.course_id = sums.course_id;
UPDATE course_totals SET active_milliseconds = sums.active
FROM (SELECT bucket, course_id, sum(active_milliseconds) AS active FROM sessions GROUP BY bucket, course_id) sums
WHERE course_totals.bucket = sums.bucket AND course_totals.course_id = sums.course_id;

UPDATE sessions SET study_day = started_at / 86400000;
INSERT INTO course_days (course_id, study_day, bucket, sessions, results, scores, points, milliseconds, active_milliseconds, learners)
SELECT course_id, study_day, bucket, count(*), 0, 0, 0, sum(coalesce(ended_at - started_at, 0)), sum(active_milliseconds),
    count(DISTINCT learner_id)
FROM sessions GROUP BY course_id, study_day, bucket;
INSERT INTO days (study_day, bucket, sessions, results, scores, points, milliseconds, active_milliseconds, learners)
SELECT study_day, bucket, count(*), 0, 0, 0, sum(coalesce(ended_at - started_at, 0)), sum(active_milliseconds),
    count(DISTINCT learner_id)
FROM sessions GROUP BY study_day, bucket;
INSERT INTO course_weeks (course_id, study_week, bucket, learners)
SELECT course_id, study_day - (study_day - 4) % 7, bucket, count(DISTINCT learner_id)
FROM sessions GROUP BY course_id, study_day - (study_day - 4) % 7, bucket;
INSERT INTO weeks (study_week, bucket, learners)
SELECT study_day - (study_day - 4) % 7, bucket, count(DISTINCT learner_id)
FROM sessions GROUP BY study_day - (study_day - 4) % 7, bucket;
"""
"""What migrations 8 and 10 do to sessions without results, in one transaction."""
NEW_TABLES = ("course_days", "course_weeks", "days", "weeks")
OPEN = """
import os, random, signal, sys, threading, time
from seneca.database import open_database

url, when, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])

def kill(seconds):
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)

def progress(*_):
    global steps
    steps -= 1
    if steps == 0 and when == "between":
        kill(0)
    elif steps == 0:
        threading.Thread(target=kill, args=(random.uniform(0, 0.03),)).start()

open_database(url, progress=progress).close()
"""
"""Migrates, and kills itself after a number of steps: between two of them, or soon after, probably within one."""


def kind() -> str:
    return "postgres" if isinstance(engine(), Databases) else "sqlite"


def rows(data: Path, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    return engine().rows(data, f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3")


def contents(data: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row; of a database that is not migrated yet, without the tables that it lacks."""
    tables = engine().tables(data)
    return {table: rows(data, table) for table in (*COLUMNS, *NEW_TABLES) if table in tables}


def old_contents(data: Path) -> dict[str, list[tuple[Any, ...]]]:
    return {table: rows(data, table, columns) for table, columns in COLUMNS.items()}


def position(data: Path) -> str | None:
    """How far the backfill is, as it is stored; None: there is none."""
    found = engine().rows(data, "SELECT value FROM properties WHERE name = 'backfill'")
    return found[0][0] if found else None


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An older database; it is only copied."""
    data = tmp_path_factory.mktemp("original")
    make_old_database(engine(), data, SESSIONS)
    return data


@pytest.fixture(scope="module")
def expected(original: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    """What it has after the rule was applied in one transaction."""
    data = tmp_path_factory.mktemp("expected")
    engine().copy(original, data)
    with transaction(engine().url(data)) as tx:
        for number, _, sql in migrations.known(kind()):
            if number > MIGRATED:
                tx.script(sql)
        tx.script(RULE)
    return contents(data)


@pytest.fixture
def old(original: Path, tmp_path: Path) -> Path:
    """A copy of the older database."""
    data = tmp_path / "old"
    data.mkdir()
    engine().copy(original, data)
    return data


def interrupt(data: Path, when: str = "between", steps: int = 2) -> None:
    """Let a process that migrates be killed after some steps."""
    command = [sys.executable, "-c", OPEN, engine().url(data), when, str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def check_complete(data: Path, expected: dict[str, list[tuple[Any, ...]]]) -> None:
    """Everything is filled by the rule, and nothing is left to do."""
    assert position(data) is None
    assert engine().rows(data, "SELECT max(number) FROM migrations") == [(LATEST,)]
    for table, wanted in contents(data).items():
        assert wanted == expected[table], table
    engine().check(data)
    again = seneca("migrate", "--data", data)
    assert (again.returncode, again.stdout) == (0, "The schema is up to date.\n")


def test_it_fills_every_row_by_the_rule(old: Path, expected: dict[str, list[tuple[Any, ...]]]):
    before = old_contents(old)
    done = seneca("migrate", "--data", old)
    assert (done.returncode, done.stdout) == (0, f"{LATEST - 7} migrations applied.\n")
    assert old_contents(old) == before
    check_complete(old, expected)
    verified = seneca("stats", "verify", "--data", old)
    assert "active_milliseconds" not in verified.stdout


# -- interruptions -----------------------------------------------------------------------------


def test_kills_between_steps_and_within_them_lose_and_repeat_nothing(
    old: Path, expected: dict[str, list[tuple[Any, ...]]]
):
    before = old_contents(old)
    positions = [position(old)]
    for number in range(10):
        interrupt(old, ("between", "within")[number % 2], steps=random.choice((1, 2, 5)))
        positions.append(position(old))
        assert positions[-1] not in (positions[-2], None), "each process continued where the one before was killed"
        check_figures(old, before)
    check_complete(finished(old), expected)


def check_figures(data: Path, before: dict[str, list[tuple[Any, ...]]]) -> None:
    """While the backfill is not complete, older columns are as they were, and new ones agree with how far it is."""
    assert old_contents(data) == before
    how_far = position(data)
    assert how_far is not None
    backfill_number, filled = (int(re.search(f'"{name}":(\\d+)', how_far)[1]) for name in ("backfill", "filled"))
    [(count,)] = engine().rows(data, "SELECT count(*) FROM sessions WHERE idle_since = started_at")
    assert count == (filled if backfill_number == 0 else SESSIONS)
    sums = [
        engine().rows(data, f"SELECT sum(active_milliseconds) FROM {table}")
        for table in ("learner_totals", "course_totals")
    ]
    assert sums[0] == sums[1]
    assert engine().rows(data, "SELECT number FROM migrations WHERE number > 8") == [], "the next one may rely on it"


def finished(data: Path) -> Path:
    done = seneca("migrate", "--data", data)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^Migration 8 \(study\) fills \w+: continued after [\d,]+ of [\d,]+\.$", done.stderr, re.MULTILINE
    )
    return data


def test_two_processes_share_the_work(old: Path, expected: dict[str, list[tuple[Any, ...]]]):
    interrupt(old)
    command = [sys.executable, "-m", "seneca", "migrate", "--data", str(old)]
    environment = os.environ | engine().environment(old)
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    applied = sum(int(text.split()[0]) for text, _ in outputs if "applied" in text)
    assert applied == LATEST - 7
    check_complete(old, expected)


def test_a_server_completes_it_before_it_serves(old: Path, expected: dict[str, list[tuple[Any, ...]]]):
    interrupt(old)
    with running(old) as server:
        assert position(old) is None
        assert contents(old) == expected
        lines = server.log.read_text()
        assert "Migration 8 (study) fills sessions: continued after " in lines
        assert re.search(r"Migration 8 \(study\) fills learner_totals: ([\d,]+) of \1, [\d,]+ per second\.", lines)


def test_a_server_that_starts_during_it_waits_for_it(old: Path, expected: dict[str, list[tuple[Any, ...]]]):
    command = [sys.executable, "-m", "seneca", "migrate", "--data", str(old)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | engine().environment(old))
    wait_for(lambda: position(old) is not None or process.poll() is not None)
    with running(old):
        assert position(old) is None
        assert contents(old) == expected
        assert process.wait(60) == 0


def test_a_killed_server_is_continued_by_a_command_that_migrates(old: Path, expected: dict[str, list[tuple[Any, ...]]]):
    server = launch_server(old, port=free_port())
    wait_for(lambda: position(old) is not None or server.process.poll() is not None)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(30)
    verified = seneca("stats", "verify", "--data", old)
    assert "Traceback" not in verified.stderr
    check_complete(old, expected)


# -- backups -----------------------------------------------------------------------------------


@pytest.mark.sqlite
def test_a_backup_of_a_half_filled_database_is_completed_when_it_is_restored(
    old: Path, tmp_path: Path, expected: dict[str, list[tuple[Any, ...]]]
):
    interrupt(old)
    how_far, backup, restored = position(old), tmp_path / "backup", tmp_path / "restored"
    done = seneca("backup", backup, "--data", old)
    assert done.returncode == 0, done.stderr
    assert "Not recorded in the audit log: the schema is older than this program." in done.stderr
    assert position(old) == how_far
    assert seneca("restore", backup, "--data", restored).returncode == 0
    assert rows(restored, "sessions") == expected["sessions"]
    assert position(restored) is None


@pytest.mark.sqlite
def test_the_days_of_an_older_backup_are_those_of_the_database_that_it_replaces(old: Path, tmp_path: Path):
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    assert seneca("backup", backup, "--data", old).returncode == 0
    environment = os.environ | {"SENECA_TIME_ZONE": "Asia/Kolkata"}
    assert seneca("restore", backup, "--data", restored, env=environment).returncode == 0
    assert engine().rows(restored, "SELECT value FROM properties WHERE name = 'time-zone'") == [("Asia/Kolkata",)]
    assert seneca("stats", "verify", "--data", restored).returncode == 0


@pytest.mark.sqlite
def test_rows_with_new_numbers_are_neither_skipped_nor_filled_twice(old: Path):
    delete = "DELETE FROM sessions WHERE rowid % 3 = 0"  # as an erasure, so that the numbers have gaps
    engine().change(old, delete)
    interrupt(old)
    engine().script(old, "CREATE TABLE copy AS SELECT * FROM sessions ORDER BY rowid; DELETE FROM sessions")
    engine().script(old, "INSERT INTO sessions SELECT * FROM copy ORDER BY rowid; DROP TABLE copy; VACUUM")
    finished(old)
    unfilled = (
        "SELECT count(*) FROM sessions WHERE idle_since <> started_at OR (ended_at IS NULL) <> (ended_by IS NULL)"
    )
    assert engine().rows(old, unfilled) == [(0,)]


# -- what the operator sees --------------------------------------------------------------------


def test_a_terminal_shows_how_far_it_is_and_how_fast(old: Path):
    ours, theirs = os.openpty()
    environment = os.environ | engine().environment(old) | {"TERM": "xterm", "COLUMNS": "120"}
    command = [sys.executable, "-m", "seneca", "migrate", "--data", str(old)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 65536):
            shown += block
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
    assert process.wait(60) == 0
    text = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", shown.decode())
    assert (
        "Migration 8 (study) of a database with 12,000 sessions. If it is interrupted, it continues where it was."
        in text
    )
    assert re.search(r"fills (sessions|learner_totals): [\d,]+ of [\d,]+, [\d,]+ per second\.", text), text


def test_lines_come_from_time_to_time_and_at_the_end():
    lines: list[str] = []
    often, seldom = ProgressLines(lines.append, seconds=0), ProgressLines(lines.append)
    for done in (100, 200, 300):
        often("fills", done, 300)
    assert [re.sub(r", [\d,]+ per second", "", line) for line in lines] == [
        f"fills: {done} of 300." for done in (100, 200, 300)
    ]
    lines.clear()
    for done in (0, 100, 200, 300):
        seldom("fills", done, 300)
    seldom("fills other", 0, 0)
    assert len(lines) == 1
    assert re.fullmatch(r"fills: 300 of 300, [\d,]+ per second\.", lines[0])


def check_advice(stderr: str) -> None:
    """The failure says in one line what has happened, and what to do next."""
    assert "Traceback" not in stderr
    last = stderr.splitlines()[-1]
    assert last.startswith("seneca: ")
    assert re.search(r"Migration 8 \(study\) fills \w+: [\d,]+ of [\d,]+\. Nothing is lost", last), stderr
    assert "run seneca migrate or start the server" in last


@pytest.mark.sqlite
def test_a_full_disk_says_what_to_do_next(old: Path, expected: dict[str, list[tuple[Any, ...]]]):
    limit = (old / "seneca.db").stat().st_size // 2  # the log is smaller than the database: only it can grow to this

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    interrupt(old, steps=1)
    done = seneca_process("migrate", "--data", old, preexec_fn=limit_files)
    assert done.returncode == 1
    check_advice(done.stderr)
    check_complete(finished(old), expected)


@pytest.mark.postgres
def test_a_dropped_connection_says_what_to_do_next(old: Path, expected: dict[str, list[tuple[Any, ...]]]):
    interrupt(old)
    before = position(old)
    with blocked_step(old) as process:
        assert engine().rows(old, TERMINATE) == [(True,)]
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    check_advice(stderr)
    assert position(old) == before
    check_complete(finished(old), expected)


@pytest.mark.postgres
def test_a_process_that_is_killed_within_a_step_leaves_nothing_of_it(
    old: Path, expected: dict[str, list[tuple[Any, ...]]]
):
    interrupt(old)
    before = position(old)
    with blocked_step(old) as process:
        process.kill()
        process.wait(30)
    assert position(old) == before
    check_complete(finished(old), expected)


SENECA = "application_name = 'seneca' AND datname = current_database()"
WAITING = f"SELECT 1 FROM pg_stat_activity WHERE {SENECA} AND wait_event_type = 'Lock'"
TERMINATE = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {SENECA}"


@contextmanager
def blocked_step(data: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that migrates, and waits for a lock in the middle of a step until the end of the block."""
    command = [sys.executable, "-m", "seneca", "migrate", "--data", str(data)]
    environment = os.environ | engine().environment(data)
    with psycopg.connect(engine().url(data)) as connection:
        connection.execute("SELECT 1 FROM sessions FOR UPDATE")
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            wait_for(lambda: engine().rows(data, WAITING))
            yield process
            connection.rollback()


# -- steps in Python ---------------------------------------------------------------------------

DAYS = "SELECT bucket, learner_id, id, started_at FROM sessions WHERE {range}"
SET_TOPIC = "UPDATE sessions SET topic = :topic WHERE bucket = :bucket AND learner_id = :learner_id AND id = :id"
ZONE = ZoneInfo("America/Noronha")  # whose day begins two hours later than in UTC


def day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone(ZONE).date().isoformat()


def fill_days(tx: Transaction, sessions: Range) -> None:
    """Store each session's local day, for want of a column in the topic."""
    found = tx.fetch_all(DAYS.format(range=sessions.condition), **sessions.parameters)
    with tx.pipeline():
        for bucket, learner_id, id_, started_at in found:
            tx.execute_later(SET_TOPIC, topic=day(started_at), bucket=bucket, learner_id=learner_id, id=id_)


@pytest.mark.parametrize("has_rowid", [True, False])
def test_a_step_in_python_computes_each_row(old: Path, *, has_rowid: bool):
    backfills = (Backfill("sessions", key=("learner_id", "id"), fill=fill_days, has_rowid=has_rowid),)
    with transaction(engine().url(old)) as tx:
        place = backfill.begin(tx, 8, backfills)
    done = [place.filled]
    while place is not None:
        with transaction(engine().url(old)) as tx:
            stored = backfill.read_position(tx)
            assert stored == place
            place = backfill.advance(tx, kind(), stored, backfills)
        done += [place.filled] if place else []
    assert done == sorted(set(done))
    assert done[-1] == SESSIONS
    assert max(b - a for a, b in pairwise(done)) <= 5000
    stored_days = engine().rows(old, "SELECT started_at, topic FROM sessions")
    assert {topic for _, topic in stored_days} == {"2025-12-31", "2026-01-01"}
    assert all(topic == day(started_at) for started_at, topic in stored_days)
