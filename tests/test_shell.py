"""What every command has in common: exit statuses, one clear line, the database that it names and never makes by mistake."""

import os
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.helpers.commands import seneca
from tests.helpers.engines import Postgres, engine
from tests.helpers.exchange import Shell, course, session, user, write
from tests.helpers.server import running
from tests.test_prose import BANNED

FILE = "given-file"
"""Stands for a file of the test's own."""
ONLY_WITH_A_DATABASE = [
    ("backup", FILE),
    ("export",),
    ("export", FILE),
    ("stats", "verify"),
    ("stats", "rebuild"),
    ("admin", "password", "tara"),
    ("admin", "reset-keys"),
    ("erase", "tara", "--yes"),
    ("erase", "--replay", FILE),
    ("prune", "--months", "12"),
    ("prune", "--months", "12", "--dry-run"),
    ("vacuum",),
    ("restore", "--in-place"),
]
CREATING = [
    ("serve", "--port", "0"),
    ("demo",),
    ("import", FILE),
    ("admin", "create", "tara", "tara@example.org"),
    ("migrate",),
    ("restore", FILE, "--yes"),
]
COMMANDS = [*ONLY_WITH_A_DATABASE, *CREATING]


def name(command: tuple[str, ...]) -> str:
    return " ".join(command)


def with_file(command: tuple[str, ...], file: Path) -> tuple[str | Path, ...]:
    return tuple(file if word == FILE else word for word in command)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Assert that a command was refused with exit status 1 and one line; returns the line."""
    assert (done.returncode, done.stdout) == (1, ""), done
    assert re.fullmatch(r"seneca: [^\n]+\n", done.stderr), done.stderr
    return done.stderr


def is_empty(data: Path) -> bool:
    """Whether nothing was made, neither file nor table."""
    return not list(data.iterdir()) and (not isinstance(engine(), Postgres) or engine().tables(data) == [])


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A small database."""
    made = Shell(tmp_path / "data")
    made.data.mkdir()
    assert made.load(course(), user(username="tara"), session())[0] == 0
    return made


# -- no database -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ONLY_WITH_A_DATABASE, ids=name)
def test_where_there_is_no_database_none_is_made_and_nothing_overwritten(tmp_path: Path, command: tuple[str, ...]):
    data, file = tmp_path / "data", tmp_path / "file"
    data.mkdir()
    file.write_text("yesterday's\n")
    said = one_line(seneca(*with_file(command, file), "--data", data))
    assert "There is no Seneca database at " in said
    assert ("postgresql://127.0.0.1" if isinstance(engine(), Postgres) else f"{data}/seneca.db") in said
    assert is_empty(data)
    assert file.read_text() == "yesterday's\n"


@pytest.mark.sqlite
@pytest.mark.parametrize("content", [b"", b"something else" * 1000], ids=["empty", "something else"])
@pytest.mark.parametrize("command", [("stats", "verify"), ("backup", FILE)], ids=name)
def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path, command: tuple[str, ...], content: bytes):
    data = tmp_path / "data"
    data.mkdir()
    (data / "seneca.db").write_bytes(content)
    assert str(data / "seneca.db") in one_line(seneca(*with_file(command, tmp_path / "file"), "--data", data))
    assert [(path.name, path.read_bytes()) for path in data.iterdir()] == [("seneca.db", content)]


@pytest.mark.parametrize("command", [("migrate",), ("demo",), ("admin", "create", "tara", "t@example.org")], ids=name)
def test_a_command_that_makes_a_database_says_so(tmp_path: Path, command: tuple[str, ...]):
    done = seneca(*command, "--data", tmp_path)
    assert done.returncode == 0
    assert re.search(r"^Database: \S+ \(created\)$", done.stderr, re.MULTILINE), done.stderr
    again = seneca("migrate", "--data", tmp_path)
    assert re.search(r"^Database: \S+$", again.stderr, re.MULTILINE), again.stderr


# -- the database is named ---------------------------------------------------------------------


@pytest.mark.parametrize("command", [*ONLY_WITH_A_DATABASE[1:], ("migrate",), ("import", FILE)], ids=name)
def test_the_database_that_was_used_is_named(shell: Shell, tmp_path: Path, command: tuple[str, ...]):
    if isinstance(engine(), Postgres) and command == ("vacuum",):
        command = ("migrate",)  # PostgreSQL has a tool of its own for that
    done = seneca(*with_file(command, tmp_path / "lines"), "--data", shell.data, input="a-long-password\n")
    if "--replay" in command or command[0] == "import":  # from no file
        assert done.returncode == 1
        write(tmp_path / "lines", course())
        done = seneca(*with_file(command, tmp_path / "lines"), "--data", shell.data)
    assert done.returncode == 0, done.stderr
    url = engine().url(shell.data)
    place = url.replace("seneca@", "") if isinstance(engine(), Postgres) else str(shell.data / "seneca.db")
    assert f"Database: {place}\n" in done.stderr
    assert "Database" not in done.stdout


