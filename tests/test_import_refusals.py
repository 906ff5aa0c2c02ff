"""seneca import FILE: lines that it refuses, and what becomes of the others."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from seneca.exchange.importer import MAX_LINE_BYTES, USERS_PER_BATCH
from seneca.exchange.report import MAX_LISTED_LINES
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
    user,
)

LATER = "0190a000-0000-7000-8000-00000000000f"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def without(line: Line, member: str) -> Line:
    return {name: value for name, value in line.items() if name != member}


def scored(literal: str) -> bytes:
    """A session whose first score is this JSON."""
    return json.dumps(session()).replace("74.5", literal).encode()


def topics(*names: str, modules: tuple[str, ...] = ("A",)) -> list[Any]:
    return [{"topic": name, "modules": list(modules)} for name in names]


# -- lines that break a rule by themselves -----------------------------------------------------

BAD: list[tuple[Line | bytes, str]] = [
    (b"nonsense", "is not valid JSON"),
    (b"{", "is not valid JSON"),
    (b"\xff", "is not valid JSON"),
    (b"[]", "must be an object, not a list"),
    (b"[" * 5000, "must be an object, not a list"),
    (json.dumps(session()).replace("74.5", "[" * 5000).encode(), "is nested too deeply"),
    (b'{"kind":"session","id":"\\ud800"}', "id: must not contain lone surrogates"),
    ({"kind": "lesson"}, "kind: "),
    (without(course(), "kind"), "kind: is required"),
    (course(extra=1), "extra: is not a known member"),
    (course(id="1"), "id: must be a UUID"),
    (course(courseTitle="create"), "courseTitle: must not"),
    (course(courseTitle="a/b"), "courseTitle: must not"),
    (course(courseTitle=str(uuid4())), "courseTitle: must not"),
    (course(courseTitle=""), "courseTitle: must have at least 1 character"),
    (course(qualification="a\nb"), "qualification: must not contain control characters"),
    (course(topicsAndModules=topics("A", "A")), "topicsAndModules[1].topic: must differ"),
    (course(topicsAndModules=topics("A", modules=("B", "B"))), "topicsAndModules[0].modules[1]: must differ"),
    (course(topicsAndModules=topics(*map(str, range(201)))), "topicsAndModules: must have at most 200 entries"),
    (
        course(topicsAndModules=topics(*"ABCDEFGHIJK", modules=tuple(f"{n:0200}" for n in range(500)))),
        "topicsAndModules: must have at most 1 MiB",
    ),
    (course(createdAt="2026-01-01"), "createdAt: must be an ISO 8601 time"),
    *((without(course(), name), f"{name}: is required") for name in without(course(), "kind")),
    (user(username="a b"), "username: must not contain white space"),
    (user(username="x" * 65), "username: must have at most 64 characters"),
    (user(email="nobody"), "email: must be an email address"),
    (user(role="teacher"), "role: "),
    (user(password="securePassword123"), "password: is not a known member"),
    (user(passwordHash="securePassword123"), "passwordHash: must be an argon2id or a bcrypt"),
    (user(passwordHash=BCRYPT.replace("$10$", "$15$")), "passwordHash: bcrypt's cost"),
    (user(passwordHash=BCRYPT.replace("$2b$", "$2x$")), "passwordHash: must be"),
    (user(username="alice@example.net", email="a@example.org"), "username: must not be an email address"),
    (user(username="\u2800"), "username: must have at least one visible character"),
    (user(username="аlice"), "username: must not mix"),
    (user(username="x\u202ey"), "username: must not contain white space, control characters or bidi"),
    (user(id="0190a0000000700080000000000000ff"), "id: must be a UUID"),
    (user(username="a b", email="nobody", role="x"), "characters; email: must be an email address"),
    (course(courseTitle=" "), "courseTitle: must not be blank"),
    (course(topicsAndModules=topics("é", " e\u0301 ")), "topicsAndModules[1].topic: must differ"),
    (course(topicsAndModules=topics("\ufb2c" * 200)), "topicsAndModules[0].topic: must have at most 200 characters in"),
    (session(modulesStats=[module("é"), module("e\u0301")]), "modulesStats[1].moduleName: must differ"),
    (user(passwordHash=ARGON2.replace("19456", "65537")), "passwordHash: argon2id may use at most"),
    (user(passwordHash=ARGON2.replace("t=2", "t=6")), "passwordHash: argon2id may use at most"),
    (user(passwordHash=ARGON2.replace("argon2id", "argon2i")), "passwordHash: must be"),
    *((without(user(), name), f"{name}: is required") for name in without(user(), "kind")),
    (session(sessionPoints=149), "sessionPoints: is not a known member"),
    (session(userId="alice"), "userId: must be a UUID"),
    (session(topic=""), "topic: must have at least 1 character"),
    (session(topic="a\0b"), "topic: must not contain the character NUL"),
    (session(sessionStart="2026-03-01T10:00:00"), "sessionStart: must be an ISO 8601 time with its zone"),
    (session(sessionEnd="2026-02-30T10:00:00Z"), "sessionEnd: must be a time that exists"),
    (session(sessionEnd="2026-03-01T09:59:59.999Z"), "sessionEnd: must not be before sessionStart"),
    (session(sessionEnd=None), "sessionEnd: is required when isEnd is true"),
    (session(isEnd="true"), "isEnd: must be true or false, not a string"),
    (session(modulesStats=None), "modulesStats: must be a list, not null"),
    (session(modulesStats=[module(), module()]), "modulesStats[1].moduleName: must differ"),
    (session(modulesStats=[module(quiz=[1])]), "modulesStats[0].quiz: "),
    (session(modulesStats=[module(quiz={"points": 1})]), "modulesStats[0].quiz.points: is not a known member"),
    (session(modulesStats=[module(quiz={"answers": ["x" * 10_001]})]), "modulesStats[0].quiz.answers[0]: must have"),
    (session(modulesStats=[module(quiz={"answers": [""] * 501})]), "modulesStats[0].quiz.answers: must have"),
    (session(modulesStats=[module(str(n)) for n in range(1001)]), "modulesStats: must have at most 1,000 entries"),
    (
        session(modulesStats=[module(str(n), quiz={"answers": ["x" * 1000] * 500}) for n in range(9)]),
        "A session holds at most 4 MiB",
    ),
    *((scored(literal), "modulesStats[0].adaptive.score: ") for literal in ("1e400", "1000001", '"5"', "null")),
    *((scored(literal), "") for literal in ("NaN", "Infinity", "9" * 5000)),
    *((without(session(), name), f"{name}: is required") for name in without(session(), "kind")),
]


def test_each_rule_is_named(shell: Shell):
    status, said = shell.load(course(), user(), *(line for line, _ in BAD), session())
    assert status == 1
    reasons = dict(line.split(": ", 1) for line in said.splitlines() if line.startswith("line "))
    for number, (line, reason) in enumerate(BAD, 3):
        assert reason in reasons[f"line {number}"], line
    assert len(reasons) == len(BAD)
    assert shell.counts() == (0,) * 6


def test_bad_lines_are_left_out_with_skip_bad(shell: Shell):
    status, said = shell.load(course(), user(), *(line for line, _ in BAD), session(), options=("--skip-bad",))
    assert status == 0, said
    assert f"1 courses, 1 accounts, 1 sessions; {len(BAD)} bad lines skipped" in said
    assert [line.partition(":")[0] for line in said.splitlines() if line.startswith("line ")] == [
        f"line {number}" for number in range(3, len(BAD) + 3)
    ]
    assert shell.counts() == (1, 1, 1, 1, 1, 1)
    assert shell.true()


# -- lines that do not fit together ------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "number", "reason"),
    [
        ([course(), session(), user()], 2, "userId: is on a later line, 3"),
        ([user(), session(), course()], 2, "courseId: is on a later line, 3"),
        ([course(), session()], 2, "userId: does not exist"),
        ([user(), session()], 2, "courseId: does not exist"),
        ([course(), user(), session(userId=COURSE_ID)], 3, "userId: does not exist"),
        ([course(), course(id=LATER)], 2, "courseTitle: is in use by another course"),
        ([user(), user(id=LATER)], 2, "username: is in use by another account"),
        ([user(), user(id=LATER, username="ali\u200bce", email="x@example.org")], 2, "username: is in use by another"),
        ([course(), user(), session(id=COURSE_ID)], 3, "id: is in use by a course"),
        ([course(), user(), session(id=LATER), session(id=LATER, topic="Other")], 4, "topic: differs"),
    ],
)
def test_lines_that_do_not_fit_together(shell: Shell, lines: list[Line], number: int, reason: str):
    status, said = shell.load(*lines)
    assert status == 1
    assert f"line {number}: {reason}" in said
    assert f"seneca: Nothing was imported. Line {number}: {reason}" in said
    assert shell.counts() == (0,) * 6
    status, said = shell.load(*lines, options=("--skip-bad",))
    assert (status, f"line {number}: {reason}" in said) == (0, True)
    assert sum(shell.counts()[:3]) == len(lines) - 1
    assert shell.true()


def test_what_refers_to_a_bad_line_is_bad(shell: Shell):
    lines = [course(), user(role="teacher"), session(), user(id=CHARLIE_ID, username="charlie")]
    status, said = shell.load(*lines, session(userId=CHARLIE_ID), options=("--skip-bad",))
    assert status == 0
    assert "line 3: userId: does not exist" in said
    assert shell.rows("SELECT learner_id FROM sessions") == [(CHARLIE_ID,)]


def test_a_learner_has_at_most_2000_names_in_a_course(shell: Shell):
    def many(*numbers: int) -> Line:
        return session(modulesStats=[module(f"{n}", adaptive=None) for n in numbers])

    lines = [course(), user(), many(*range(1000)), many(*range(1000, 1999))]
    assert shell.load(*lines)[0] == 0
    lines = [many(1, 2), many(1998, 1999), many(0, 2000), many(*range(500, 1500))]
    status, said = shell.load(*lines)
    assert (status, "line 3: modulesStats: a learner has results under at most 2,000" in said) == (1, True), said
    assert shell.load(*lines, options=("--skip-bad",))[0] == 0
    assert shell.rows("SELECT names, sessions FROM learner_totals") == [(2000, 5)]
    assert shell.true()


def test_accounts_that_are_stored_together_and_apart_are_compared_alike(shell: Shell):
    people = [user(id=str(UUID(int=n)), username=f"learner-{n}") for n in range(USERS_PER_BATCH + 5)]
    near, far = people[-1], people[3]
    others = [
        near,
        far,
        user(username="x", email=near["email"].upper()),
        user(username=far["username"].upper(), email="free@example.org"),
        far | {"role": "admin"},
        near | {"username": "renamed"},
        user(username="fine", email="free@example.org"),  # the line that would have taken the address is bad
        user(id=CHARLIE_ID, username="fine@example.org", email="fine@example.org"),
    ]
    status, said = shell.load(*people, *others, options=("--skip-bad",))
    assert status == 0, said
    first = len(people) + 3
    assert [line for line in said.splitlines() if line.startswith("line ")] == [
        f"line {first}: email: is in use by another account",
        f"line {first + 1}: username: is in use by another account",
        f"line {first + 2}: role: differs from what is stored under this id (--update replaces it)",
        f"line {first + 3}: username: differs from what is stored under this id (--update replaces it)",
    ]
    assert f"{USERS_PER_BATCH + 7:,} accounts (2 unchanged), 0 sessions; 4 bad lines skipped" in said
    assert shell.rows("SELECT count(*), count(DISTINCT account_id) FROM account_names") == [
        (2 * (USERS_PER_BATCH + 6) + 1, USERS_PER_BATCH + 7)
    ]
    assert shell.rows("SELECT count(*) FROM properties WHERE name = 'administrator-existed'") == [(0,)]


# -- files as a whole --------------------------------------------------------------------------


def test_one_bad_line_keeps_all_others_out(shell: Shell):
    assert shell.load(course(), user(), session())[0] == 0
    before = shell.rows("SELECT * FROM learner_totals"), shell.rows("SELECT * FROM course_totals")
    good = [session() for _ in range(50)]
    assert shell.load(user(id=CHARLIE_ID, username="charlie"), *good, session(courseId=ALICE_ID))[0] == 1
    assert shell.counts() == (1, 1, 1, 1, 1, 1)
    assert (shell.rows("SELECT * FROM learner_totals"), shell.rows("SELECT * FROM course_totals")) == before


def test_the_list_of_bad_lines_is_bounded(shell: Shell):
    status, said = shell.load(*[b"nonsense"] * (MAX_LISTED_LINES + 7), course(), options=("--skip-bad",))
    assert status == 0
    assert sum(line.startswith("line ") for line in said.splitlines()) == MAX_LISTED_LINES
    assert "and 7 more bad lines" in said
    assert f"{MAX_LISTED_LINES + 7:,} bad lines skipped" in said


def test_a_line_that_is_too_long_is_passed_over(shell: Shell):
    status, said = shell.load(
        course(), b" " * (2 * MAX_LINE_BYTES), b"x" * (2 * MAX_LINE_BYTES), user(), options=("--skip-bad",)
    )
    assert status == 0
    assert "line 2: The line has more than 16 MiB." in said
    assert "line 3: The line has more than 16 MiB." in said
    assert shell.counts()[:2] == (1, 1)


def test_a_reason_is_bounded_and_names_the_field(shell: Shell):
    status, said = shell.load(course(**{"x" * 100_000: 1}))
    assert status == 1
    assert max(map(len, said.splitlines())) < 1000


@pytest.mark.parametrize("raw", [None, b"\x1f\x8bnonsense", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"])
def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path, raw: bytes | None):
    file = tmp_path / "in.gz"
    if raw is not None:
        file.write_bytes(raw)
    done = seneca("import", file, "--data", tmp_path, "--skip-bad")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"seneca: {file} cannot be read: ")
    assert "Errno" not in done.stderr, "the reason alone, as other commands say it"
