"""seneca import FILE: what it stores, and what it finds stored already."""

import gzip
import json
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from seneca.common.ids import bucket_of
from seneca.exchange.importer import Import
from seneca.exchange.report import Report
from seneca.exchange.spool import Spool
from seneca.privacy import erased_accounts
from tests.helpers.commands import seneca
from tests.helpers.exchange import (
    ALICE_ID,
    ARGON2,
    BCRYPT,
    CHARLIE_ID,
    COURSE_ID,
    Line,
    Shell,
    course,
    module,
    session,
    silently,
    stored,
    user,
    write,
)

ID = SESSION_ID = "0190a000-0000-7000-8000-000000000001"
SKIP = ("--skip-bad",)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


# -- good files --------------------------------------------------------------------------------


def test_stores_courses_accounts_and_sessions(shell: Shell):
    status, said = shell.load(
        course(createdAt="2026-01-01T00:00:00.000Z"),
        user(passwordHash=BCRYPT, createdAt="2026-01-02T00:00:00.000Z"),
        session(id=SESSION_ID, modulesStats=[module("B"), module("A", quiz=None)]),
    )
    assert (status, "Imported 1 courses, 1 accounts, 1 sessions." in said) == (0, True), said
    assert shell.rows("SELECT id, title, qualification, topics, created_at FROM courses") == [
        (COURSE_ID, "Mathematics", "GCSE", '[{"topic":"Number","modules":["Integers"]}]', 1767225600000)
    ]
    assert shell.rows("SELECT id, username, email, role, created_at FROM accounts") == [
        (ALICE_ID, "alice", "alice@example.org", "user", 1767312000000)
    ]
    assert shell.rows("SELECT account_id, hash FROM passwords") == [(ALICE_ID, BCRYPT)]
    assert shell.rows("SELECT name_key FROM account_names ORDER BY 1") == [("alice",), ("alice@example.org",)]
    assert shell.rows(
        "SELECT id, learner_id, course_id, course_title, topic, started_at, ended_at, results, points FROM sessions"
    ) == [(SESSION_ID, ALICE_ID, COURSE_ID, "Mathematics", "Number", 1772359200000, 1772361000000, 2, 149_000)]
    part = '{"answers":["A","B"],"isCompleted":true,"score":74.5}'
    assert shell.rows(
        "SELECT module_name, position, adaptive, quiz, wrong_answers, adaptive_score, quiz_score FROM results "
        "ORDER BY position"
    ) == [("B", 0, part, None, None, 74_500, None), ("A", 1, part, None, None, 74_500, None)]
    assert shell.rows("SELECT sessions, results, points, milliseconds, names FROM learner_totals") == [
        (1, 2, 149_000, 1_800_000, 2)
    ]
    assert shell.true()


def test_what_is_left_out_has_its_default(shell: Shell):
    title = "Mathematics II"
    status, said = shell.load(
        course(courseTitle=title),
        user(),
        session(isEnd=False, sessionEnd="2020-01-01T00:00:00.000Z", modulesStats=[]),
        session(courseTitle="As it was called"),
    )
    assert status == 0, said
    assert shell.rows("SELECT course_title, ended_at IS NULL, results FROM sessions ORDER BY started_at, 2 DESC") == [
        (title, 1, 0),
        ("As it was called", 0, 1),
    ]
    assert shell.rows("SELECT count(*) FROM passwords") == [(0,)]
    assert shell.rows("SELECT created_at > 1767225600000 FROM accounts") == [(1,)]
    assert shell.true()


def test_times_may_be_written_in_other_zones(shell: Shell):
    status, said = shell.load(
        course(),
        user(),
        session(sessionStart="2026-03-01T11:00:00+01:00", sessionEnd="2026-03-01T10:00:00.007000Z"),
    )
    assert status == 0, said
    assert shell.rows("SELECT started_at, ended_at FROM sessions") == [(1772359200000, 1772359200007)]


def test_learners_may_have_equal_session_ids(shell: Shell):
    same = str(uuid4())
    status, said = shell.load(
        course(), user(), user(id=CHARLIE_ID, username="charlie"), session(id=same), session(id=same, userId=CHARLIE_ID)
    )
    assert (status, shell.counts()[2]) == (0, 2), said
    assert shell.true()


def test_an_administrator_closes_registration_and_may_have_sessions(shell: Shell):
    status, said = shell.load(course(), user(role="admin"), session())
    assert status == 0, said
    assert shell.rows("SELECT value FROM properties WHERE name = 'administrator-existed'") == [(ALICE_ID,)]


def test_a_topic_may_have_left_the_course_since(shell: Shell):
    assert shell.load(course(), user(), session(topic="Gone"))[0] == 0