@pytest.mark.postgres
def test_user_and_password_of_a_database_are_not_shown(tmp_path: Path):
    url = engine().url(tmp_path).replace("seneca@", "seneca:a-secret@") + "?application_name=hidden"
    for command in (("stats", "verify"), ("migrate",)):
        done = seneca(*command, "--database", url)
        assert re.search(r"postgresql://127.0.0.1:\d+/d[0-9a-f]+", done.stderr)
        assert not re.search("a-secret|hidden|seneca@", done.stderr)


# -- exit statuses -----------------------------------------------------------------------------


@pytest.mark.no_database
@pytest.mark.parametrize("command", COMMANDS, ids=name)
def test_an_unknown_option_is_wrong_usage(tmp_path: Path, command: tuple[str, ...]):
    done = seneca(*with_file(command, tmp_path / "file"), "--data", tmp_path, "--unknown")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such option: --unknown" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.no_database
@pytest.mark.parametrize("command", COMMANDS, ids=name)
def test_a_data_directory_that_is_a_file_is_one_clear_line(tmp_path: Path, command: tuple[str, ...]):
    data = tmp_path / "data"
    data.write_text("a file")
    done = seneca(*with_file(command, tmp_path / "file"), "--data", data)
    assert f"The data directory {data} is a file" in one_line(done)


@pytest.mark.sqlite
@pytest.mark.parametrize("command", COMMANDS, ids=name)
def test_a_database_that_cannot_be_opened_is_one_clear_line(tmp_path: Path, command: tuple[str, ...]):
    data = tmp_path / "data"
    (data / "seneca.db").mkdir(parents=True)  # who runs as root may read and write whatever there is
    (tmp_path / "file").write_text("")
    done = seneca(*with_file(command, tmp_path / "file"), "--data", data)
    assert done.returncode == 1
    assert (
        done.stderr.splitlines()[-1]
        == f"seneca: The database {data}/seneca.db cannot be used: unable to open database file."
    )


@pytest.mark.sqlite
def test_a_data_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    data = tmp_path / "file" / "data"
    assert one_line(seneca("migrate", "--data", data)) == (
        f"seneca: The database {data}/seneca.db cannot be used: Not a directory.\n"
    )


@pytest.mark.no_database
@pytest.mark.parametrize("command", [(), ("admin",), ("stats",), ("unknown",)], ids=name)
def test_no_command_is_wrong_usage(command: tuple[str, ...]):
    assert seneca(*command).returncode == 2


