"""GET /stats/user/weeks: a learner's weeks, and how many in a row reached the goal."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.server import running
from tests.test_study_days import LATE, record

PATH = "/stats/user/weeks"
School = tuple[Person, Person, dict[str, Any]]


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    """An administrator, a learner and a course; a server whose settings a test may change."""
    with running(tmp_path, **LATE) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara = sign_up(client, "tara", role="admin")
        yield tara, sign_up(client, "alice"), make_course(tara)


def monday(weeks_ago: int) -> date:
    today = datetime.now(UTC).date()
    return today - timedelta(days=today.weekday() + 7 * weeks_ago)


def study(learner: Person, course: dict[str, Any], weeks_ago: int, *weekdays: int, **members: Any) -> None:
    """Study at noon on these days of a week; 0 is Monday."""
    days = (monday(weeks_ago) + timedelta(days=weekday) for weekday in weekdays)
    record(learner, course, *(f"{day}T10:00:00+00:00" for day in days), **members)


def test_weeks_in_a_row_reach_the_goal(school: School):
    _, alice, course = school
    assert alice.get(PATH).json() == {"timeZone": "UTC", "goal": 3, "current": 0, "longest": 0, "weeks": []}
    for weeks_ago in (9, 8, 7, 3, 2, 1):
        study(alice, course, weeks_ago, 0, 2, 6)
    study(alice, course, 6, 0, 0, 0)  # three sessions on one day
    answer = alice.get(PATH).json()
    assert (answer["current"], answer["longest"]) == (3, 3)
    expected = {9: 3, 8: 3, 7: 3, 6: 1, 5: 0, 4: 0, 3: 3, 2: 3, 1: 3, 0: 0}
    assert answer["weeks"] == [
        {"week": str(monday(weeks_ago)), "days": days, "isMet": days >= 3} for weeks_ago, days in expected.items()
    ]


def test_a_week_without_the_goal_ends_a_row(school: School):
    _, alice, course = school
    for weeks_ago in (5, 4, 3, 2):
        study(alice, course, weeks_ago, 1, 2, 3, 4)
    study(alice, course, 1, 1, 2)
    answer = alice.get(PATH).json()
    assert (answer["current"], answer["longest"]) == (0, 4)


def test_weeks_of_days_off_break_nothing_and_the_goal_is_the_schools(school: School):
    tara, alice, course = school
    for weeks_ago in (4, 1):
        study(alice, course, weeks_ago, 0, 1)
    assert tara.patch("/settings", {"weeklyGoalDays": 2}).status_code == 200
    assert alice.get(PATH).json()["current"] == 1
    holidays = {"from": str(monday(3)), "to": str(monday(2) + timedelta(days=4))}  # until Friday; weekends are off
    assert tara.patch("/settings", {"daysOff": {"weekdays": [6, 7], "dates": [holidays]}}).status_code == 200
    answer = alice.get(PATH).json()
    assert (answer["goal"], answer["current"], answer["longest"]) == (2, 2, 2)
    assert tara.patch("/settings", {"daysOff": {"weekdays": [], "dates": [holidays]}}).status_code == 200
    assert alice.get(PATH).json()["current"] == 1


def test_a_day_counts_from_one_result_or_one_minute_on(school: School):
    _, alice, course = school
    day = monday(1)
    start = f"{day}T10:00:00+00:00"
    for end, modules, days in (
        ("10:00:59.999", [], 0),
        ("10:01:00", [], 1),
        ("10:00:01", [{"moduleName": "Integers"}], 1),
    ):
        learner = sign_up(alice.client, "learner")
        record(learner, course, start, sessionEnd=f"{day}T{end}+00:00", moduleStats=modules)
        assert [week["days"] for week in learner.get(PATH).json()["weeks"]][:1] == ([days] if days else [])


def test_lists_a_year_and_counts_all_weeks(school: School):
    tara, alice, course = school
    assert tara.patch("/settings", {"weeklyGoalDays": 1}).status_code == 200
    for weeks_ago in range(1, 61):
        study(alice, course, weeks_ago, 2)
    answer = alice.get(PATH).json()
    assert (answer["current"], answer["longest"], len(answer["weeks"])) == (60, 60, 53)
    assert answer["weeks"][0]["week"] == str(monday(52))
    assert answer["weeks"][-1] == {"week": str(monday(0)), "days": 0, "isMet": False}


@pytest.mark.parametrize("path", [PATH + "?from=2026-01-01"])
def test_has_no_parameters(alice: Person, path: str):
    assert alice.get(path).status_code == 400
