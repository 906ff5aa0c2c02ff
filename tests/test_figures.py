"""`seneca stats verify` names every total that is not what the recorded rows say; `rebuild` puts them right."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from seneca.database import open_database
from seneca.stats import verification
from tests.helpers.accounts import make_course, sign_up
from tests.helpers.commands import seneca
from tests.helpers.engines import engine
from tests.helpers.server import running

# Every column that keeps a total. (name_changes only says that names changed: it is never shown, and never falls.)
COLUMNS = [
    *((table.table, column) for table in verification.COMPARISONS for column in table.columns),
    ("results", "adaptive_score"),
    ("results", "quiz_score"),
]
RAW = ("SELECT bucket, learner_id, id, course_id, started_at, ended_at FROM sessions", "SELECT * FROM results")
KEPT = tuple(
    f"SELECT {', '.join(table.key)}, {', '.join(f'sum({column})' for column in table.columns)} "
    f"FROM {table.table} GROUP BY {', '.join(table.key)}"
    for table in verification.COMPARISONS
)
TABLES = sorted({table.table for table in verification.COMPARISONS} - {"sessions"})


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of two learners' study of two courses."""
    data = tmp_path_factory.mktemp("totals")
    with running(data) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara = sign_up(client, "tara", role="admin")
        courses = [make_course(tara), make_course(tara)]
        for learner in (sign_up(client, "alice"), sign_up(client, "charlie")):
            for course in courses:
                for n in range(2):
                    session_id = learner.start(course)
                    learner.update(
                        session_id,
                        {
                            "moduleName": "Integers",
                            "adaptive": {"score": 78.5},
                            "quiz": {"answers": ["\u00e9"], "score": n},
                        },
                        {"moduleName": f"Module {n}", "wrongAnswers": {"answers": ["7"]}},
                    )
                learner.end(session_id)
    return data


@pytest.fixture
def copy(studied: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    engine().copy(studied, tmp_path)
    return tmp_path


def everything(data: Path, selects: tuple[str, ...]) -> list[list[tuple[Any, ...]]]:
    return [sorted(engine().rows(data, select), key=repr) for select in selects]


def differences(data: Path) -> list[verification.Mismatch]:
    database = open_database(engine().url(data))
    try:
        with database.read_transaction() as tx:
            return list(verification.mismatches(tx))
    finally:
        database.close()


def rebuild(data: Path) -> None:
    database = open_database(engine().url(data))
    try:
        with database.write_transaction() as tx:
            verification.rebuild(tx)
    finally:
        database.close()


def test_every_kept_column_is_verified(copy: Path):
    """No column of a table of totals is neither key, nor verified, nor known to be none."""
    for table in TABLES:
        verified = {c for t in verification.COMPARISONS if t.table == table for c in (*t.key, *t.columns)}
        assert set(engine().columns(copy, table)) - verified <= {"name_changes"}


def test_what_was_recorded_over_http_is_right(studied: Path):
    assert differences(studied) == []
    done = seneca("stats", "verify", "--data", studied)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(("table", "column"), COLUMNS)
@pytest.mark.parametrize("change", [1, -1_000_000])
def test_a_changed_total_is_named_and_corrected(copy: Path, table: str, column: str, change: int):
    before = everything(copy, (*RAW, *KEPT))
    key = "id" if table == "sessions" else "session_id"
    engine().change(
        copy,
        f"UPDATE {table} SET {column} = {column} + :change "
        f"WHERE {key} = (SELECT max({key}) FROM {table} WHERE {column} IS NOT NULL)"
        if table in ("sessions", "results")
        else f"UPDATE {table} SET {column} = {column} + :change WHERE "
        + " AND ".join(
            f"{part} = (SELECT max({part}) FROM {table})"
            for part in ("bucket", "course_id")
            if part in engine().columns(copy, table)
        ),
        change=change,
    )
    changed = everything(copy, (*RAW, *KEPT))
    assert changed != before
    found = [d for d in differences(copy) if (d.table, d.column) == (table, column)]
    assert found
    for difference in found:
        assert difference.stored == difference.expected + change
        assert f"{column} is {difference.stored}, should be {difference.expected}" in str(difference)
    if table != "results":  # a wrong score makes the sums of scores wrong too
        assert len(found) == len(differences(copy))
    rebuild(copy)
    assert differences(copy) == []
    assert everything(copy, (*RAW, *KEPT)) == before


@pytest.mark.parametrize("table", TABLES)
def test_rows_that_are_missing_are_named_and_put_right(copy: Path, table: str):
    before = everything(copy, KEPT)
    courses = 1 if table in ("days", "weeks") else 2  # the learners may be of one bucket
    assert engine().change(copy, f"DELETE FROM {table}") >= courses
    found = differences(copy)
    assert {d.table for d in found} == {table}
    assert {d.stored for d in found} == {0}
    rebuild(copy)
    assert everything(copy, KEPT) == before


@pytest.mark.parametrize("table", TABLES)
def test_rows_that_should_not_be_there_are_named_and_put_right(copy: Path, table: str):
    before = everything(copy, KEPT)
    keys = {"learner_id": "'nobody'", "course_id": "'none'", "module_name": "'nothing'"}
    columns = engine().columns(copy, table)
    values = [keys.get(column, "7") for column in columns]
    engine().change(copy, f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(values)})")
    assert {(d.table, d.expected) for d in differences(copy)} == {(table, 0)}
    rebuild(copy)
    assert differences(copy) == []
    after = everything(copy, KEPT)
    assert [[row for row in rows if "none" not in row] for rows in after] == before


