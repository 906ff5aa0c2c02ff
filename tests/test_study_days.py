"""Statistics by study day: the day on which a session started in the database's time zone."""

import itertools
import json
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import apsw
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seneca.common.ids import bucket_of
from seneca.common.study_days import EARLIEST_DAY, LATEST_DAY, day_of, from_date, start_of, to_date, week_of
from seneca.common.times import DAY_MS
from seneca.database.cache import Cache
from seneca.database.properties import Properties
from seneca.database.sqlite.transaction import SqliteTransaction
from seneca.stats import learner_counts
from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.engines import engine
from tests.helpers.exchange import ALICE_ID, COURSE_ID, session, stored, user
from tests.helpers.exchange import course as course_line
from tests.helpers.server import Server, running
from tests.test_tables import CSV, MEDIA_TYPES, table

LATE = {"SENECA_MAX_LATE_DAYS": "3650"}
ZONES = ("Europe/London", "Asia/Kathmandu", "Asia/Kolkata", "America/St_Johns", "Pacific/Chatham", "America/Santiago")
"""With a change of clocks at night, at midnight, and 30 and 45 minutes from UTC."""
SUMS = ("sessions", "results", "points")


# -- days --------------------------------------------------------------------------------------


@given(st.sampled_from(ZONES), st.integers(0, 30_000 * DAY_MS))
def test_a_day_is_that_of_a_clock_on_the_wall(zone: str, time: int):
    wall = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time)
    assert to_date(day_of(time, ZoneInfo(zone))) == str(wall.astimezone(ZoneInfo(zone)).date())


@given(
    st.sampled_from(ZONES), st.integers(14_610, 30_000)
)  # from 2010 on: St John's changed its clocks a minute after midnight before
def test_a_day_begins_where_the_one_before_ends(zone: str, day: int):
    start = start_of(day, ZoneInfo(zone))
    assert (day_of(start - 1, ZoneInfo(zone)), day_of(start, ZoneInfo(zone))) == (day - 1, day)


@given(st.integers(EARLIEST_DAY, LATEST_DAY))
def test_a_week_is_its_monday(day: int):
    monday = date.fromisoformat(to_date(week_of(day)))
    assert monday.weekday() == 0
    assert 0 <= day - from_date(str(monday)) < 7


# -- over HTTP ---------------------------------------------------------------------------------


def record(learner: Person, course: dict[str, Any], *starts: str, **members: Any) -> list[str]:
    """Record a session of 90 minutes for each start, with one quiz each; returns their ids."""
    items = [
        {
            "sessionId": str(uuid4()),
            "courseIdentifier": course["id"],
            "topic": course["topicsAndModules"][0]["topic"],
            "sessionStart": start,
            "sessionEnd": (datetime.fromisoformat(start) + timedelta(minutes=90)).isoformat(),
            "moduleStats": [{"moduleName": "Integers", "quiz": {"score": 10 + number}}],
        }
        | members
        for number, start in enumerate(starts)
    ]
    answer = learner.post("/session/batch", {"sessions": items})
    assert [result["status"] for result in answer.json()["results"]] == [201] * len(items), answer.text
    return [str(item["sessionId"]) for item in items]


def days(person: Person, path: str, first: str, last: str, by: str = "day") -> dict[str, dict[str, Any]]:
    """The rows that have sessions, by day."""
    answer = person.get(f"/stats/{path}/days", params={"from": first, "to": last, "by": by})
    assert answer.status_code == 200, answer.text
    rows = answer.json()["days"]
    assert [row["day"] for row in rows] == sorted(row["day"] for row in rows)
    return {row["day"]: row for row in rows if row["sessions"] or row.get("learners")}


NIGHTS = (
    *(
        "2025-03-30T00:59:59.999+00:00",
        "2025-03-30T01:00:00+00:00",
        "2025-03-29T23:59:59+00:00",
    ),  # clocks go forward in London
    *(
        "2025-10-25T23:00:00+00:00",
        "2025-10-26T00:30:00+00:00",
        "2025-10-26T01:30:00+00:00",
        "2025-10-26T23:59:59.999+00:00",
    ),
    *("2025-06-10T18:14:59.999+00:00", "2025-06-10T18:15:00+00:00"),  # midnight in Kathmandu
    *("2025-06-10T18:29:59.999+00:00", "2025-06-10T18:30:00+00:00"),  # midnight in Kolkata
    *(
        "2025-04-06T02:59:59+00:00",
        "2025-04-06T03:30:00+00:00",
        "2025-04-06T04:00:00+00:00",
    ),  # clocks go back at midnight in Santiago
)
PERIOD = ("2025-03-01", "2025-11-30")


