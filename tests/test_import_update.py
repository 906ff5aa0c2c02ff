"""seneca import --update FILE: lines that replace what is stored, and a model of it that any files are compared with."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seneca.common.times import to_iso
from seneca.exchange.report import BadLines
from tests.helpers import engines
from tests.helpers.accounts import make_course, sign_in, sign_up
from tests.helpers.commands import seneca
from tests.helpers.exchange import (
    ALICE_ID,
    ARGON2,
    BCRYPT,
    CHARLIE_ID,
    COURSE_ID,
    Line,
    Store,
    course,
    module,
    session,
    stored,
    user,
    write,
)
from tests.helpers.server import running

ID, OTHER_COURSE, TARA_ID = (f"0190a000-0000-7000-8000-00000000000{n}" for n in (1, 2, 3))
CREATED = {"createdAt": "2026-01-01T00:00:00.000Z"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with stored(tmp_path / "store") as store:
        yield store


def refused(load: Callable[[], object]) -> list[tuple[int, str]]:
    """Assert that a file is refused; returns its bad lines."""
    with pytest.raises(BadLines) as caught:
        load()
    return [(line.number, line.reason) for line in caught.value.report.bad_lines]


# -- sessions ----------------------------------------------------------------------------------


def test_a_corrected_grade_corrects_every_total(store: Store):
    before = session(id=ID, modulesStats=[module("A"), module("B")])
    store.load(course(), user(), before, session())
    after = before | {"modulesStats": [module("A", adaptive={"score": 80}), module("B")]}
    assert refused(lambda: store.load(after)) == [
        (1, "modulesStats: differs from what is stored under this id (--update replaces it)")
    ]
    report = store.load(course(), user(), after, update=True)
    assert (report.courses.skipped, report.users.skipped) == (1, 1)
    assert (report.sessions.stored, report.sessions.updated, report.sessions.skipped) == (0, 1, 0)
    assert store.rows("SELECT sessions, results, points, names FROM learner_totals") == [(2, 3, 80_000 + 2 * 74_500, 3)]
    assert store.rows("SELECT sum(points) FROM course_totals") == [(229_000,)]
    assert store.differences() == []


def test_a_line_is_the_whole_truth_of_its_session(store: Store):
    before = session(id=ID, courseTitle="As it was", modulesStats=[module("A"), module("B"), module("C")])
    store.load(
        course(), course(id=OTHER_COURSE, courseTitle="Physics"), user(), before, session(modulesStats=[module("B")])
    )
    changes = store.rows("SELECT sum(name_changes) FROM course_totals")[0][0]
    after = session(
        id=ID,
        topic="Other",
        sessionStart="2026-03-02T10:00:00.000Z",
        isEnd=False,
        sessionEnd=None,
        modulesStats=[module("D", quiz={"score": 1}, adaptive=None), module("A")],
    )
    assert store.load(after, update=True).sessions.updated == 1
    exported = next(line for line in store.export() if line["id"] == ID)
    assert exported["courseTitle"] == "As it was"  # the line says nothing of it
    assert (exported["topic"], exported["isEnd"], exported["sessionEnd"]) == ("Other", False, None)
    assert [entry["moduleName"] for entry in exported["modulesStats"]] == ["D", "A"]
    assert store.rows("SELECT module_name, learners FROM course_names ORDER BY 1") == [("A", 1), ("B", 1), ("D", 1)]
    assert store.rows("SELECT sum(name_changes) FROM course_totals")[0][0] == changes + 2
    assert store.load(after | {"courseId": OTHER_COURSE}, update=True).sessions.updated == 1
    exported = next(line for line in store.export() if line["id"] == ID)
    assert (exported["courseId"], exported["courseTitle"]) == (OTHER_COURSE, "Physics")
    assert store.rows("SELECT course_id, sessions, names FROM learner_totals ORDER BY names") == [
        (COURSE_ID, 1, 1),
        (OTHER_COURSE, 1, 2),
    ]
    assert store.differences() == []


def test_of_several_lines_of_one_session_the_last_counts(store: Store):
    lines = [session(id=ID, topic=topic) for topic in ("First", "Second", "Third", "Third")]
    report = store.load(course(), user(), *lines, update=True)
    assert (report.sessions.stored, report.sessions.updated, report.sessions.skipped) == (1, 2, 1)
    assert store.rows("SELECT topic FROM sessions") == [("Third",)]
    assert store.differences() == []


def test_a_bad_line_undoes_every_update_unless_bad_lines_are_left_out(store: Store):
    store.load(course(), user(), session(id=ID))
    lines = [
        course(courseTitle="Renamed"),
        user(role="admin"),
        session(id=ID, topic="Other"),
        session(userId=CHARLIE_ID),
    ]
    before = store.export()
    assert refused(lambda: store.load(*lines, update=True)) == [(4, "userId: does not exist")]
    assert store.export() == before
    report = store.load(*lines, update=True, skip_bad=True)
    assert (report.courses.updated, report.users.updated, report.sessions.updated, report.bad) == (1, 1, 1, 1)
    assert store.differences() == []


def test_the_most_names_of_a_learner_are_counted_after_the_update(store: Store):
    def many(*numbers: int, **members: Any) -> Line:
        return session(modulesStats=[module(f"{n}", adaptive=None) for n in numbers], **members)

    full = [many(*range(1000), id=ID), many(*range(1000, 2000))]
    store.load(course(), user(), *full)
    report = store.load(many(*range(2000, 3000), id=ID), update=True)  # a thousand go, a thousand come
    assert report.sessions.updated == 1
    assert refused(lambda: store.load(many(2500, 0), update=True))[0][0] == 1
    assert refused(lambda: store.load(many(0, 1, id=ID), many(*range(3000, 4000)), update=True))[0][0] == 2
    report = store.load(many(*range(999), id=ID), many(3000, 0), many(3001), update=True, skip_bad=True)
    assert [line.number for line in report.bad_lines] == [3]
    assert store.rows("SELECT names FROM learner_totals") == [(2000,)]
    assert store.differences() == []


# -- courses -----------------------------------------------------------------------------------


def test_a_course_is_renamed(store: Store):
    store.load(course(**CREATED), course(id=OTHER_COURSE, courseTitle="Physics"), user(), session(id=ID))
    report = store.load(course(courseTitle="Maths", topicsAndModules=[]), update=True)
    assert (report.courses.updated, report.courses.stored) == (1, 0)
    renamed = next(line for line in store.export() if line["id"] == COURSE_ID)
    assert renamed == course(courseTitle="Maths", topicsAndModules=[], **CREATED)
    assert store.rows("SELECT search_key FROM courses WHERE title = 'Maths'") == [("maths\ngcse",)]
    assert store.rows("SELECT course_title FROM sessions") == [("Mathematics",)]  # as it was at the start
    assert refused(lambda: store.load(course(courseTitle="Physics"), update=True)) == [
        (1, "courseTitle: is in use by another course")
    ]
    freed = course(id=ID.replace("1", "9"), courseTitle="Maths")
    report = store.load(course(courseTitle="Mathematics"), freed, update=True)
    assert (report.courses.updated, report.courses.stored) == (1, 1)


# -- accounts ----------------------------------------------------------------------------------


def test_names_change_and_stay_unique(store: Store):
    store.load(user(), user(id=CHARLIE_ID, username="charlie"))
    assert refused(lambda: store.load(user(username="CHARLIE", email="alice@example.org"), update=True)) == [
        (1, "username: is in use by another account")
    ]
    report = store.load(
        user(username="alicia"),
        user(id=CHARLIE_ID, username="alice"),  # whose names are free by now
        user(id=TARA_ID, username="charlie@example.org", email="charlie@example.org"),
        update=True,
    )
    assert (report.users.updated, report.users.stored) == (2, 1)
    assert sorted(store.rows("SELECT name_key, account_id FROM account_names")) == sorted(
        [
            ("alicia", ALICE_ID),
            ("alicia@example.org", ALICE_ID),
            ("alice", CHARLIE_ID),
            ("alice@example.org", CHARLIE_ID),
            ("charlie@example.org", TARA_ID),
        ]
    )


def test_the_last_administrator_stays_one(store: Store):
    store.load(user(role="admin"), user(id=CHARLIE_ID, username="charlie"))
    assert refused(lambda: store.load(user(), update=True)) == [
        (1, "role: cannot be taken from the last administrator")
    ]
    report = store.load(user(id=CHARLIE_ID, username="charlie", role="admin"), user(), update=True)
    assert report.users.updated == 2
    assert store.rows("SELECT id FROM accounts WHERE role = 'admin'") == [(CHARLIE_ID,)]


def test_a_stored_account_keeps_its_password(store: Store):
    store.load(user(passwordHash=BCRYPT), user(id=CHARLIE_ID, username="charlie"))
    report = store.load(
        user(username="alicia", passwordHash=ARGON2),
        user(id=CHARLIE_ID, username="charlie", passwordHash=ARGON2),
        update=True,
    )
    assert (report.users.updated, report.users.skipped) == (1, 1)
    assert store.rows("SELECT account_id, hash FROM passwords") == [(ALICE_ID, BCRYPT)]


def test_a_changed_role_ends_sign_ins_and_is_audited(tmp_path: Path):
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara = sign_up(client, "tara", role="admin")
        alice, charlie = sign_up(client, "alice"), sign_up(client, "charlie")
        taken = make_course(tara)
        started = alice.start(taken)
        alice.update(started, {"moduleName": "Integers", "quiz": {"score": 50}})
        file = tmp_path / "all.jsonl"
        assert seneca("export", file, "--data", tmp_path).returncode == 0
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            if line["id"] == alice.id:
                line["role"] = "admin"
            elif line["id"] == charlie.id:
                line["email"] = "other@example.org"
            elif line["kind"] == "session":
                line["modulesStats"][0]["quiz"]["score"] = 70
        done = seneca("import", write(file, *lines), "--update", "--data", tmp_path)
        assert done.returncode == 0, done.stderr
        assert "0 accounts (2 updated, 1 unchanged), 0 sessions (1 updated)" in done.stderr
        assert charlie.get("/auth/me").json()["email"] == "other@example.org"  # a new name ends no sign-in
        deadline = time.monotonic() + 60  # five seconds, on a machine that has nothing else to do
        while alice.get("/auth/me").status_code != 401:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert sign_in(client, alice.username).get("/users").status_code == 200
        assert tara.get(f"/stats/courses/{taken['id']}").json()["scores"]["totalSessionPoints"] == 70
        acts = [(entry["act"], entry["subject"], entry["facts"]) for entry in tara.get("/audit").json()]
        assert ("account.role-changed", alice.id, {"role": "admin"}) in acts
        counts = {"courses": 0, "accounts": 0, "sessions": 0}
        updated = {"updatedCourses": 0, "updatedAccounts": 2, "updatedSessions": 1}
        assert ("data.imported", None, counts | updated) in acts


# -- any files, one after the other ------------------------------------------------------------

IDS = [str(UUID(int=n)) for n in range(1, 6)]
NAMES = ["a", "A", "b", "c", "b@example.org"]
TIMES = ["2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"]
MODULES = st.lists(
    st.builds(
        lambda name, score, recorded_at: module(
            name, adaptive=None, quiz={"answers": [], "isCompleted": True, "score": score} | recorded_at
        ),
        st.sampled_from("VWXYZ"),
        st.integers(-1, 1),
        st.just({}) | st.sampled_from(TIMES).map(lambda time: {"recordedAt": time}),
    ),
    max_size=3,
    unique_by=lambda entry: entry["moduleName"],
)
COURSES = st.builds(
    lambda id_, title, created: course(id=id_, courseTitle=title, createdAt=created),
    st.sampled_from(IDS[:3]),
    st.sampled_from("PQRS"),
    st.none() | st.sampled_from(TIMES),
)
USERS = st.builds(
    lambda id_, name, role, created, password_hash: user(
        id=id_,
        username=name,
        email=name if "@" in name else f"{name}@example.org",
        role=role,
        createdAt=created,
        passwordHash=password_hash,
    ),
    st.sampled_from(IDS[:3]),
    st.sampled_from(NAMES),
    st.sampled_from(["user", "user", "admin"]),
    st.none() | st.sampled_from(TIMES),
    st.sampled_from([None, BCRYPT, ARGON2]),
)
SESSIONS = st.builds(
    lambda ids, title, topic, start, end, modules, ended_by, activity: session(
        id=ids[0],
        userId=ids[1],
        courseId=ids[2],
        courseTitle=title,
        topic=topic,
        sessionStart=TIMES[start],
        isEnd=end is not None,
        sessionEnd=end,
        endedBy=None if end is None else ended_by,
        activity=activity,
        modulesStats=modules,
    ),
    st.tuples(st.sampled_from(IDS[2:]), st.sampled_from(IDS[:3]), st.sampled_from(IDS[:3])),
    st.none() | st.sampled_from("TU"),
    st.sampled_from("TU"),
    st.integers(0, 1),
    st.none() | st.just("2026-01-03T00:00:00.000Z"),
    MODULES,
    st.sampled_from([None, "learner", "administrator"]),
    st.sampled_from([None, [], [[TIMES[1], TIMES[1]]]]),
)
FILES = st.lists(st.one_of(COURSES, USERS, SESSIONS, SESSIONS), max_size=10)


class Model:
    """What a database holds, as plainly as can be."""

    def __init__(self) -> None:
        self.courses: dict[str, Line] = {}
        self.users: dict[str, Line] = {}
        self.sessions: dict[tuple[str, str], Line] = {}
        self.now = ""
        self.update = False

    def load(self, lines: list[Line], now: str, *, update: bool) -> tuple[dict[str, int], list[int]]:
        """Take a file over; returns how many lines had which outcome, and the bad ones' numbers."""
        self.now, self.update = now, update
        outcomes = {"stored": 0, "updated": 0, "skipped": 0}
        bad = []
        made: dict[tuple[str, str], int] = {}
        order = ["course", "user", "session"]
        numbered = sorted(enumerate(lines, 1), key=lambda entry: (order.index(entry[1]["kind"]), entry[0]))
        for number, line in numbered:
            outcome = getattr(self, line["kind"])(dict(line), number, made)
            if outcome is None:
                bad.append(number)
            else:
                outcomes[outcome] += 1
        return outcomes, sorted(bad)

    def course(self, line: Line, number: int, made: dict[tuple[str, str], int]) -> str | None:
        there = self.courses.get(line["id"])
        taken = any(c["courseTitle"] == line["courseTitle"] and c["id"] != line["id"] for c in self.courses.values())
        if there is None and any(line["id"] == id_ for _, id_ in self.sessions):
            return None
        return self._keep(self.courses, line["id"], line, there, taken=taken, made=made, number=number)

    def user(self, line: Line, number: int, made: dict[tuple[str, str], int]) -> str | None:
        there = self.users.get(line["id"])
        mine = {line["username"].lower(), line["email"].lower()}
        others = [other for other in self.users.values() if other["id"] != line["id"]]
        taken = any(mine & {other["username"].lower(), other["email"].lower()} for other in others)
        if there is not None:
            line["passwordHash"] = there["passwordHash"]
            is_last = there["role"] == "admin" and not any(other["role"] == "admin" for other in others)
            taken |= line["role"] == "user" and is_last
        return self._keep(self.users, line["id"], line, there, taken=taken, made=made, number=number)

    def _keep(self, kept, key, line, there, *, taken, made, number) -> str | None:
        line["createdAt"] = line["createdAt"] or (there["createdAt"] if there else self.now)
        if line == there:
            return "skipped"
        if taken or (there is not None and not self.update):
            return None
        if there is None:
            made[line["kind"], key] = number
        kept[key] = line
        return "stored" if there is None else "updated"

    def session(self, line: Line, number: int, made: dict[tuple[str, str], int]) -> str | None:
        key = line["userId"], line["id"]
        there = self.sessions.get(key)
        course = self.courses.get(line["courseId"])
        if line["userId"] not in self.users or course is None or line["id"] in self.courses:
            return None
        if max(made.get(("user", line["userId"]), 0), made.get(("course", line["courseId"]), 0)) > number:
            return None
        if line["courseTitle"] is None:
            same = there is not None and there["courseId"] == line["courseId"]
            line["courseTitle"] = there["courseTitle"] if same else course["courseTitle"]
        line["modulesStats"] = [entry | {"wrongAnswers": None} for entry in line["modulesStats"]]
        is_same_end = there is not None and there["sessionEnd"] == line["sessionEnd"]
        line["endedBy"] = line["endedBy"] or (there["endedBy"] if is_same_end else "learner" if line["isEnd"] else None)
        if line["activity"] is None:
            line["activity"] = there["activity"] if there else []
        if there is not None:
            line["modulesStats"] = [entry | {"quiz": self._quiz(entry, there)} for entry in line["modulesStats"]]
        if line == {name: value for name, value in (there or {}).items() if name != "idleSince"}:
            return "skipped"
        if there is not None and not self.update:
            return None
        if there is not None and there["isEnd"] and not line["isEnd"]:
            line["idleSince"] = self.now
        elif there is not None and "idleSince" in there:
            line["idleSince"] = there["idleSince"]
        self.sessions[key] = line
        return "stored" if there is None else "updated"

    def _quiz(self, entry: Line, there: Line) -> Line:
        """The quiz of a line that may replace a session: a changed one without a time was recorded now."""
        if "recordedAt" in entry["quiz"]:
            return entry["quiz"]
        for before in there["modulesStats"]:
            quiz = {name: value for name, value in before["quiz"].items() if name != "recordedAt"}
            if before["moduleName"] == entry["moduleName"] and quiz == entry["quiz"]:
                return before["quiz"]
        return entry["quiz"] | {"recordedAt": self.now}

    def lines(self) -> list[Line]:
        lines = [*self.courses.values(), *self.users.values(), *self.sessions.values()]
        return [
            {name: value for name, value in line.items() if (name, value) != ("passwordHash", None)} for line in lines
        ]


def in_order(lines: list[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: (line["kind"], line["id"], line.get("userId", "")))


@given(st.lists(st.tuples(FILES, st.booleans()), min_size=1, max_size=5))
@settings(max_examples=80 if engines.chosen == "sqlite" else 10)
def test_files_one_after_the_other_leave_what_a_model_says(tmp_path_factory: pytest.TempPathFactory, files):
    model = Model()
    with stored(tmp_path_factory.mktemp("store")) as store:
        for index, (lines, is_update) in enumerate(files):
            now = 1_772_000_000_000 + index
            outcomes, bad = model.load(lines, to_iso(now), update=is_update)
            if not any(outcomes.values()):
                continue
            report = store.load(*lines, update=is_update, skip_bad=True, now=now)
            assert [line.number for line in report.bad_lines] == bad
            counts = (report.courses, report.users, report.sessions)
            assert {name: sum(getattr(count, name) for count in counts) for name in outcomes} == outcomes
            assert in_order(store.export()) == in_order(model.lines())
            assert store.differences() == []