@pytest.mark.no_database
def test_the_version():
    done = seneca("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"seneca {version('seneca')}\n", "")


@pytest.mark.no_database
@pytest.mark.parametrize(
    "command",
    sorted({command[:1] for command in COMMANDS} | {c[:2] for c in COMMANDS if c[0] in ("admin", "stats")}),
    ids=name,
)
def test_help_is_plain_english(command: tuple[str, ...]):
    done = seneca(*command, "--help", env=os.environ | {"COLUMNS": "200"})
    assert (done.returncode, done.stderr) == (0, "")
    assert not BANNED.search(done.stdout)
    if command[0] not in ("admin", "stats") or len(command) == 2:
        assert "SENECA_DATA" in done.stdout
        assert "postgresql://" in done.stdout


# -- one default directory ---------------------------------------------------------------------


@pytest.mark.sqlite
def test_the_default_directory_is_of_the_place_where_one_is(tmp_path: Path):
    done = seneca("migrate", cwd=tmp_path)
    assert f"Database: {tmp_path}/seneca-data/seneca.db (created)\n" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["seneca-data"]


# -- backups -----------------------------------------------------------------------------------


@pytest.mark.sqlite
def test_a_backup_replaces_an_older_one_of_the_same_database_only(shell: Shell, tmp_path: Path):
    other = Shell(tmp_path / "other")
    other.data.mkdir()
    assert other.load(course(), user(username="tara"), session())[0] == 0
    file = tmp_path / "backup"
    for _ in range(2):
        assert seneca("backup", file, "--data", shell.data).returncode == 0
    good = file.read_bytes()
    said = one_line(seneca("backup", file, "--data", other.data))
    assert f"{file} is not a backup of {other.data}/seneca.db" in said
    assert "--force" in said
    assert file.read_bytes() == good
    assert seneca("backup", file, "--data", other.data, "--force").returncode == 0
    assert seneca("backup", file, "--data", other.data).returncode == 0
    assert seneca("backup", file, "--data", shell.data).returncode == 1


@pytest.mark.sqlite
def test_a_restored_database_goes_on_with_its_backups(shell: Shell, tmp_path: Path):
    file = tmp_path / "backup"
    assert seneca("backup", file, "--data", shell.data).returncode == 0
    assert seneca("restore", file, "--data", tmp_path / "new").returncode == 0
    assert seneca("backup", file, "--data", tmp_path / "new").returncode == 0


@pytest.mark.sqlite
@pytest.mark.parametrize("content", [b"a thesis", b"SQLite format 3\0" + b"torn" * 1000], ids=["text", "torn"])
def test_a_backup_replaces_no_other_file(shell: Shell, tmp_path: Path, content: bytes):
    file = tmp_path / "file"
    file.write_bytes(content)
    one_line(seneca("backup", file, "--data", shell.data))
    assert file.read_bytes() == content
    file.write_bytes(b"")  # as `mktemp` leaves it
    assert seneca("backup", file, "--data", shell.data).returncode == 0


@pytest.mark.sqlite
@pytest.mark.parametrize("option", [(), ("--force",)], ids=name)
def test_a_backup_never_replaces_a_database_in_use(shell: Shell, tmp_path: Path, option: tuple[str, ...]):
    file = tmp_path / "backup"
    assert seneca("backup", file, "--data", shell.data).returncode == 0
    with running(tmp_path / "other") as server:
        said = one_line(seneca("backup", server.data / "seneca.db", "--data", shell.data, *option))
        assert "is a database in use" in said


@pytest.mark.sqlite
def test_a_backup_leaves_an_older_schema_as_it_is(shell: Shell, tmp_path: Path):
    engine().change(shell.data, "DELETE FROM migrations WHERE number > 1")  # as a database before an upgrade
    file = tmp_path / "backup"
    done = seneca("backup", file, "--data", shell.data)
    assert done.returncode == 0
    assert "Not recorded in the audit log: the schema is older than this program." in done.stderr
    assert shell.rows("SELECT number FROM migrations") == [(1,)]
    (tmp_path / "copy").mkdir()
    shutil.copy(file, tmp_path / "copy" / "seneca.db")
    assert Shell(tmp_path / "copy").rows("SELECT number FROM migrations") == [(1,)]


# -- a copy of a live database -----------------------------------------------------------------


@pytest.mark.sqlite
def test_a_plain_copy_of_a_live_database_is_restored_only_by_who_says_so(tmp_path: Path):
    copy, data = tmp_path / "copied.db", tmp_path / "data"
    with running(tmp_path / "live") as server:
        shutil.copy(server.data / "seneca.db", copy)
    said = one_line(seneca("restore", copy, "--data", data))
    assert f"{copy}: It looks like a plain copy of a live seneca.db: the newest records may be missing" in said
    assert "seneca.db-wal was not copied" in said
    assert "seneca backup" in said
    assert seneca("restore", copy, "--data", data, "--yes").returncode == 0
    assert seneca("backup", tmp_path / "backup", "--data", data).returncode == 0
    assert seneca("restore", tmp_path / "backup", "--data", tmp_path / "new").returncode == 0


@pytest.mark.sqlite
def test_a_torn_copy_of_a_live_database_is_refused_with_its_likely_cause(shell: Shell, tmp_path: Path):
    copy = tmp_path / "copied.db"
    copy.write_bytes((shell.data / "seneca.db").read_bytes()[:-8192])
    said = one_line(seneca("restore", copy, "--data", tmp_path / "new", "--yes"))
    assert re.search(r"copied.db is damaged: .*\. It looks like a plain copy of a live seneca.db", said)


@pytest.mark.sqlite
def test_options_have_environment_variables(tmp_path: Path):
    done = seneca("migrate", env=os.environ | {"SENECA_DATA": str(tmp_path / "data")})
    assert f"Database: {tmp_path}/data/seneca.db (created)\n" in done.stderr
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    done = seneca("migrate", env=os.environ | {"SENECA_DATABASE_URL": url})
    assert f"Database: {tmp_path}/elsewhere.db (created)\n" in done.stderr
