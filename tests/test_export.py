"""seneca export [FILE], and the way back."""

import gzip
import json
import resource
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seneca.common.text_types import normalise_name
from seneca.common.times import EARLIEST_MS, LATEST_MS, to_iso
from seneca.database import open_database
from seneca.exchange.exporter import export_lines
from seneca.exchange.importer import import_lines
from tests.helpers import engines
from tests.helpers.accounts import Person
from tests.helpers.commands import seneca, seneca_process
from tests.helpers.engines import engine
from tests.helpers.exchange import ALICE_ID, BCRYPT, CHARLIE_ID, COURSE_ID, Shell, course, module, session, user, write
from tests.helpers.server import Server

KEPT = (
    "courses",
    "accounts",
    "account_names",
    "passwords",
    "sessions",
    "results",
    "voided_sessions",
    "learner_totals",
    "learner_names",
    "course_totals",
    "course_names",
)
FIRST, SECOND, THIRD = (f"0190a000-0000-7000-8000-00000000000{n}" for n in (1, 2, 3))


def everything(shell: Shell) -> dict[str, list[tuple[Any, ...]]]:
    return {table: sorted(shell.rows(f"SELECT * FROM {table}"), key=repr) for table in KEPT}


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path / "from")
    shell.data.mkdir()
    return shell


def test_writes_each_line_whole_and_in_order(shell: Shell):
    created = {"createdAt": "2026-01-01T00:00:00.123Z"}
    given = [
        course(courseTitle="Ö", **created),
        course(id=FIRST, courseTitle="Z", topicsAndModules=[], **created),
        user(passwordHash=BCRYPT, createdAt="2026-01-02T00:00:00.000Z"),
        user(id=CHARLIE_ID, username="charlie", role="admin", **created),
        session(id=THIRD, courseTitle="Before", modulesStats=[module("Z"), module("A", adaptive=None)]),
        session(id=SECOND, isEnd=False, sessionEnd=None, modulesStats=[], courseTitle="Ö"),
    ]
    assert shell.load(*given)[0] == 0
    done = seneca("export", "--data", shell.data)
    assert done.returncode == 0
    for entry in given[4]["modulesStats"]:
        entry["wrongAnswers"] = None
    given[4] |= {"endedBy": "learner", "activity": []}
    given[5] |= {"endedBy": None, "activity": []}
    assert lines(done.stdout) == [given[1], given[0], given[3], given[2], given[5], given[4]]
    assert list(lines(done.stdout)[0]) == [
        "kind",
        "id",
        "courseTitle",
        "qualification",
        "topicsAndModules",
        "createdAt",
    ]
    assert "Exported 2 courses, 2 accounts, 2 sessions." in done.stderr


def test_an_empty_database_is_an_empty_file(shell: Shell):
    assert seneca("migrate", "--data", shell.data).returncode == 0
    done = seneca("export", "--data", shell.data)
    assert (done.returncode, done.stdout) == (0, "")


def test_writes_a_private_file_or_gzip(shell: Shell, tmp_path: Path):
    assert shell.load(course(), user(), session())[0] == 0
    plain, small = tmp_path / "out.jsonl", tmp_path / "out.jsonl.gz"
    for file in (plain, small):
        done = seneca("export", file, "--data", shell.data)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert gzip.decompress(small.read_bytes()) == plain.read_bytes()
    assert len(lines(plain.read_text())) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["from", "out.jsonl", "out.jsonl.gz"]


def test_a_file_that_cannot_be_written_is_one_clear_line(shell: Shell, tmp_path: Path):
    assert seneca("migrate", "--data", shell.data).returncode == 0
    done = seneca("export", tmp_path / "none" / "out", "--data", shell.data)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"seneca: {tmp_path / 'none' / 'out'} cannot be written: ")


