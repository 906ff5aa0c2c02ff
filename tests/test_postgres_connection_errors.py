"""A PostgreSQL that cannot be used: one line with what it says and what to do, and never the password."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest

from seneca.database import open_database
from seneca.errors import CommandError
from tests.helpers import engines
from tests.helpers.commands import seneca
from tests.helpers.exchange import course, session, user, write

pytestmark = pytest.mark.postgres

SECRET = "hunter2-hunter2"


@pytest.fixture(scope="module")
def cluster() -> Iterator[engines.Postgres]:
    """A server of our own, since its settings are changed."""
    made = engines.Postgres(engines.binaries())
    hba = made.directory / "db" / "pg_hba.conf"
    rules = "host all stranger all scram-sha-256\nhost all rejected all reject\n"
    hba.write_text(rules + hba.read_text())
    with psycopg.connect(made.url(made.directory), autocommit=True) as connection:
        connection.execute("SELECT pg_reload_conf()")
        for role in ("app", "stranger", "limited CONNECTION LIMIT 0", "rejected"):
            connection.execute(f"CREATE ROLE {role.replace(' ', ' LOGIN ', 1) if ' ' in role else role + ' LOGIN'}")
        connection.execute("CREATE ROLE locked_out NOLOGIN")
    yield made
    made.remove()


def reason(url: str) -> str:
    """Why a database cannot be opened."""
    with pytest.raises(CommandError) as error:
        open_database(url)
    assert "\n" not in error.value.detail
    assert "hunter2" not in error.value.detail
    return error.value.detail


def as_role(url: str, role: str) -> str:
    return url.replace("seneca@", f"{role}:{SECRET}@")


@pytest.mark.parametrize(
    ("role", "suffix", "expected"),
    [
        ("nobody", "", ("CREATE ROLE", 'role "nobody" does not exist')),
        ("stranger", "", ("The user name or the password is wrong.", "password authentication failed")),
        ("locked_out", "", ("ALTER ROLE name LOGIN", "not permitted to log in")),
        ("limited", "", ("max_connections", "too many connections for role")),
        ("rejected", "", ("Use TLS", "rejects connection")),
        ("app", "x", ("createdb --encoding=UTF8", "does not exist")),
        ("app", "?sslmode=require", ("The server does not use TLS", "does not support SSL")),
    ],
)
def test_a_refused_connection_says_why_and_what_to_do(
    cluster: engines.Postgres, tmp_path: Path, role: str, suffix: str, expected: tuple[str, str]
):
    text = reason(as_role(cluster.url(tmp_path), role) + suffix)
    assert " on 127.0.0.1 cannot be used: " in text
    for part in expected:
        assert part in text


def test_a_port_at_which_something_else_listens_says_so(cluster: engines.Postgres):
    def answer() -> None:
        with suppress(OSError), listener.accept()[0] as client:
            client.recv(100)
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=answer).start()
        assert "is not PostgreSQL" in reason(f"postgresql://app:{SECRET}@127.0.0.1:{listener.getsockname()[1]}/x")
    assert "Nothing listens there" in reason(f"postgresql://app:{SECRET}@127.0.0.1:1/x")
    assert "no such host" in reason(f"postgresql://app:{SECRET}@nowhere.invalid/x")


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ("search_path = nowhere", "There is no schema for the tables"),
        ("default_transaction_read_only = on", "Use the primary's address"),
    ],
)
def test_a_database_that_takes_no_tables_says_why(cluster: engines.Postgres, tmp_path: Path, setting: str, advice: str):
    url = cluster.url(tmp_path)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET {setting}")
    assert advice in reason(url)


def test_a_table_of_another_program_is_named(cluster: engines.Postgres, tmp_path: Path):
    url = cluster.url(tmp_path)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE courses (id int)")
    text = reason(url)
    assert "Give Seneca a separate database" in text
    assert '"courses" already exists' in text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2/hunter2@127.0.0.1/db",
        "postgresql://u:hun@hunter2@127.0.0.1/db",
        "postgresql://u:hun@hunter2/hunter2@127.0.0.1/db",
        "postgresql://u:hunter2?hunter2@127.0.0.1/db",
        "postgresql://u:hunter2#hunter2@127.0.0.1:1/db",
        "postgresql://u:hunter2%@127.0.0.1/db",
        "postgresql://u:hunter2[@127.0.0.1/db",
        "postgresql://u:hunter2/db",
        "postgresql://u:hunter2@127.0.0.1:hunter2/db",
        "postgresql://u@127.0.0.1/db?pasword=hunter2",
        "postgresql://127.0.0.1:1/db?password=hunter2",
        "postgres://u:hunter2@127.0.0.1:1/db",
        "postgresq://u:hunter2@127.0.0.1/db",
    ],
)
def test_no_part_of_a_password_is_shown(tmp_path: Path, url: str):
    reason(url)
    done = seneca("migrate", "--data", tmp_path, "--database", url)
    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr


# -- rights ------------------------------------------------------------------------------------


def test_a_role_that_may_not_create_tables_gets_the_statement_to_run(cluster: engines.Postgres, tmp_path: Path):
    url = cluster.url(tmp_path)
    text = reason(as_role(url, "app"))
    assert 'GRANT USAGE, CREATE ON SCHEMA public TO "app";' in text
    assert "permission denied for schema public" in text
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute('GRANT USAGE, CREATE ON SCHEMA public TO "app";')
    open_database(as_role(url, "app")).close()


def test_a_role_that_may_only_read_and_write_rows_can_run_a_migrated_database(
    cluster: engines.Postgres, tmp_path: Path
):
    url = cluster.url(tmp_path)
    open_database(url).close()
    text = reason(as_role(url, "app"))
    assert 'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "app";' in text
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "app";')
    options = ("--data", tmp_path, "--database", as_role(url, "app"))
    lines = write(tmp_path / "in.jsonl", course(), user(), session())
    for command in (
        ("import", lines),
        ("export", tmp_path / "out"),
        ("stats", "verify"),
        ("stats", "rebuild"),
        ("migrate",),
    ):
        done = seneca(*command, *options)
        assert done.returncode == 0, done.stderr
