"""The exchange format: recorded times of parts, activity, who ended a session, voided ids; and files from before these existed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seneca.common.ids import bucket_of
from seneca.common.times import from_iso, to_iso
from seneca.database import open_database
from seneca.database.properties import InitialProperties
from seneca.exchange.report import BadLines
from tests.helpers.engines import engine
from tests.helpers.exchange import ALICE_ID, CHARLIE_ID, Line, Store, course, module, session, stored, user

ID, OTHER_ID = (f"0190a000-0000-7000-8000-00000000000{n}" for n in (1, 2))
PART = {"answers": ["A"], "isCompleted": True, "score": 74.5}
NOW = "2026-04-01T00:00:00.000Z"


def at(minute: int) -> str:
    return f"2026-03-01T10:{minute:02}:00.000Z"


def recorded(**members: object) -> Line:
    """A session's line with all that an export has."""
    results = module("A", adaptive=PART | {"recordedAt": at(3)}, quiz=PART, wrongAnswers=None)
    study = {"endedBy": "administrator", "activity": [[at(3), at(3)], [at(12), at(20)]], "idleSince": at(25)}
    return session(id=ID, modulesStats=[results], courseTitle="Mathematics") | study | members


def without_study(line: Line) -> Line:
    """The same line as older versions exported it."""
    modules = [
        {name: {**part, "recordedAt": None} if isinstance(part, dict) else part for name, part in entry.items()}
        for entry in line["modulesStats"]
    ]
    old = {name: value for name, value in line.items() if name not in ("endedBy", "activity", "idleSince")}
    return old | {"modulesStats": modules}


def voided(**members: object) -> Line:
    return {"kind": "voided-session", "id": ID, "userId": ALICE_ID, "voidedAt": at(40)} | members


def refused(load: Callable[[], object]) -> list[tuple[int, str]]:
    """Assert that a file is refused; returns its bad lines."""
    with pytest.raises(BadLines) as caught:
        load()
    return [(line.number, line.reason) for line in caught.value.report.bad_lines]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with stored(tmp_path / "store") as store:
        store.load(course(), user(), user(id=CHARLIE_ID, username="charlie"))
        yield store


def exported(store: Store) -> list[Line]:
    return [line for line in store.export() if line["kind"] in ("session", "voided-session")]


# -- sessions ----------------------------------------------------------------------------------


def test_everything_about_a_session_comes_back(store: Store):
    store.load(recorded())
    assert exported(store) == [recorded()]
    columns = "ended_by, idle_since, activity, active_milliseconds"
    activity = f"[[{from_iso(at(3))},{from_iso(at(3))}],[{from_iso(at(12))},{from_iso(at(20))}]]"
    assert store.rows(f"SELECT {columns} FROM sessions") == [
        ("administrator", from_iso(at(25)), activity, (8 + 13) * 60_000)
    ]
    assert store.rows("SELECT adaptive_at, quiz_at, wrong_answers_at FROM results") == [(from_iso(at(3)), None, None)]
    assert '"recordedAt"' not in store.rows("SELECT adaptive FROM results")[0][0]
    assert store.differences() == []
    assert store.load(recorded()).sessions.skipped == 1


def test_an_older_line_has_the_defaults_of_a_migration(store: Store):
    store.load(without_study(recorded()), session(id=OTHER_ID, isEnd=False, modulesStats=[]))
    columns = "ended_by, idle_since, activity, active_milliseconds"
    start = from_iso("2026-03-01T10:00:00.000Z")
    assert store.rows(f"SELECT {columns} FROM sessions ORDER BY id") == [
        ("learner", start, None, 300_000),
        (None, start, None, 0),
    ]
    assert store.rows("SELECT adaptive_at FROM results") == [(None,)]
    assert store.differences() == []


def test_an_older_line_equals_a_session_of_which_more_is_known(store: Store):
    store.load(recorded())
    for update in (False, True):
        report = store.load(without_study(recorded()), update=update)
        assert (report.sessions.skipped, report.sessions.updated) == (1, 0)
    assert exported(store) == [recorded()]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"endedBy": "learner"}, "endedBy: differs"),
        ({"activity": []}, "activity: differs"),
        ({"modulesStats": [module("A", adaptive=PART | {"recordedAt": at(4)}, quiz=PART)]}, "modulesStats: differs"),
        ({"modulesStats": [module("A", adaptive=PART, quiz=PART | {"recordedAt": at(4)})]}, "modulesStats: differs"),
    ],
)
def test_a_line_is_compared_with_all_that_it_has(store: Store, members: Line, reason: str):
    store.load(recorded())
    [(number, found)] = refused(lambda: store.load(recorded(**members)))
    assert (number, found.startswith(reason)) == (1, True)
    assert store.load(recorded(**members), update=True).sessions.updated == 1
    assert store.load(recorded(**members)).sessions.skipped == 1
    assert store.differences() == []


