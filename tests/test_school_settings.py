"""GET and PATCH /settings: the school's settings."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.assertions import refused
from tests.helpers.server import Server, running
from tests.helpers.wire import answers_head, counts, refuses_bodies, refuses_callers, refuses_methods, refuses_query

PATH = "/settings"
DEFAULTS = {
    "schoolName": None,
    "passMark": 50,
    "fullMark": 100,
    "quietAfterDays": 7,
    "daysOff": {"weekdays": [6, 7], "dates": []},
    "weeklyGoalDays": 3,
    "timeZone": "UTC",
}
CHRISTMAS = {"from": "2026-12-19", "to": "2027-01-03"}


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose settings are these tests'."""
    with running(tmp_path_factory.mktemp("school")) as server:
        yield server


@pytest.fixture(scope="module")
def tara(school: Server) -> Iterator[Person]:
    with httpx.Client(base_url=school.url, timeout=30) as client:
        yield sign_up(client, "tara", role="admin")


@pytest.fixture(autouse=True)
def defaults(school: Server, tara: Person) -> None:
    """Each test begins with the defaults."""
    for course in tara.get("/course").json():
        assert tara.delete(f"/course/{course['id']}").status_code == 204
    assert tara.patch(PATH, DEFAULTS).json() == DEFAULTS


def test_a_new_database_has_the_defaults(tmp_path: Path):
    with running(tmp_path / "data") as server, httpx.Client(base_url=server.url) as client:
        tara = sign_up(client, "tara", role="admin")
        answer = tara.get(PATH)
        assert (answer.status_code, answer.json()) == (200, DEFAULTS)
        assert "50.0" not in answer.text
        assert server.rows("SELECT 1 FROM properties WHERE name = 'school'") == []


@pytest.mark.parametrize(
    "change",
    [
        {"schoolName": "Saint Éve’s"},
        {"schoolName": "x" * 200},
        {"schoolName": None},
        {"passMark": 0},
        {"passMark": 100},
        {"passMark": 66.667},
        {"fullMark": 1_000_000},
        {"passMark": 0.001, "fullMark": 0.001},
        {"quietAfterDays": 1},
        {"quietAfterDays": 365},
        {"weeklyGoalDays": 7},
        {"daysOff": {"weekdays": [], "dates": []}},
        {"daysOff": {"weekdays": [1, 2, 3, 4, 5, 6, 7], "dates": [CHRISTMAS] * 200}},
        {"daysOff": {"weekdays": [5], "dates": [{"from": "0001-01-01", "to": "0001-01-01"}]}},
        DEFAULTS | {"schoolName": "All at once", "passMark": 4, "fullMark": 6, "weeklyGoalDays": 1},
    ],
)
def test_changes_what_is_given_and_keeps_the_rest(tara: Person, change: dict[str, Any]):
    answer = tara.patch(PATH, change)
    assert (answer.status_code, answer.json()) == (200, DEFAULTS | change)
    assert list(answer.json()) == list(DEFAULTS)
    assert tara.get(PATH).content == answer.content


def test_marks_are_rounded_to_three_decimals_half_to_even(tara: Person):
    answer = tara.patch(PATH, content=b'{"passMark": 33.3335, "fullMark": 66.66650}', headers=JSON)
    assert answer.json() == DEFAULTS | {"passMark": 33.334, "fullMark": 66.666}
    assert b'"passMark":50,' in tara.patch(PATH, content=b'{"passMark": 50.0, "fullMark": 1e2}', headers=JSON).content


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({}, "", "at least one setting is required"),
        ({"passMark": 100.001}, "passMark", "leaves the pass mark above the full mark: 100.001 and 100"),
        ({"fullMark": 49}, "fullMark", "leaves the pass mark above the full mark: 50 and 49"),
        ({"passMark": 6, "fullMark": 5}, "passMark", "leaves the pass mark above the full mark: 6 and 5"),
        ({"passMark": -1}, "passMark", "must be at least 0"),
        ({"passMark": "50"}, "passMark", "must be a number, not a string"),
        ({"passMark": None}, "passMark", "must be a number, not null"),
        ({"fullMark": 0}, "fullMark", "must be at least 0.001"),
        ({"fullMark": 1_000_001}, "fullMark", "must be at most 1,000,000"),
        ({"quietAfterDays": 0}, "quietAfterDays", "must be at least 1"),
        ({"quietAfterDays": 366}, "quietAfterDays", "must be at most 365"),
        ({"quietAfterDays": 1.5}, "quietAfterDays", "must be a whole number, not a number"),
        ({"weeklyGoalDays": 8}, "weeklyGoalDays", "must be at most 7"),
        ({"schoolName": ""}, "schoolName", "must have at least 1 character"),
        ({"schoolName": "a\nb"}, "schoolName", "must not contain control characters"),
        ({"schoolName": "x" * 201}, "schoolName", "must have at most 200 characters"),
        ({"daysOff": None}, "daysOff", "must be an object, not null"),
        ({"daysOff": {"weekdays": [6, 7]}}, "daysOff.dates", "is required"),
        ({"daysOff": {"weekdays": [0], "dates": []}}, "daysOff.weekdays[0]", "must be at least 1"),
        ({"daysOff": {"weekdays": [8], "dates": []}}, "daysOff.weekdays[0]", "must be at most 7"),
        (
            {"daysOff": {"weekdays": [6, 7, 6], "dates": []}},
            "daysOff.weekdays[2]",
            "must differ from the other weekdays",
        ),
        ({"daysOff": {"weekdays": [1] * 8, "dates": []}}, "daysOff.weekdays", "must have at most 7 entries"),
        ({"daysOff": {"weekdays": [], "dates": [CHRISTMAS] * 201}}, "daysOff.dates", "must have at most 200 entries"),
        ({"passmark": 50}, "passmark", "is not a known member"),
        ({"timeZone ": "UTC"}, "timeZone ", "is not a known member"),
    ],
)
def test_refuses_what_cannot_be(school: Server, tara: Person, change: dict[str, Any], field: str, rule: str):
    before = counts(school)
    [error, *_] = refused(tara.patch(PATH, json=change), 400, "invalid-input")["errors"]
    assert (error["field"], error["message"]) == (field, rule)
    assert tara.get(PATH).json() == DEFAULTS
    assert counts(school) == before