def test_reads_gzip_and_standard_input(shell: Shell, tmp_path: Path):
    raw = write(tmp_path / "in.jsonl", course(), user(), session()).read_bytes()
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(raw))
    assert seneca("import", tmp_path / "in.jsonl.gz", "--data", tmp_path / "a").returncode == 0
    assert seneca("import", "-", "--data", tmp_path / "b", input=raw.decode()).returncode == 0
    a, b = Shell(tmp_path / "a"), Shell(tmp_path / "b")
    assert a.counts() == b.counts() == (1, 1, 1, 1, 1, 1)


def test_blank_lines_other_line_ends_and_a_byte_order_mark_are_no_matter(shell: Shell):
    raw = [json.dumps(line).encode() for line in (course(), user(), session())]
    status, said = shell.load(b"\xef\xbb\xbf" + raw[0] + b"\r", b"", raw[1] + b"\r", b"  ", raw[2])
    assert (status, shell.counts()[:3]) == (0, (1, 1, 1)), said


def test_names_that_a_course_has_already_are_not_new_to_it(shell: Shell):
    one_bucket = [str(UUID(int=n)) for n in range(500) if bucket_of(str(UUID(int=n)), 64) == 7][:3]
    people = [user(id=id_, username=f"learner-{n}") for n, id_ in enumerate(one_bucket)]
    assert shell.load(course(), *people, *(session(userId=id_) for id_ in one_bucket[:2]))[0] == 0
    both = session(userId=one_bucket[2], modulesStats=[module(), module("Fractions")])
    assert shell.load(both, session(userId=one_bucket[0]))[0] == 0
    assert shell.rows("SELECT module_name, bucket, learners FROM course_names ORDER BY 1") == [
        ("Fractions", 7, 1),
        ("Integers", 7, 3),
    ]
    assert shell.rows("SELECT sessions, results, name_changes FROM course_totals") == [(4, 5, 2)]
    assert shell.true()


# -- again -------------------------------------------------------------------------------------


def test_what_is_stored_and_equal_is_skipped(shell: Shell):
    lines = [course(), user(passwordHash=BCRYPT), session(), session(modulesStats=[module("B"), module("A")])]
    assert shell.load(*lines)[0] == 0
    before = shell.counts(), shell.rows("SELECT * FROM learner_totals"), shell.rows("SELECT * FROM passwords")
    lines[1]["passwordHash"] = ARGON2
    status, said = shell.load(*lines, session())
    assert status == 0
    assert "0 courses (1 unchanged), 0 accounts (1 unchanged)" in said
    assert "1 sessions (2 unchanged)" in said
    assert shell.rows("SELECT * FROM passwords") == before[2]
    assert shell.counts()[2] == before[0][2] + 1
    assert shell.true()


def test_a_line_repeated_in_the_file_is_skipped(shell: Shell):
    one = session()
    status, said = shell.load(course(), course(), user(), user(), one, one)
    assert status == 0
    assert "1 sessions (1 unchanged)" in said
    assert shell.rows("SELECT sessions FROM learner_totals") == [(1,)]


def test_what_a_batch_stored_is_known_to_the_next(shell: Shell):
    one = session()  # repeated, it parts the file's sessions into two batches
    more = session(modulesStats=[module(), module("Fractions")])
    status, said = shell.load(course(), user(), one, session(), one, more, more | {"topic": "Other"}, options=SKIP)
    assert status == 0, said
    assert "3 sessions (1 unchanged); 1 bad lines skipped" in said
    assert "line 7: topic: differs" in said
    assert shell.rows("SELECT sessions, results, names, name_changes FROM learner_totals") == [(3, 4, 2, 2)]
    assert shell.rows("SELECT module_name, results FROM learner_names ORDER BY 1") == [
        ("Fractions", 1),
        ("Integers", 3),
    ]
    assert shell.true()


def test_of_several_administrators_the_first_line_s_is_the_first(shell: Shell):
    people = [user(), user(id=CHARLIE_ID, username="charlie", role="admin"), user(id=ID, username="tara", role="admin")]
    assert shell.load(*people)[0] == 0
    assert shell.rows("SELECT value FROM properties WHERE name = 'administrator-existed'") == [(CHARLIE_ID,)]


STORED = session()