def expected_days(starts: tuple[str, ...], zone: str) -> Counter[str]:
    return Counter(str(datetime.fromisoformat(start).astimezone(ZoneInfo(zone)).date()) for start in starts)


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES[:2])
def test_sessions_around_midnight_and_changes_of_clocks_stay_on_their_days(zone: str, tmp_path: Path):
    """Also after a rebuild in other zones, and an export into a database of another zone."""
    first, moved = tmp_path / "first", tmp_path / "moved"
    with running(first, SENECA_TIME_ZONE=zone, **LATE) as server, httpx.Client(base_url=server.url) as client:
        tara = sign_up(client, "tara", role="admin")
        alice = sign_up(client, "alice")
        course = make_course(tara)
        record(alice, course, *NIGHTS)
        scopes = [
            (tara, f"courses/{course['id']}"),
            (alice, "user"),
            (tara, f"users/{alice.id}/courses/{course['id']}"),
        ]
        before = [days(person, path, *PERIOD) for person, path in scopes]
        for rows in before:
            assert {day: row["sessions"] for day, row in rows.items()} == expected_days(NIGHTS, zone)
            assert sum(row["points"] for row in rows.values()) == sum(10 + number for number in range(len(NIGHTS)))
            assert sum(row["timeInMinutes"] for row in rows.values()) == 90 * len(NIGHTS)
        for other in (*ZONES, zone):
            done = seneca("stats", "rebuild", "--time-zone", other, "--data", first)
            assert done.returncode == 0, done.stderr
            rows = days(tara, f"courses/{course['id']}", *PERIOD)  # of a server that keeps running
            assert {day: row["sessions"] for day, row in rows.items()} == expected_days(NIGHTS, other)
        assert [days(person, path, *PERIOD) for person, path in scopes] == before
        assert seneca("stats", "verify", "--data", first).returncode == 0
    file = tmp_path / "export.jsonl"
    assert seneca("export", file, "--data", first).returncode == 0
    done = seneca("import", file, "--data", moved, env=os.environ | {"SENECA_TIME_ZONE": ZONES[2]})
    assert done.returncode == 0, done.stderr
    assert seneca("stats", "verify", "--data", moved).returncode == 0
    with running(moved) as server, httpx.Client(base_url=server.url) as client:
        admin = sign_up_admin(server, client)
        rows = days(admin, f"courses/{course['id']}", *PERIOD)
        assert {day: row["sessions"] for day, row in rows.items()} == expected_days(NIGHTS, ZONES[2])


def sign_up_admin(server: Server, client: httpx.Client) -> Person:
    done = seneca("admin", "create", "tina", "tina@example.org", "--data", server.data, input="securePassword123\n")
    assert done.returncode == 0, done.stderr
    answer = client.post("/auth/login", json={"username": "tina", "password": "securePassword123"})
    return Person(client, answer.json()["token"])


def test_a_row_has_every_statistic(tara: Person, alice: Person, course):
    start = datetime.now(UTC) - timedelta(days=2)
    [session_id] = record(alice, course, start.isoformat())
    alice.put(
        "/session/updateSession",
        {
            "sessionId": session_id,
            "moduleStats": [
                {
                    "moduleName": "Integers",
                    "adaptive": {"score": 20.5},
                    "recordedAt": (start + timedelta(minutes=10)).isoformat(),
                },
                {
                    "moduleName": "Primes",
                    "wrongAnswers": {"answers": ["7"]},
                    "recordedAt": (start + timedelta(minutes=12)).isoformat(),
                },
            ],
        },
    )
    day = str(start.date())
    row = {
        "day": day,
        "sessions": 1,
        "results": 2,
        "points": 30.5,
        "timeInMinutes": 90,
        "activeMinutes": 12,
        "averageScore": 15.25,
    }
    assert days(alice, "user", day, day) == {day: row}
    assert days(tara, f"courses/{course['id']}", day, day) == {day: row | {"learners": 1}}