@pytest.mark.parametrize("day", ["2026-02-30", "2026-13-01", "20261219", "2026-12-19T00:00:00Z", "0000-01-01", "x", ""])
def test_refuses_dates_that_do_not_exist(tara: Person, day: str):
    for period in ({"from": day, "to": "2026-12-19"}, {"from": "2026-12-19", "to": day}):
        change = {"daysOff": {"weekdays": [], "dates": [CHRISTMAS, period]}}
        [error] = refused(tara.patch(PATH, change), 400, "invalid-input")["errors"]
        assert error["field"] in ("daysOff.dates[1].from", "daysOff.dates[1].to")
        assert error["message"] == "must be a date such as 2026-11-23"


def test_every_error_of_the_days_off_is_named_in_order(tara: Person):
    days_off = {
        "weekdays": [6, 6, "x"],
        "dates": [{"from": "2026-02-02", "to": "2026-02-01"}, {"from": "x", "to": 5}, {"from": "2026-02-02"}],
        "extra": 1,
    }
    errors = refused(tara.patch(PATH, {"daysOff": days_off}), 400, "invalid-input")["errors"]
    assert [error["field"].removeprefix("daysOff.") for error in errors] == [
        *("weekdays[1]", "weekdays[2]", "dates[0].to", "dates[1].from", "dates[1].to", "dates[2].to", "extra")
    ]


def test_marks_cannot_contradict_those_of_a_course(tara: Person):
    course = make_course(tara)
    assert tara.patch(f"/course/{course['id']}/settings", {"passMark": 80}).status_code == 200
    problem = refused(tara.patch(PATH, {"fullMark": 79}), 400, "invalid-input", "")
    assert "courses with marks of their own: 1" in problem["detail"]
    assert tara.get(PATH).json() == DEFAULTS
    assert tara.patch(PATH, {"fullMark": 80}).status_code == 200


def test_changes_at_once_all_count_and_never_contradict(school: Server, tara: Person):
    course = make_course(tara)
    clients = [httpx.Client(base_url=school.url, timeout=30) for _ in range(8)]
    admins = [Person(client, tara.token) for client in clients]
    changes = [
        *(partial(admins[n].patch, PATH, {name: 5}) for n, name in enumerate(("quietAfterDays", "weeklyGoalDays"))),
        partial(admins[2].patch, PATH, {"schoolName": "One"}),
        partial(admins[3].patch, PATH, {"daysOff": {"weekdays": [], "dates": []}}),
        *(partial(admins[n].patch, PATH, {"passMark": 10, "fullMark": 60}) for n in (4, 5)),
        *(partial(admins[n].patch, f"/course/{course['id']}/settings", {"passMark": 90}) for n in (6, 7)),
    ]
    with ThreadPoolExecutor(len(changes)) as threads:
        answers = [future.result() for future in [threads.submit(change) for change in changes]]
    for client in clients:
        client.close()
    statuses = [answer.status_code for answer in answers]
    assert statuses[:4] == [200] * 4
    assert statuses[4:] in ([200, 200, 400, 400], [400, 400, 200, 200])
    found = tara.get(PATH).json()
    assert (found["schoolName"], found["quietAfterDays"], found["weeklyGoalDays"]) == ("One", 5, 5)
    assert found["daysOff"] == {"weekdays": [], "dates": []}
    in_force = tara.get(f"/course/{course['id']}/settings").json()["inForce"]
    assert in_force["passMark"] <= in_force["fullMark"]


def test_a_change_is_audited_without_names(school: Server, tara: Person):
    tara.patch(
        PATH, {"schoolName": "Secret School", "passMark": 33.3335, "weeklyGoalDays": 2, "daysOff": DEFAULTS["daysOff"]}
    )
    [entry] = tara.get("/audit?limit=1").json()
    assert (entry["actor"], entry["act"], entry["subject"]) == (tara.id, "settings.changed", None)
    assert entry["facts"] == {
        "schoolName": "changed",
        "passMark": "33.334",
        "weeklyGoalDays": "2",
        "daysOff": "changed",
    }
    assert not any("Secret" in line for line in school.log_lines())


def test_refuses_who_may_not_and_other_requests(tara: Person):
    nobody, alice = Person(tara.client), sign_up(tara.client, "alice")
    for method in ("GET", "PATCH"):
        refuses_callers(nobody, method, PATH, but=tara, wrong_role=alice)
    refuses_methods(nobody, PATH, "GET", "PATCH")
    refuses_query(tara, "GET", PATH)
    refuses_bodies(tara, "PATCH", PATH)
    answers_head(tara, PATH)