def test_replaces_no_file_without_force(shell: Shell, tmp_path: Path):
    assert shell.load(course())[0] == 0
    precious, link, broken = tmp_path / "precious", tmp_path / "link", tmp_path / "broken"
    precious.write_text("before")
    link.symlink_to(precious)
    broken.symlink_to(tmp_path / "elsewhere")
    for target in (precious, link, broken):
        done = seneca("export", target, "--data", shell.data)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == (
            f"seneca: {target} already exists. Choose another name, or replace it with --force."
        )
    assert precious.read_text() == "before"
    assert shell.rows("SELECT count(*) FROM audit WHERE act = 'data.exported'") == [(0,)]
    assert not (tmp_path / "elsewhere").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "from", "link", "precious"]


def test_force_replaces_a_file_and_follows_no_link(shell: Shell, tmp_path: Path):
    assert shell.load(course())[0] == 0
    precious, link, old = tmp_path / "precious", tmp_path / "link", tmp_path / "old"
    precious.write_text("before")
    link.symlink_to(precious)
    old.write_text("an old export")
    old.chmod(0o644)
    for target in (old, link):
        assert seneca("export", target, "--force", "--data", shell.data).returncode == 0
        assert not target.is_symlink()
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert len(lines(target.read_text())) == 1
    assert precious.read_text() == "before"


def test_writes_to_a_pipe(shell: Shell, tmp_path: Path):
    assert shell.load(course())[0] == 0
    done = seneca_process("export", "/dev/stdout", "--data", shell.data)
    assert done.returncode == 0, done.stderr
    assert len(lines(done.stdout)) == 1


def test_an_export_that_fails_keeps_what_the_file_had(shell: Shell, tmp_path: Path):
    most = 64 * 1024  # bytes a file may grow to: the disk is full
    entry = module(quiz={"answers": ["x" * 1000] * 200})
    assert shell.load(course(), user(), session(modulesStats=[entry]))[0] == 0
    (tmp_path / "out").write_text("before")
    done = seneca_process(
        "export",
        tmp_path / "out",
        "--force",
        "--data",
        shell.data,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"seneca: {tmp_path / 'out'} cannot be written: ")
    assert (tmp_path / "out").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["from", "out"]


def test_what_was_recorded_over_http_comes_back_row_for_row(
    server: Server, tara: Person, alice: Person, course: dict[str, Any], tmp_path: Path
):
    first = alice.start(course)
    part = {"answers": ["a", '"\\\u2028é'], "isCompleted": True, "score": -0.125}
    alice.update(first, {"moduleName": "Z", "quiz": part}, {"moduleName": "A", "wrongAnswers": part})
    alice.update(first, {"moduleName": "M", "adaptive": part}, {"moduleName": "Z", "adaptive": part})
    alice.end(first)
    alice.update(alice.start(course), {"moduleName": "Z"})
    assert alice.put("/session/activity", {"sessionId": alice.start(course)}).status_code == 204
    reopened, voided = alice.start(course), alice.start(course)
    alice.end(reopened)
    assert tara.patch(f"/session/{reopened}", {"sessionEnd": None}).status_code == 200
    corrected = {"sessionStart": alice.get(f"/session/{first}").json()["sessionEnd"]}
    assert tara.patch(f"/session/{first}", corrected).status_code == 200
    assert tara.delete(f"/session/{voided}").status_code == 204
    changed = {"topicsAndModules": [{"topic": "Other", "modules": []}], "courseTitle": course["courseTitle"] + "!"}
    assert tara.put(f"/course/{course['id']}", changed).status_code == 200

    exported = seneca("export", tmp_path / "out.jsonl", "--data", server.data)
    assert exported.returncode == 0, exported.stderr
    copy = Shell(tmp_path / "copy")
    imported = seneca("import", tmp_path / "out.jsonl", "--data", copy.data)
    assert imported.returncode == 0, imported.stderr
    mine = {"learner_id": alice.id}
    for table in ("sessions", "results", "learner_names", "voided_sessions"):
        sql = f"SELECT * FROM {table} WHERE learner_id = "
        assert sorted(copy.rows(f"{sql}'{alice.id}'")) == sorted(server.rows(f"{sql}:learner_id", **mine)) != []
    sql = f"SELECT * FROM course_totals WHERE course_id = '{course['id']}'"
    assert copy.rows(sql) == server.rows(sql) != []
    assert copy.true()