def test_changed_recordings_show_in_every_total_that_counts_them(copy: Path):
    """The raw rows are the truth: a session's end, a result that is gone."""
    session = engine().rows(copy, "SELECT learner_id, id FROM sessions WHERE ended_at IS NOT NULL LIMIT 1")[0]
    where = "learner_id = :learner AND {} = :id"
    key = {"learner": session[0], "id": session[1]}
    engine().change(copy, f"UPDATE sessions SET ended_at = ended_at + 60000 WHERE {where.format('id')}", **key)
    engine().change(copy, f"DELETE FROM results WHERE module_name = 'Module 1' AND {where.format('session_id')}", **key)
    found = {(d.table, d.column) for d in differences(copy)}
    assert found == {
        ("sessions", "results"),
        ("sessions", "bytes"),
        ("sessions", "active_milliseconds"),
        ("learner_totals", "names"),
        ("learner_names", "results"),
        *(
            (table, column)
            for table in ("learner_totals", "course_totals", "course_days", "days")
            for column in ("results", "milliseconds")
        ),
    } | ({("course_names", "learners"), ("course_totals", "names")} & found)
    rebuild(copy)
    assert differences(copy) == []


def test_active_time_is_proved_from_the_kept_intervals(copy: Path):
    """An event an hour later is an interval of its own: five minutes of an open session less, of an ended one none."""
    [(learner, session_id, started_at, course_id)] = engine().rows(
        copy,
        "SELECT learner_id, id, started_at, course_id FROM sessions WHERE ended_at IS NULL ORDER BY learner_id, id LIMIT 1",
    )
    key = {"learner": learner, "id": session_id}
    where = "learner_id = :learner AND id = :id"
    activity = f"[[{started_at},{started_at + 60_000}],[{started_at + 3_600_000},{started_at + 3_660_000}]]"
    engine().change(copy, f"UPDATE sessions SET activity = :activity WHERE {where}", activity=activity, **key)
    [difference] = differences(copy)
    assert (difference.table, difference.column, difference.expected) == ("sessions", "active_milliseconds", 420_000)
    rebuild(copy)
    assert differences(copy) == []
    for table in ("learner_totals", "course_totals"):
        [(total,)] = engine().rows(
            copy, f"SELECT sum(active_milliseconds) FROM {table} WHERE course_id = :c", c=course_id
        )
        [(whole,)] = engine().rows(
            copy, "SELECT sum(active_milliseconds) FROM sessions WHERE course_id = :c", c=course_id
        )
        assert total == whole >= 420_000
    engine().change(copy, f"UPDATE sessions SET active_milliseconds = active_milliseconds + 1 WHERE {where}", **key)
    assert {d.column for d in differences(copy)} == {"active_milliseconds"}
    assert {d.table for d in differences(copy)} >= {"sessions"}
    rebuild(copy)
    assert differences(copy) == []


def test_the_shell_names_every_difference_and_corrects_it(copy: Path):
    engine().change(copy, "UPDATE learner_totals SET points = points + 1, names = names - 1")
    engine().change(copy, "UPDATE course_names SET learners = 0")
    expected = [str(difference) for difference in differences(copy)]
    done = seneca("stats", "verify", "--data", copy)
    assert done.returncode == 1
    assert done.stdout.splitlines() == expected
    assert len(expected) >= 8 + 4
    assert f"{len(expected)} totals differ from the recorded rows" in done.stderr
    assert "Traceback" not in done.stderr
    assert seneca("stats", "rebuild", "--data", copy).returncode == 0
    assert seneca("stats", "verify", "--data", copy).returncode == 0
