"""Lines of the exchange format, and a data directory on which to run commands."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from seneca.database import Database, open_database
from seneca.exchange.exporter import export_lines
from seneca.exchange.importer import import_lines
from seneca.exchange.report import Report
from seneca.stats import verification
from tests.helpers.commands import seneca
from tests.helpers.engines import engine

BCRYPT = "$2b$10$qx3TOx6stb8q/AXszLGkh.6gh7TCtEI1/Hp8NHBtQw/Sjb7l1Sa3G"
ARGON2 = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGg"
COURSE_ID, ALICE_ID, CHARLIE_ID = (str(uuid4()) for _ in range(3))
Line = dict[str, Any]


def course(**members: Any) -> Line:
    return {
        "kind": "course",
        "id": COURSE_ID,
        "courseTitle": "Mathematics",
        "qualification": "GCSE",
        "topicsAndModules": [{"topic": "Number", "modules": ["Integers"]}],
    } | members


def user(**members: Any) -> Line:
    name = members.get("username", "alice")
    return {"kind": "user", "id": ALICE_ID, "username": name, "email": f"{name}@example.org", "role": "user"} | members


def session(**members: Any) -> Line:
    return {
        "kind": "session",
        "id": str(uuid4()),
        "userId": ALICE_ID,
        "courseId": COURSE_ID,
        "topic": "Number",
        "sessionStart": "2026-03-01T10:00:00.000Z",
        "sessionEnd": "2026-03-01T10:30:00.000Z",
        "isEnd": True,
        "modulesStats": [module()],
    } | members


def module(name: str = "Integers", **parts: Any) -> Line:
    part = {"answers": ["A", "B"], "isCompleted": True, "score": 74.5}
    return {"moduleName": name, "adaptive": part, "quiz": None, "wrongAnswers": []} | parts


def write(file: Path, *lines: Line | bytes) -> Path:
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    file.write_bytes(b"".join(line + b"\n" for line in raw))
    return file


def without_database(said: str) -> str:
    """What a command said, but for the line that names its database (tests/test_shell.py is about that)."""
    return re.sub(r"^Database: .*\n", "", said, flags=re.MULTILINE)


class Shell:
    """A data directory, commands on it, and its rows."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def load(self, *lines: Line | bytes, options: tuple[str, ...] = ()) -> tuple[int, str]:
        done = seneca("import", write(self.data / "in.jsonl", *lines), "--data", self.data, *options)
        return done.returncode, done.stderr

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return engine().rows(self.data, sql)

    def counts(self) -> tuple[int, ...]:
        tables = ("courses", "accounts", "sessions", "results", "learner_totals", "course_names")
        return tuple(self.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables)

    def true(self) -> bool:
        return seneca("stats", "verify", "--data", self.data).returncode == 0


class Store:
    """A database in this process, and files that go in and out."""

    def __init__(self, data: Path, database: Database) -> None:
        self.data = data
        self.database = database

    def load(self, *lines: Line | bytes, update: bool = False, skip_bad: bool = False, now: int = 0) -> Report:
        file = write(self.data / "in.jsonl", *lines)
        return import_lines(self.database, file, skip_bad=skip_bad, now=now, progress=silently, update=update)

    def export(self) -> list[Line]:
        file = self.data / "out.jsonl"
        export_lines(self.database, file, overwrite=True, progress=silently)
        return [json.loads(line) for line in file.read_bytes().splitlines()]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return engine().rows(self.data, sql)

    def differences(self) -> list[str]:
        """The totals that are not what the recorded rows say."""
        with self.database.read_transaction() as tx:
            return list(map(str, verification.mismatches(tx, lambda _table: None)))


@contextmanager
def stored(data: Path) -> Iterator[Store]:
    """A database in this process."""
    data.mkdir(parents=True, exist_ok=True)
    database = open_database(engine().url(data))
    try:
        yield Store(data, database)
    finally:
        database.close()


def silently(_doing: str, _done: int, _total: int | None) -> None:
    """Show no progress."""
