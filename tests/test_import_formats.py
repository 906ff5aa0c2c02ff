"""seneca import FILE: files of other formats, files without a good line, and what reaches the terminal."""

import gzip
import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from seneca.common.text_types import printable
from seneca.exchange.file_format import NotJsonLines
from seneca.exchange.importer import import_lines
from seneca.exchange.report import NothingImported
from tests.helpers.commands import seneca
from tests.helpers.exchange import Line, Shell, Store, course, session, silently, stored, user


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with stored(tmp_path / "store") as store:
        yield store


def database_file(folder: Path) -> bytes:
    file = folder / "some.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE t (a)")
    return file.read_bytes()


def archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("[Content_Types].xml", "<Types/>")
    return packed.getvalue()


LINES: list[Line] = [course(), user(), session()]
TABLE = "username,email,role\r\nalice,alice@example.org,user\r\n"
OTHER_FORMATS = [
    (TABLE.encode(), "is CSV"),
    (b"\xef\xbb\xbf" + TABLE.encode(), "is CSV"),
    (TABLE.replace(",", ";").replace("alice", "älice").encode("cp1252"), "is CSV"),
    (TABLE.replace(",", "\t").encode(), "is CSV"),
    (b'"username","email"\n"alice","alice@example.org"', "is CSV"),
    (TABLE.encode("utf-16"), "is in UTF-16"),
    (json.dumps(LINES).encode(), "is a JSON array"),
    (json.dumps(LINES, indent=2).encode(), "is a JSON array"),
    (json.dumps(LINES[0], indent=2).encode(), "is JSON over several lines"),
    (b'\n\n{"kind": "user",\n "id": 1}\n', "is JSON over several lines"),
    (archive(), "is a ZIP archive or a spreadsheet"),
    (b"PGDMP\x01\x0e", "see docs/backup.md"),
    (b"\x28\xb5\x2f\xfd\x04\x00", "is compressed with zstd"),
]


@pytest.mark.parametrize("skip_bad", [True, False])
def test_other_formats_are_recognised_and_the_answer_says_what_to_do(store: Store, tmp_path: Path, *, skip_bad: bool):
    formats = [*OTHER_FORMATS, (database_file(tmp_path), "seneca restore FILE")]
    for raw, what in formats:
        for packed in (raw, gzip.compress(raw)):
            file = tmp_path / "in"
            file.write_bytes(packed)
            with pytest.raises(NotJsonLines) as caught:
                import_lines(store.database, file, skip_bad=skip_bad, now=0, progress=silently)
            assert what in caught.value.detail
            assert caught.value.detail.startswith(str(file))
            if "UTF-16" not in what and "restore" not in what and "docs/backup" not in what and "zstd" not in what:
                assert "docs/exchange-format.md" in caught.value.detail
    assert store.export() == []


def test_a_csv_file_is_one_clear_line(tmp_path: Path):
    done = seneca("import", "-", "--data", tmp_path, input=TABLE)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "seneca: Standard input is CSV. seneca import reads JSON Lines, one JSON object per line, as seneca export writes "
        "them: see docs/exchange-format.md."
    )


@pytest.mark.parametrize(
    "first", [b'{"kind": "lesson", "x": 1}', b"a line that is none, but good ones follow", b"a, b", b"{}"]
)
def test_json_lines_that_begin_with_a_bad_line_are_still_json_lines(store: Store, first: bytes):
    assert store.load(first, *LINES, skip_bad=True).bad == 1


# -- nothing that is good ----------------------------------------------------------------------


def test_an_import_of_nothing_is_refused(store: Store):
    for lines, detail in (
        ([], "The file has no lines."),
        ([b"", b"  "], "The file has no lines."),
        ([b"nonsense"], "The only line is bad."),
        ([session(), session()], "All 2 lines are bad."),
    ):
        with pytest.raises(NothingImported) as caught:
            store.load(*lines, skip_bad=True)
        assert caught.value.detail == f"Nothing was imported. {detail}"
    assert store.rows("SELECT count(*) FROM audit") == [(0,)]


def test_exit_statuses_of_imports_that_store_nothing(tmp_path: Path):
    shell = Shell(tmp_path)
    status, said = shell.load()
    assert (status, said.splitlines()[-1]) == (1, "seneca: Nothing was imported. The file has no lines.")
    status, said = shell.load(session(), options=("--skip-bad",))
    assert (status, said.splitlines()[-1]) == (1, "seneca: Nothing was imported. The only line is bad.")
    assert "line 1: userId: does not exist" in said
    assert shell.load(*LINES)[0] == 0
    status, said = shell.load(*LINES)
    assert (status, "1 sessions" not in said, "0 sessions (1 unchanged)" in said) == (0, True, True)


# -- what reaches the terminal -----------------------------------------------------------------

HOSTILE = "\x1b[2J\x07\x9b31m\u202e\u2066\u200b\u2028\x7f\r\nline 1: fine"


def test_nothing_of_a_file_controls_the_terminal(tmp_path: Path):
    shell = Shell(tmp_path)
    lines = [
        {"kind": HOSTILE},
        user(**{HOSTILE: 1}),
        user(email=f"a{HOSTILE}@example.org"),
        session(modulesStats=[{"moduleName": "A", HOSTILE: None}]),
        b'{"kind": "user", "\x1b[31m": 1}',
        b"\x1b]0;title\x07",
        course(**{"x" * 100_000: 1}),
    ]
    for options in ((), ("--skip-bad",)):
        status, said = shell.load(*lines, options=options)
        assert status == 1
        assert [line for line in said.splitlines() if not line.isprintable()] == []
        assert sum(line.startswith("line ") for line in said.splitlines()) == len(lines)
        assert max(map(len, said.splitlines())) < 600


def test_a_module_name_that_verify_shows_is_escaped(tmp_path: Path):
    shell = Shell(tmp_path)
    with stored(tmp_path) as store:
        store.load(course(), user(), session(modulesStats=[{"moduleName": f"A{HOSTILE}"}]))
        with store.database.write_transaction() as tx:
            tx.execute("UPDATE learner_names SET results = 7")
    done = seneca("stats", "verify", "--data", shell.data)
    assert done.returncode == 1
    assert "A\\x1b[2J" in done.stdout
    assert [line for line in done.stdout.splitlines() if not line.isprintable()] == []


@pytest.mark.no_database
def test_printable_text_is_one_line_without_control_characters():
    assert printable("é 漢字 😀 a\\b") == "é 漢字 😀 a\\b"
    assert printable(HOSTILE).isprintable()
    assert printable("\x1b\x85\u202e\ud800\n") == "\\x1b\\x85\\u202e\\ud800\\n"
    assert printable("x" * 11, 10) == "x" * 10 + "…"