# -- any data, there and back ------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
NAMES = TEXT.map(normalise_name).filter(bool)
PARTS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "answers": st.lists(TEXT, max_size=2),
        "isCompleted": st.booleans(),
        "score": st.integers(-(10**9), 10**9).map(lambda n: n / 1000),
        "recordedAt": st.none() | st.integers(EARLIEST_MS, LATEST_MS).map(to_iso),
    },
)
MODULES = st.lists(
    st.fixed_dictionaries({"moduleName": NAMES, "adaptive": PARTS, "quiz": PARTS, "wrongAnswers": PARTS}),
    max_size=4,
    unique_by=lambda entry: entry["moduleName"],
)
TIMES = st.integers(EARLIEST_MS, LATEST_MS)


ACTIVITY = st.lists(TIMES, max_size=6, unique=True).map(
    lambda times: [tuple(map(to_iso, pair)) for pair in zip(*[iter(sorted(times))] * 2, strict=False)]
)


@st.composite
def sessions(draw: st.DrawFn) -> dict[str, Any]:
    start, end = sorted((draw(TIMES), draw(TIMES)))
    is_end = draw(st.booleans())
    return session(
        id=str(draw(st.uuids())),
        userId=draw(st.sampled_from([ALICE_ID, CHARLIE_ID])),
        courseId=draw(st.sampled_from([COURSE_ID, FIRST])),
        topic=draw(NAMES),
        sessionStart=to_iso(start),
        sessionEnd=to_iso(end) if is_end or draw(st.booleans()) else None,
        isEnd=is_end,
        endedBy=draw(st.sampled_from(["learner", "timeout", "administrator", None])) if is_end else None,
        activity=draw(st.none() | ACTIVITY),
        idleSince=draw(st.none() | TIMES.map(to_iso)),
        modulesStats=draw(MODULES),
    )


@st.composite
def voided(draw: st.DrawFn) -> dict[str, Any]:
    user_id, time = draw(st.sampled_from([ALICE_ID, CHARLIE_ID])), draw(TIMES)
    return {"kind": "voided-session", "id": str(draw(st.uuids())), "userId": user_id, "voidedAt": to_iso(time)}


@given(
    st.lists(sessions() | voided(), max_size=8, unique_by=lambda line: line["id"]),
    st.lists(TIMES, min_size=4, max_size=4),
)
@settings(max_examples=30 if engines.chosen == "sqlite" else 8)  # two databases each
def test_an_import_of_an_export_is_the_same(tmp_path_factory: pytest.TempPathFactory, given_sessions, times):
    shells = [Shell(tmp_path_factory.mktemp("there")), Shell(tmp_path_factory.mktemp("back"))]
    people = [course(), course(id=FIRST, courseTitle="ß"), user(), user(id=CHARLIE_ID, username="charlie")]
    dated = [line | {"createdAt": to_iso(time)} for line, time in zip(people, times, strict=True)]
    files = [write(shells[0].data / "in.jsonl", *dated, *given_sessions), shells[1].data / "in.jsonl"]
    for shell, file, other in zip(shells, files, reversed(files), strict=True):
        database = open_database(engine().url(shell.data))
        report = import_lines(database, file, skip_bad=False, now=0, progress=silently)
        assert report.sessions.stored + report.voided.stored == len(given_sessions)
        export_lines(
            database, other if shell is shells[0] else file.with_name("again.jsonl"), overwrite=True, progress=silently
        )
        database.close()
    assert everything(shells[0]) == everything(shells[1])
    assert files[1].read_bytes() == files[1].with_name("again.jsonl").read_bytes()


def silently(_doing: str, _done: int, _total: int | None) -> None:
    """Tell nobody."""


def test_there_and_back_keeps_the_demo(tmp_path: Path):
    shells = [Shell(tmp_path / "there"), Shell(tmp_path / "back")]
    assert seneca("demo", "--data", shells[0].data).returncode == 0
    exported = seneca("export", "--data", shells[0].data)
    imported = seneca("import", "-", "--data", shells[1].data, input=exported.stdout)
    assert imported.returncode == 0, imported.stderr
    assert everything(shells[0]) == everything(shells[1])
    assert len(everything(shells[0])["sessions"]) > 100
    assert all(shell.true() for shell in shells)