def test_the_time_since_which_a_session_is_idle_is_not_compared(store: Store):
    open_session = recorded(isEnd=False, sessionEnd=None, endedBy=None)
    store.load(open_session)
    assert store.load(open_session | {"idleSince": at(59)}, update=True).sessions.skipped == 1


def test_parts_that_a_line_changes_without_a_time_were_recorded_at_the_import(store: Store):
    store.load(recorded())
    results = module("A", adaptive=PART | {"score": 80}, quiz=PART, wrongAnswers=PART)
    report = store.load(without_study(recorded(modulesStats=[results])), update=True, now=from_iso(NOW))
    assert report.sessions.updated == 1
    assert store.rows("SELECT adaptive_at, quiz_at, wrong_answers_at FROM results") == [
        (from_iso(NOW), None, from_iso(NOW))
    ]
    [line] = exported(store)
    assert (line["endedBy"], line["activity"], line["idleSince"]) == (
        "administrator",
        recorded()["activity"],
        at(25),
    )
    assert store.differences() == []


def test_a_part_that_stays_keeps_its_time(store: Store):
    store.load(recorded())
    results = module("A", adaptive=PART, quiz=PART | {"score": 1})
    store.load(without_study(recorded(modulesStats=[results])), update=True, now=from_iso(NOW))
    assert store.rows("SELECT adaptive_at, quiz_at FROM results") == [(from_iso(at(3)), from_iso(NOW))]


def test_another_end_is_the_learners_unless_the_line_says_otherwise(store: Store):
    store.load(recorded())
    later = without_study(recorded(sessionEnd=at(50)))
    store.load(later, update=True)
    assert store.rows("SELECT ended_by FROM sessions") == [("learner",)]
    store.load(later | {"sessionEnd": at(55), "endedBy": "administrator"}, update=True)
    assert store.rows("SELECT ended_by FROM sessions") == [("administrator",)]
    assert store.differences() == []


def test_a_reopened_session_is_idle_since_the_import(store: Store):
    store.load(recorded())
    reopened = without_study(recorded(isEnd=False, sessionEnd=None))
    store.load(reopened, update=True, now=from_iso(NOW))
    assert store.rows("SELECT ended_at, ended_by, idle_since FROM sessions") == [(None, None, from_iso(NOW))]
    assert store.differences() == []


def test_a_session_that_a_timeout_ended_since_equals_its_open_line(store: Store):
    forgotten = recorded(endedBy="timeout", sessionEnd=at(20))
    store.load(forgotten)
    still_open = without_study(recorded(isEnd=False, sessionEnd=None))
    for line in (still_open, still_open | {"activity": forgotten["activity"]}):
        assert store.load(line).sessions.skipped == 1
    results = [module("A", adaptive=None, quiz={"score": 1})]
    assert store.load(still_open | {"modulesStats": results}, update=True).sessions.updated == 1
    assert store.rows("SELECT ended_at, ended_by FROM sessions") == [(from_iso(at(20)), "timeout")]
    further = {"activity": [*forgotten["activity"], [at(40), at(41)]]}
    assert store.load(still_open | further, update=True, now=from_iso(NOW)).sessions.updated == 1
    assert store.rows("SELECT ended_at, idle_since FROM sessions") == [(None, from_iso(NOW))]
    assert store.differences() == []


