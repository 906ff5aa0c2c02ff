"""What is left of somebody: in the tables, in the files."""

import json
from pathlib import Path
from typing import Any

import httpx

from tests.helpers.accounts import Person
from tests.helpers.commands import seneca
from tests.helpers.engines import engine
from tests.helpers.server import PASSWORD, Server

KEPT_OF_THE_ERASED = {"audit", "erasures", "properties"}
"""Where an erased account's id may still be: who was the first administrator is a property."""


def tables_with(server: Server, *words: str) -> set[str]:
    """The tables in which any of these words is."""
    found = set()
    for table in engine().tables(server.data):
        text = repr(server.rows(f"SELECT * FROM {table}")).lower()
        if any(word.lower() in text for word in words):
            found.add(table)
    return found


def files_with(data: Path, *words: str) -> dict[str, list[str]]:
    """The files of a data directory in which any of these words is, case-insensitive."""
    found = {}
    for file in sorted(data.iterdir()):
        raw = file.read_bytes().lower()
        if inside := [word for word in words if word.lower().encode() in raw]:
            found[file.name] = inside
    return found


def erase_self(person: Person, password: str = PASSWORD) -> httpx.Response:
    return person.delete("/auth/me", json={"password": password})


def check_totals(server: Server) -> None:
    """Assert that every total is what the recorded rows say."""
    done = seneca("stats", "verify", "--data", server.data)
    assert done.returncode == 0, done.stdout + done.stderr


def noted(data: Path) -> list[Any]:
    """The lines of the file of erased accounts."""
    return [json.loads(line) for line in (data / "erased-accounts").read_text().splitlines()]