def test_days_without_sessions_are_zero_and_the_default_is_28_days_until_today(tara: Person, course):
    answer = tara.get(f"/stats/courses/{course['id']}/days").json()
    today = datetime.now(UTC).date()
    assert answer["timeZone"] == "UTC"
    assert [row["day"] for row in answer["days"]][-1] in (str(today), str(today - timedelta(days=1)))  # at midnight
    assert len(answer["days"]) == 28
    zeros = {"sessions": 0, "results": 0, "points": 0, "timeInMinutes": 0, "activeMinutes": 0, "learners": 0}
    assert all(row == {"day": row["day"], "averageScore": None} | zeros for row in answer["days"])


def test_weeks_are_whole_and_named_by_their_monday(tara: Person, alice: Person, course):
    today = datetime.now(UTC)
    monday = (today - timedelta(days=today.weekday() + 7)).replace(hour=12)
    record(alice, course, *((monday + timedelta(days=day)).isoformat() for day in (0, 3, 6)))
    rows = days(
        tara,
        f"courses/{course['id']}",
        str((monday + timedelta(days=2)).date()),
        str((monday + timedelta(days=3)).date()),
        "week",
    )
    assert {day: (row["sessions"], row["learners"]) for day, row in rows.items()} == {str(monday.date()): (3, 1)}


def test_a_learner_counts_from_the_first_session_to_the_last(tara: Person, alice: Person, charlie: Person, course):
    """Whatever the number of sessions, as they are added, moved, deleted and erased."""
    other = make_course(tara)
    noon = (datetime.now(UTC) - timedelta(days=3)).replace(hour=12)
    day, day_before = str(noon.date()), str((noon - timedelta(days=1)).date())

    def learners() -> tuple[int, int, int]:
        rows = days(tara, f"courses/{course['id']}", day_before, day)
        of_other = days(tara, f"courses/{other['id']}", day_before, day)
        return (
            rows.get(day_before, {}).get("learners", 0),
            rows.get(day, {}).get("learners", 0),
            of_other.get(day, {}).get("learners", 0),
        )

    first, second = record(alice, course, noon.isoformat(), (noon + timedelta(minutes=5)).isoformat())
    assert learners() == (0, 1, 0)
    record(alice, other, noon.isoformat())
    record(charlie, course, noon.isoformat())
    assert learners() == (0, 2, 1)
    assert tara.patch(f"/session/{first}", {"sessionStart": (noon - timedelta(days=1)).isoformat()}).status_code == 200
    assert learners() == (1, 2, 1)
    assert tara.delete(f"/session/{second}").status_code == 204
    assert learners() == (1, 1, 1)
    assert tara.patch(f"/session/{first}", {"sessionStart": noon.isoformat()}).status_code == 200
    assert learners() == (0, 2, 1)
    assert tara.delete(f"/users/{alice.id}").status_code == 204
    assert learners() == (0, 1, 0)


def test_a_late_result_belongs_to_the_day_of_its_session(tara: Person, alice: Person, course):
    start = datetime.now(UTC) - timedelta(days=5)
    [session_id] = record(alice, course, start.isoformat())
    end = start + timedelta(minutes=90)
    late = {"moduleName": "Primes", "quiz": {"score": 5}, "recordedAt": end.isoformat()}
    alice.update(session_id, late)
    assert (
        days(tara, f"courses/{course['id']}", str(start.date()), str(start.date()))[str(start.date())]["points"] == 15
    )


def test_the_days_of_a_course_and_of_learners_add_up_to_their_totals(
    tara: Person, alice: Person, charlie: Person, course
):
    now = datetime.now(UTC)
    for learner in (alice, charlie):
        record(learner, course, *((now - timedelta(days=day, hours=2)).isoformat() for day in range(1, 9)))
    for person, path in ((tara, f"courses/{course['id']}"), (alice, "user"), (charlie, f"user/courses/{course['id']}")):
        rows = days(person, path, str((now - timedelta(days=12)).date()), str(now.date())).values()
        total = person.get(f"/stats/{path}").json()
        assert sum(row["points"] for row in rows) == total["scores"]["totalSessionPoints"]
        assert sum(row["timeInMinutes"] for row in rows) == total["sessionTime"]["timeInMinutes"]