OTHER = [
    (course(courseTitle="Physics"), "courseTitle"),
    (course(qualification="A-Level"), "qualification"),
    (course(topicsAndModules=[]), "topicsAndModules"),
    (course(createdAt="2026-01-01T00:00:00.001Z"), "createdAt"),
    (course(id=str(uuid4())), "courseTitle"),
    (user(username="alicia", email="alice@example.org"), "username"),
    (user(email="alicia@example.org"), "email"),
    (user(role="admin"), "role"),
    (user(createdAt="2026-01-01T00:00:00.001Z"), "createdAt"),
    (user(id=CHARLIE_ID, username="ＡLICE", email="c@example.org"), "username"),
    (user(id=CHARLIE_ID, username="charlie", email="Alice@example.org"), "email"),
    (STORED | {"topic": "Algebra"}, "topic"),
    (STORED | {"courseTitle": "Other"}, "courseTitle"),
    (STORED | {"sessionStart": "2026-03-01T10:00:00.001Z"}, "sessionStart"),
    (STORED | {"sessionEnd": "2026-03-01T10:30:00.001Z"}, "sessionEnd"),
    (STORED | {"isEnd": False}, "sessionEnd"),
    (STORED | {"modulesStats": []}, "modulesStats"),
    (STORED | {"modulesStats": [module(), module("More")]}, "modulesStats"),
    (STORED | {"modulesStats": [module(quiz={"score": 0})]}, "modulesStats"),
    (session(id=COURSE_ID), "id"),
]
"""What differs from what is stored under its id or its name, and in which field."""


def test_other_content_under_a_stored_id_or_name_is_bad(shell: Shell):
    def refused(*lines: Line, stored: int) -> None:
        status, said = shell.load(*lines, *others)
        assert status == 1
        for number, (line, field) in enumerate(OTHER, len(lines) + 1):
            assert f"line {number}: {field}: " in said, line
        assert shell.counts()[:3] == (stored,) * 3

    others = [line for line, _ in OTHER]
    stored = [course(createdAt="2026-01-01T00:00:00Z"), user(createdAt="2026-01-01T00:00:00Z"), STORED]
    refused(*stored, stored=0)  # beside it in one file
    assert shell.load(*stored)[0] == 0
    refused(session(), stored=1)
    status, said = shell.load(*stored, *others, options=("--skip-bad",))
    assert (status, f"{len(OTHER)} bad lines skipped" in said) == (0, True)
    assert shell.counts()[:3] == (1, 1, 1)
    assert shell.true()


def test_a_connection_can_import_again(tmp_path: Path):
    """A pool keeps connections, and with them what an import does not drop."""
    with stored(tmp_path) as store, store.database.write_transaction() as tx:
        for _ in range(2):
            with closing(Spool(tx.buckets)) as spool:
                Import(tx, spool, Report(), silently, now=0, update=False).store()


def test_an_erased_account_is_refused_whatever_its_bucket(tmp_path: Path):
    people = [user(id=str(UUID(int=n)), username=f"learner-{n}") for n in range(20)]
    with stored(tmp_path) as store:
        with store.database.write_transaction() as tx:
            for person in people[::3]:
                erased_accounts.record(tx, person["id"], 0)
        report = store.load(*people, skip_bad=True)
        assert [line.number for line in report.bad_lines] == [1, 4, 7, 10, 13, 16, 19]
        assert report.bad_lines[0].reason == "id: belongs to an erased account"


@pytest.mark.parametrize("stored_first", [True, False])
def test_a_course_and_a_session_cannot_have_one_id(shell: Shell, *, stored_first: bool):
    clash = course(id=STORED["id"], courseTitle="Physics")
    if stored_first:
        assert shell.load(course(), user(), STORED)[0] == 0
    status, said = shell.load(*([] if stored_first else [course(), user(), STORED]), clash)
    assert (status, f"id: is in use by a {'session' if stored_first else 'course'}" in said) == (1, True), said
    assert shell.rows("SELECT count(*) FROM courses") == [(int(stored_first),)]


def test_scores_times_and_ids_are_read_as_requests_are(shell: Shell):
    line = session(
        id=STORED["id"].upper(),
        sessionStart="2026-03-01T12:00:00.1239999+02:00",
        sessionEnd="2026-03-01T05:30:00,5-05",
        topic=" Nume\u0301ro ",
        modulesStats=[module(" e\u0301 ", adaptive={"score": 66.66666666666667, "answers": ["x" * 10_000]})],
    )
    assert shell.load(course(courseTitle="Cafe\u0301 "), user(), line)[0] == 0
    assert shell.rows("SELECT id, topic, course_title, started_at, ended_at, points FROM sessions") == [
        (STORED["id"], "Numéro", "Café", 1_772_359_200_123, 1_772_361_000_500, 66_667)
    ]
    assert shell.rows("SELECT module_name, adaptive_score FROM results") == [("é", 66_667)]
    assert shell.load(course(courseTitle="Café"), user(), line)[0] == 0  # all of it is there already
    assert shell.true()
