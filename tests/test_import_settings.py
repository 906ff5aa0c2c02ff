"""The exchange format: the line of the school's settings, and the marks of courses."""

from pathlib import Path
from typing import Any

import pytest

from seneca import school
from seneca.exchange.report import BadLines
from seneca.school import SchoolSettings
from tests.helpers.exchange import CHARLIE_ID, Shell, Store, course, session, stored, user

SETTINGS = {
    "kind": "settings",
    "schoolName": "Saint Éve’s",
    "passMark": 33.333,
    "fullMark": 80,
    "quietAfterDays": 10,
    "daysOff": {"weekdays": [7], "dates": [{"from": "2026-12-19", "to": "2027-01-03"}]},
    "weeklyGoalDays": 2,
}
MARKS = {"passMark": 12.5, "fullMark": 15}
ROWS = {
    "properties": "SELECT value FROM properties WHERE name = 'school'",
    "courses": "SELECT * FROM courses ORDER BY id",
}


def everything(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    return {table: store.rows(sql) for table, sql in ROWS.items()}


def test_an_export_of_settings_and_marks_reproduces_every_row(tmp_path: Path):
    with stored(tmp_path / "from") as source:
        other = course(id=CHARLIE_ID, courseTitle="Physics", createdAt="2026-01-01T00:00:00.000Z")
        report = source.load(SETTINGS, course(**MARKS), other, user(), session())
        assert (report.settings.stored, report.courses.stored) == (1, 2)
        lines = source.export()
        assert lines[0] == SETTINGS
        assert [{name: line.get(name) for name in MARKS} for line in lines[1:3]] == [MARKS, dict.fromkeys(MARKS)]
        assert "passMark" not in lines[2]
        with stored(tmp_path / "to") as target:
            target.load(*lines)
            assert everything(target) == everything(source)
            assert target.export() == lines
            again = target.load(*lines)
            assert (again.settings.skipped, again.courses.skipped) == (1, 2)
            assert target.differences() == []


def test_a_database_whose_settings_nobody_has_changed_exports_none(tmp_path: Path):
    with stored(tmp_path) as store:
        store.load(course())
        assert [line["kind"] for line in store.export()] == ["course"]
        with store.database.read_transaction() as tx:
            assert school.get(tx) == SchoolSettings()


def test_other_settings_are_a_bad_line_unless_they_are_to_replace(tmp_path: Path):
    with stored(tmp_path) as store:
        store.load(SETTINGS)
        changed = SETTINGS | {"weeklyGoalDays": 5}
        with pytest.raises(BadLines, match="Line 1: weeklyGoalDays: differs from the stored setting"):
            store.load(changed)
        assert store.load(changed, update=True).settings.updated == 1
        assert store.export() == [changed]
        assert store.load({"kind": "settings", "weeklyGoalDays": 5}).settings.skipped == 1
        store.load({"kind": "settings", "schoolName": None}, update=True)
        assert store.export() == [changed | {"schoolName": None}]
        [(facts,)] = store.rows("SELECT facts FROM audit ORDER BY at DESC, id DESC LIMIT 1")
        assert '"settings":1' in facts


def test_marks_of_a_course_are_compared_if_the_line_has_them(tmp_path: Path):
    with stored(tmp_path) as store:
        store.load(course(**MARKS))
        assert store.load(course()).courses.skipped == 1  # a file of an earlier version
        assert store.load(course(passMark=12.5004)).courses.skipped == 1
        with pytest.raises(BadLines, match="Line 1: passMark: differs from what is stored"):
            store.load(course(passMark=13))
        assert store.load(course(passMark=13), update=True).courses.updated == 1
        assert store.load(course(qualification="A level"), update=True).courses.updated == 1
        [line] = store.export()
        assert (line["passMark"], line["fullMark"], line["qualification"]) == (13, 15, "A level")


def test_nothing_of_a_course_with_bad_marks_is_stored_when_bad_lines_are_skipped(tmp_path: Path):
    with stored(tmp_path) as store:
        bad = course(id=CHARLIE_ID, courseTitle="Physics", passMark=150)
        report = store.load(course(), bad, user(), skip_bad=True)
        assert (report.courses.stored, report.bad) == (1, 1)
        assert [line["courseTitle"] for line in store.export() if line["kind"] == "course"] == ["Mathematics"]
        report = store.load(course(qualification="A level", passMark=150), user(), skip_bad=True, update=True)
        assert (report.courses.updated, report.bad) == (0, 1)
        assert store.export()[0]["qualification"] == "GCSE"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([SETTINGS | {"passMark": 81}], "Line 1: passMark: leaves the pass mark above the full mark: 81 and 80"),
        ([course(passMark=101)], "Line 1: passMark: leaves the pass mark above the full mark: 101 and 100"),
        ([SETTINGS, course(passMark=90)], "Line 2: passMark: leaves the pass mark above the full mark: 90 and 80"),
        ([course(passMark=90), SETTINGS], "Line 2: leaves the pass mark above the full mark in courses"),
        ([course(fullMark=0)], "Line 1: fullMark: must be at least 0.001"),
        ([SETTINGS | {"daysOff": {"weekdays": [7, 7], "dates": []}}], "Line 1: daysOff.weekdays.1.: must differ"),
        ([SETTINGS | {"daysOff": {"weekdays": [8], "dates": []}}], "Line 1: daysOff.weekdays.0.: must be at most 7"),
        ([SETTINGS | {"weeklyGoalDays": None}], "Line 1: weeklyGoalDays: must be a whole number, not null"),
        ([SETTINGS | {"theme": "dark"}], "Line 1: theme: is not a known member"),
        ([SETTINGS, SETTINGS | {"passMark": 1}], "Line 2: passMark: differs from the stored setting"),
    ],
)
def test_bad_lines_are_named_and_nothing_is_stored(tmp_path: Path, lines: list[dict[str, Any]], reason: str):
    with stored(tmp_path) as store:
        with pytest.raises(BadLines, match=reason):
            store.load(*lines)
        assert everything(store) == {"properties": [], "courses": []}


def test_the_command_counts_settings(tmp_path: Path):
    shell = Shell(tmp_path)
    assert shell.load(SETTINGS, course())[1].count("Imported 1 line of settings, 1 courses,") == 1
    assert shell.load(course())[1].count("Imported 0 courses (1 unchanged),") == 1


def test_bad_settings_can_be_left_out(tmp_path: Path):
    with stored(tmp_path) as store:
        report = store.load(SETTINGS | {"passMark": 81}, course(), skip_bad=True)
        assert (report.bad, report.settings.stored, report.courses.stored) == (1, 0, 1)
        assert store.rows(ROWS["properties"]) == []