def test_times_may_lie_outside_the_session_as_after_a_correction(store: Store):
    results = [module("A", adaptive=PART | {"recordedAt": "2026-02-01T00:00:00.000Z"})]
    line = recorded(modulesStats=results, activity=[["2026-02-01T00:00:00.000Z", at(5)], [at(40), at(45)]])
    store.load(line)
    assert exported(store)[0]["activity"] == line["activity"]
    assert store.rows("SELECT active_milliseconds FROM sessions") == [(10 * 60_000,)]
    assert store.differences() == []


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"endedBy": "teacher"}, "endedBy: must be one of learner, timeout, administrator"),
        ({"endedBy": "learner", "isEnd": False}, "endedBy: must be null when isEnd is false"),
        ({"idleSince": "now"}, "idleSince: must be an ISO 8601 time"),
        ({"activity": {}}, "activity: must be"),
        ({"activity": [at(1)]}, "activity[0]: must be"),
        ({"activity": [[at(1)]]}, "activity[0]: must have at least 2 entries"),
        ({"activity": [[at(1), "2026-02-30T00:00:00Z"]]}, "activity[0]: must be a time that exists"),
        ({"activity": [[at(2), at(1)]]}, "activity[0]: must not end before it begins"),
        ({"activity": [[at(1), at(3)], [at(3), at(4)]]}, "activity[1]: must begin after the end of the interval before it"),
        ({"activity": [[at(5), at(6)], [at(1), at(2)]]}, "activity[1]: must begin after the end of the interval before it"),
        ({"activity": [[at(1), at(1)]] * 501}, "activity: must have at most 500 entries"),
        ({"modulesStats": [module(quiz={"recordedAt": 5})]}, "modulesStats[0].quiz.recordedAt: must be"),
        ({"modulesStats": [module(quiz={"recordedAt": "5"})]}, "modulesStats[0].quiz.recordedAt: must be an ISO 8601 time"),
        ({"modulesStats": [{**module(), "recordedAt": at(1)}]}, "modulesStats[0].recordedAt: is not a known member"),
    ],
)  # fmt: skip
def test_bad_members_are_named(store: Store, members: Line, reason: str):
    [(number, found)] = refused(lambda: store.load(recorded(**members)))
    assert number == 1
    assert found.startswith(reason), found


def test_active_time_is_computed_with_the_idle_time_of_the_database(tmp_path: Path):
    directory = tmp_path / "other"
    directory.mkdir()
    database = open_database(engine().url(directory), initial=InitialProperties(idle_minutes=1))
    try:
        store = Store(directory, database)
        store.load(course(), user(), recorded())
        assert exported(store) == [recorded()]  # the intervals stay as they are
        assert store.rows("SELECT active_milliseconds FROM sessions") == [((1 + 1 + 9) * 60_000,)]
        assert store.differences() == []
    finally:
        database.close()


# -- voided ids --------------------------------------------------------------------------------


def test_voided_ids_come_back(store: Store):
    lines = [voided(), voided(userId=CHARLIE_ID), voided(id=OTHER_ID, voidedAt=at(41))]
    report = store.load(*lines)
    assert (report.voided.stored, report.good) == (3, 3)
    key = lambda line: (bucket_of(line["userId"], 64), line["userId"], line["id"])  # noqa: E731
    assert exported(store) == sorted(lines, key=key)
    assert store.load(*lines).voided.skipped == 3


def test_a_voided_id_with_another_time_differs(store: Store):
    store.load(voided())
    later = voided(voidedAt=at(59))
    assert refused(lambda: store.load(later)) == [
        (1, "voidedAt: differs from what is stored under this id (--update replaces it)")
    ]
    assert store.load(later, update=True).voided.updated == 1
    assert store.rows("SELECT voided_at FROM voided_sessions") == [(from_iso(at(59)),)]


def test_a_session_whose_id_is_voided_is_a_bad_line(store: Store):
    reason = "id: is that of a session that an administrator deleted"
    assert refused(lambda: store.load(recorded(), voided())) == [(1, reason)]
    store.load(voided())
    for update in (False, True):
        assert refused(lambda update=update: store.load(recorded(), update=update)) == [(1, reason)]
    report = store.load(recorded(), recorded(userId=CHARLIE_ID), skip_bad=True)
    assert (report.sessions.stored, report.bad) == (1, 1)
    assert store.differences() == []


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({}, "id: is that of a stored session, which only an administrator can delete"),
        ({"userId": OTHER_ID}, "userId: does not exist"),
        ({"voidedAt": "yesterday"}, "voidedAt: must be an ISO 8601 time"),
        ({"voidedAt": None}, "voidedAt: must be"),
        ({"reason": "a mistake"}, "reason: is not a known member"),
    ],
)
def test_bad_voided_ids_are_named(store: Store, members: Line, reason: str):
    store.load(recorded())
    [(number, found)] = refused(lambda: store.load(voided(**members), update=True))
    assert number == 1
    assert found.startswith(reason), found


def test_a_voided_id_comes_after_its_account(store: Store):
    new = user(id=OTHER_ID, username="dora")
    assert refused(lambda: store.load(voided(userId=OTHER_ID), new)) == [(1, "userId: is on a later line, 2")]
    assert store.load(new, voided(userId=OTHER_ID)).good == 2


def test_twice_in_one_file_counts_once(store: Store):
    report = store.load(*[voided()] * 3)
    assert (report.voided.stored, report.voided.skipped) == (1, 2)
    assert to_iso(store.rows("SELECT voided_at FROM voided_sessions")[0][0]) == at(40)