BAD = [
    ({"from": "yesterday"}, "from"),
    ({"from": "2026-02-30"}, "from"),
    ({"from": "2026-W48-1"}, "from"),
    ({"to": "2026-11-23T10:00:00Z"}, "to"),
    ({"to": ""}, "to"),
    ({"from": "2026-11-24", "to": "2026-11-23"}, "from"),
    ({"from": "1999-07-10", "to": "2026-11-25"}, "from"),  # 10,000 days
    ({"from": "2000-01-01", "to": "2026-11-25", "by": "week"}, "from"),
    ({"by": "month"}, "by"),
    ({"sort": "day"}, "sort"),
]


@pytest.mark.parametrize(("params", "field"), BAD, ids=range(len(BAD)))
def test_refuses_bad_periods(tara: Person, course, params: dict[str, str], field: str):
    answer = tara.get(f"/stats/courses/{course['id']}/days", params=params)
    refused(answer, 400, "invalid-input")
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_the_ends_of_the_calendar_are_days(tara: Person, course):
    for first, last in (("0001-01-01", "0001-01-03"), ("9999-12-29", "9999-12-31")):
        for by in ("day", "week"):
            assert days(tara, f"courses/{course['id']}", first, last, by) == {}
    assert len(tara.get(f"/stats/courses/{course['id']}/days", params={"to": "0001-01-05"}).json()["days"]) == 5


def test_400_rows_are_allowed_and_401_are_not(tara: Person, course):
    path = f"/stats/courses/{course['id']}/days"
    assert len(tara.get(path, params={"from": "2025-01-01", "to": "2026-02-04"}).json()["days"]) == 400
    refused(tara.get(path, params={"from": "2025-01-01", "to": "2026-02-05"}), 400, "invalid-input")


def test_what_does_not_exist_is_404(tara: Person, alice: Person):
    refused(tara.get(f"/stats/courses/{uuid4()}/days"), 404, "course-not-found")
    refused(alice.get(f"/stats/user/courses/{uuid4()}/days"), 404, "course-not-found")
    refused(tara.get(f"/stats/users/{uuid4()}/days"), 404, "account-not-found")
    refused(tara.get(f"/stats/users/{alice.id}/courses/{uuid4()}/days"), 404, "course-not-found")


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_days_are_the_rows_of_a_table(tara: Person, alice: Person, course, media_type: str):
    start = datetime.now(UTC) - timedelta(days=2)
    record(alice, course, start.isoformat())
    for person, path in ((tara, f"/stats/courses/{course['id']}/days"), (alice, "/stats/user/days?by=week")):
        listed = person.get(path).json()
        header, *rows = table(person, path, media_type)
        assert header == [*listed["days"][0], "timeZone"]
        expected = [[*day.values(), listed["timeZone"]] for day in listed["days"]]
        as_text = [[None if cell is None else str(cell) for cell in row] for row in expected]
        assert rows == (as_text if media_type == CSV else expected)


# -- the time zone -----------------------------------------------------------------------------


def test_dates_of_lists_are_study_days(tmp_path: Path):
    with (
        running(tmp_path, SENECA_TIME_ZONE="Asia/Kathmandu", **LATE) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        tara = sign_up(client, "tara", role="admin")
        alice = sign_up(client, "alice")
        _, second, third, _ = record(alice, make_course(tara), *NIGHTS[7:11])
        assert third
        listed = alice.get("/stats/user/sessions", params={"from": "2025-06-11", "to": "2025-06-11"}).json()
        assert [session["sessionStart"][11:19] for session in listed] == ["18:15:00", "18:29:59", "18:30:00"]
        assert listed[0]["id"] == second


def test_a_server_with_another_time_zone_does_not_start(tmp_path: Path):
    assert seneca("migrate", "--data", tmp_path, env=os.environ | {"SENECA_TIME_ZONE": "Europe/London"}).returncode == 0
    done = seneca("serve", "--port", "0", "--data", tmp_path, env=os.environ | {"SENECA_TIME_ZONE": "Asia/Kolkata"})
    assert done.returncode == 1
    assert "Europe/London" in done.stderr
    assert "stats rebuild --time-zone Asia/Kolkata" in done.stderr


def test_an_administrator_changes_the_time_zone_while_there_are_no_sessions(tmp_path: Path):
    with running(tmp_path) as server, httpx.Client(base_url=server.url) as client:
        tara = sign_up(client, "tara", role="admin")
        alice = sign_up(client, "alice")
        course = make_course(tara)
        assert tara.get("/settings").json()["timeZone"] == "UTC"
        refused(tara.patch("/settings", {"timeZone": "Europe/Londn"}), 400, "invalid-input", "timeZone")
        refused(alice.patch("/settings", {"timeZone": "Europe/London"}), 403, "forbidden")
        changed = tara.patch("/settings", {"timeZone": "Pacific/Kiritimati", "passMark": 60}).json()
        assert (changed["timeZone"], changed["passMark"]) == ("Pacific/Kiritimati", 60)
        assert tara.get("/settings").json() == changed
        start = (datetime.now(UTC) - timedelta(days=2)).replace(hour=10, minute=30)  # past midnight there
        record(alice, course, start.isoformat())
        next_day = str((start + timedelta(days=1)).date())
        assert list(days(alice, "user", str(start.date()), next_day)) == [next_day]
        answer = tara.patch("/settings", {"timeZone": "UTC", "passMark": 70})
        assert "stats rebuild --time-zone" in refused(answer, 409, "time-zone-in-use")["detail"]
        assert tara.patch("/settings", {"timeZone": "Pacific/Kiritimati"}).json() == changed
        rows = server.rows("SELECT facts FROM audit WHERE act = 'settings.changed' ORDER BY at, id")
        assert [json.loads(facts) for (facts,) in rows] == [
            {"passMark": "60", "timeZone": "changed"},
            {"timeZone": "changed"},
        ]


def test_a_corrected_end_moves_no_session_although_the_rules_of_the_zone_have_changed(
    server: Server, tara: Person, alice: Person, course
):
    """A release of the time zone data changes past rules; here, another zone stands for it."""
    start = (datetime.now(UTC) - timedelta(days=2)).replace(hour=10)
    [session_id] = record(alice, course, start.isoformat())
    engine().change(server.data, "UPDATE properties SET value = 'Pacific/Kiritimati' WHERE name = 'time-zone'")
    end = {"sessionEnd": (start + timedelta(minutes=30)).isoformat()}
    assert tara.patch(f"/session/{session_id}", end).status_code == 200
    engine().change(server.data, "UPDATE properties SET value = 'UTC' WHERE name = 'time-zone'")
    done = seneca("stats", "verify", "--data", server.data)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_start_and_a_change_of_the_time_zone_at_once_agree_on_the_day(tmp_path: Path):
    """Whichever comes first: the session's day is that of the time zone that is in force afterwards."""
    with running(tmp_path, "--workers", "2") as server, httpx.Client(base_url=server.url, timeout=60) as client:
        tara = sign_up(client, "tara", role="admin")
        alice = sign_up(client, "alice")
        course = make_course(tara)
        zones = itertools.cycle(["Pacific/Kiritimati", "Pacific/Niue"])  # always another day
        outcomes = set()
        for _ in range(12):
            with ThreadPoolExecutor(2) as pool:
                start = pool.submit(alice.start, course)
                outcomes.add(pool.submit(tara.patch, "/settings", {"timeZone": next(zones)}).result().status_code)
            done = seneca("stats", "verify", "--data", tmp_path)
            assert (done.returncode, done.stdout) == (0, "")
            assert tara.delete(f"/session/{start.result()}").status_code == 204
        assert outcomes <= {200, 409}


@pytest.mark.parametrize(
    "name", ["Europe/Londn", "../etc/passwd", "Europe", "/etc/localtime", "localtime", "right/UTC", " "]
)
def test_a_time_zone_that_does_not_exist_is_refused(tmp_path: Path, name: str):
    done = seneca("migrate", "--data", tmp_path, env=os.environ | {"SENECA_TIME_ZONE": name})
    assert (done.returncode, "SENECA_TIME_ZONE" in done.stderr) == (1, True)
    assert not (tmp_path / "seneca.db").exists()
    assert seneca("stats", "rebuild", "--time-zone", name, "--data", tmp_path).returncode == 1


# -- at once -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_learners_who_start_on_two_devices_at_once_count_once(tmp_path: Path):
    """64 clients of 16 learners on one course and day, with four workers."""
    with running(tmp_path, "--workers", "4") as server, httpx.Client(base_url=server.url, timeout=60) as client:
        tara = sign_up(client, "tara", role="admin")
        courses = [make_course(tara) for _ in range(2)]
        learners = [sign_up(client, "learner") for _ in range(16)]

        def study(number: int) -> list[int]:
            learner = learners[number % 16]
            statuses = []
            with httpx.Client(base_url=server.url, timeout=60) as own:
                device = Person(own, learner.token, learner.id)
                for turn in range(4):
                    course = courses[(number + turn) % 2]
                    body = {"courseIdentifier": course["id"], "topic": course["topicsAndModules"][0]["topic"]}
                    answer = device.post("/session/startSession", body)
                    statuses.append(answer.status_code)
                    update = {
                        "sessionId": answer.json()["sessionId"],
                        "moduleStats": [{"moduleName": "Integers", "quiz": {"score": 1}}],
                    }
                    statuses.append(device.put("/session/updateSession", update).status_code)
            return statuses

        with ThreadPoolExecutor(64) as clients:
            statuses = Counter(status for result in clients.map(study, range(64)) for status in result)
        assert statuses == {201: 256, 200: 256}
        for course in courses:
            rows = tara.get(f"/stats/courses/{course['id']}/days").json()["days"]
            assert sum(row["sessions"] for row in rows) == 128
            assert sum(row["results"] for row in rows) == 128
            assert max(row["learners"] for row in rows) <= 16
        done = seneca("stats", "verify", "--data", tmp_path)
        assert done.returncode == 0, done.stdout


def test_the_totals_of_days_with_nothing_are_deleted(server: Server, tara: Person, alice: Person, course):
    [session_id] = record(alice, course, (datetime.now(UTC) - timedelta(days=20)).isoformat())
    where = "WHERE course_id = :course"
    assert server.rows(f"SELECT count(*) FROM course_days {where}", course=course["id"]) == [(1,)]
    assert tara.delete(f"/session/{session_id}").status_code == 204
    for name in ("course_days", "course_weeks"):
        assert server.rows(f"SELECT count(*) FROM {name} {where}", course=course["id"]) == [(0,)]


def test_an_audit_entry_says_that_the_time_zone_changed(tmp_path: Path):
    assert seneca("migrate", "--data", tmp_path).returncode == 0
    assert seneca("stats", "rebuild", "--time-zone", "Europe/London", "--data", tmp_path).returncode == 0
    rows = engine().rows(tmp_path, "SELECT facts FROM audit WHERE act = 'figures.rebuilt'")
    assert [json.loads(facts) for (facts,) in rows] == [{"timeZone": "Europe/London"}]


def test_a_session_more_costs_the_same_however_many_the_learner_has_in_the_week(tmp_path: Path):
    """Otherwise a learner with very many could keep the database busy with batches of one session."""
    seconds = []
    for number in (50, 30_000):
        data = tmp_path / str(number)
        data.mkdir()
        start = datetime(2026, 3, 2, 10, tzinfo=UTC)
        starts = [(start + timedelta(days=n % 7)).isoformat() for n in range(number)]
        sessions = [session(sessionStart=at, sessionEnd=at, modulesStats=[]) for at in starts]
        with stored(data) as store:
            store.load(course_line(), user(), *sessions)
            with store.database.read_transaction() as tx:
                change = {(bucket_of(ALICE_ID, tx.buckets), ALICE_ID, COURSE_ID, from_date("2026-03-04")): -1}
                durations = []
                for _ in range(9):
                    began = time.perf_counter()
                    assert list(learner_counts.differences(tx, change, is_stored=False)) == []
                    durations.append(time.perf_counter() - began)
                seconds.append(min(durations))
    assert seconds[1] < 4 * seconds[0]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 16)), max_size=8),
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 16)), min_size=1, max_size=6),
)
def test_both_ways_of_counting_learners_agree(before: list[tuple[str, str, int]], added: list[tuple[str, str, int]]):
    """Looking up each key, and reading all sessions of the weeks; before and after the change, in both directions."""
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute("CREATE TABLE sessions (bucket, learner_id, course_id, study_day)")
        connection.executemany("INSERT INTO sessions VALUES (0, ?, ?, ?)", [*before, *added])
        tx = SqliteTransaction(connection, Properties(), Cache())
        for sign, is_stored in ((1, True), (-1, False)):
            changes = {(0, *key): sign * number for key, number in Counter(added).items()}
            padding = {(0, "c", "x", 1000 + number): 0 for number in range(learner_counts.MAX_LOOKUPS)}
            few = learner_counts.differences(tx, changes, is_stored=is_stored)
            many = learner_counts.differences(tx, changes | padding, is_stored=is_stored)
            assert sorted((t.name, *rest) for t, *rest in few) == sorted((t.name, *rest) for t, *rest in many)
