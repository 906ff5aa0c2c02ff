"""The power is cut at thousands of moments, and nothing acknowledged is lost: SQLite, on a disk that forgets and tears.

Our engine records the sessions of several clients on a VFS that writes down every write and sync (``power``). The
journal is then cut again and again; what the cut leaves is opened as any start opens it, and compared with the clients'
log. ``CUTS=10000`` is the long form; ``make soak`` runs it. The harness proves itself on settings, on a disk and on a
writer that do lose what was acknowledged.
"""

import asyncio
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import apsw
import msgspec
import pytest

from seneca import accounts, courses
from seneca.accounts import Learner
from seneca.common.ids import bucket_of
from seneca.common.json_decoding import decode
from seneca.courses import NewCourse, Topic
from seneca.database import Transaction, open_database
from seneca.database.sqlite import engine, local_writer, writer
from seneca.database.sqlite.engine import Sqlite, SqliteTransaction
from seneca.errors import CommandError
from seneca.sessions import commands
from seneca.sessions.requests import StartSession
from seneca.sessions.results import ModuleUpdate, parse_results
from seneca.sessions.rows import RecordedResult
from seneca.stats.verification import mismatches
from tests.helpers import ledger, power
from tests.helpers.ledger import Ledger, Study
from tests.helpers.power import Disk, Journal

pytestmark = pytest.mark.sqlite  # about the file

CUTS = int(os.environ.get("CUTS", "600"))
RUNS = max(4, CUTS // 500)
CLIENTS = 4
NOW = 1_700_000_000_000
COURSE = str(UUID(int=1))
LEARNER = str(UUID(int=2))
CHECKPOINTED = power.Synced("seneca.db", directory_too=False)


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory in memory where there is one: what is in it now is as cut, and need not survive another cut."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="seneca-power-", dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


# -- a run -------------------------------------------------------------------------------------


def run(directory: Path, writes: int) -> Journal:
    """The journal of clients who make this many writes each on a database, which is closed and opened half-way."""
    with power.recorded() as journal:
        for _ in range(2):
            database = open_database(f"sqlite:///{directory / 'seneca.db'}")
            try:
                asyncio.run(study(database, journal, writes // 2))
            finally:
                database.close()
    return journal


async def study(database: Sqlite, journal: Journal, writes: int) -> None:
    await database.write(furnish)
    learner = Learner(LEARNER, bucket_of(LEARNER, database.buckets))
    await asyncio.gather(*(client(database, journal, learner, writes) for _ in range(CLIENTS)))


def furnish(tx: Transaction) -> None:
    """A course and a learner, if they are not there."""
    if tx.fetch_one(courses.BY_ID, id=COURSE):
        return
    courses.insert(tx, NewCourse("Mathematics", "GCSE", [Topic("Number", [])]), NOW, COURSE)
    names = {"username": "alice", "email": "alice@example.org"}
    accounts.create(tx, id=LEARNER, **names, role="user", password_hash=None, created_at=NOW)


async def client(database: Sqlite, journal: Journal, learner: Learner, writes: int) -> None:
    """Start sessions, record results and end them; what was sent and what was acknowledged goes into the journal."""
    while writes > 0:
        known = Study(str(uuid4()), learner.id)

        def note(known: Study = known, **members: Any) -> None:
            for name, value in members.items():
                setattr(known, name, value)
            journal.append(replace(known))

        note()
        await database.write(commands.start, learner, StartSession(COURSE, "Number", known.id), NOW)
        note(started=True)
        steps = random.randrange(1, 12)
        for number in range(1, steps + 1):
            results = parse_results(decode(msgspec.json.encode(ledger.modules(number)), list[ModuleUpdate]))
            note(sent=number)
            recorded = await database.write(
                commands.update, learner, known.id, [*map(RecordedResult, results)], now=NOW
            )
            assert recorded.points == ledger.POINTS * number
            note(acknowledged=number)
        note(ending=True)
        note(ended=await database.write(commands.end, learner, known.id, None, now=NOW + steps))
        writes -= steps + 2


# -- cutting it --------------------------------------------------------------------------------


def moments(journal: Journal, count: int) -> list[int]:
    """Where to cut: anywhere, right after what clients were told, and around syncs of the database itself."""
    told = [index for index, event in enumerate(journal, 1) if isinstance(event, Study)]
    checkpoints = [index for index, event in enumerate(journal, 1) if event == CHECKPOINTED]
    chosen = []
    for _ in range(count):
        near = random.choice([range(len(journal) + 1), told, checkpoints])
        chosen.append(max(0, min(len(journal), random.choice(near) + random.choice([0, 0, -2, -1, 1, 2]))))
    return sorted(chosen)


def cut(journal: Journal, room: Path, count: int, disk: Disk, clients: Ledger) -> Iterator[Path]:
    """What each of this many cuts leaves: a directory, good until the next one. Keeps the clients' log up to date."""
    played = 0
    for moment in moments(journal, count):
        for event in journal[played:moment]:
            if isinstance(event, Study):
                clients.studies[event.id] = event
            else:
                disk.play(event)
        played = moment
        with tempfile.TemporaryDirectory(dir=room) as left:
            disk.cut(Path(left))
            yield Path(left)


def cuts(journal: Journal, room: Path, count: int, disk: Disk) -> Iterator[list[str]]:
    """What is wrong after each of this many cuts."""
    clients = Ledger()
    for left in cut(journal, room, count, disk, clients):
        yield faults(left, clients)


def faults(left: Path, clients: Ledger) -> list[str]:
    """What a start finds wrong with what a cut has left."""
    try:
        database = open_database(f"sqlite:///{left / 'seneca.db'}")
    except CommandError as error:
        return [f"unusable: {error.detail}"]
    try:
        with database.read_transaction() as tx:
            broken = [f"corrupt: {row[0]}" for row in tx.fetch_all("PRAGMA integrity_check") if row != ("ok",)]
            broken += [f"corrupt: {row} refers to nothing" for row in tx.fetch_all("PRAGMA foreign_key_check")]
            return broken or [*clients.faults(ledger.read(tx.fetch_all)), *map(str, mismatches(tx))]
    except apsw.Error as error:
        return [f"corrupt: {error}"]
    finally:
        database.close()


def lost(found: list[list[str]]) -> int:
    return sum(any(fault.startswith("lost") for fault in each) for each in found)


# -- what must be so ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(RUNS))
def test_a_power_cut_loses_halves_and_doubles_nothing(room: Path, number: int, monkeypatch: pytest.MonkeyPatch):
    if number % 4:  # the log goes into the database often, and not once in a run
        often(monkeypatch)
    journal = run(room, writes=100)
    for found in cuts(journal, room, CUTS // RUNS, Disk()):
        assert found == []


def test_a_second_cut_while_or_after_it_recovers_changes_nothing_of_that(room: Path, monkeypatch: pytest.MonkeyPatch):
    often(monkeypatch)
    clients = Ledger()
    for left in cut(run(room, writes=60), room, CUTS // 20, Disk(), clients):
        known = Ledger()
        known.studies |= clients.studies
        disk = Disk({path.name: path.read_bytes() for path in left.iterdir()})
        again = run(left, writes=6)
        with tempfile.TemporaryDirectory(dir=room) as elsewhere:
            for left_again in cut(again, Path(elsewhere), 5, disk, known):
                assert faults(left_again, known) == []


def often(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_pragma(monkeypatch, "wal_autocheckpoint = 4000", "wal_autocheckpoint = 60")


def replace_pragma(monkeypatch: pytest.MonkeyPatch, ours: str, other: str) -> None:
    assert ours in engine.PRAGMAS
    monkeypatch.setattr(engine, "PRAGMAS", engine.PRAGMAS.replace(ours, other))


# -- that the harness would notice -------------------------------------------------------------


def test_synchronous_normal_is_caught_losing_what_was_acknowledged(room: Path, monkeypatch: pytest.MonkeyPatch):
    replace_pragma(monkeypatch, "synchronous = FULL", "synchronous = NORMAL")
    found = list(cuts(run(room, writes=40), room, 60, Disk()))
    assert lost(found) > 0
    assert all(fault.startswith("lost") for each in found for fault in each)  # it gives up durability, nothing else


def test_a_disk_that_lies_about_syncs_is_caught(room: Path):
    found = list(cuts(run(room, writes=40), room, 60, Disk(lies=True)))
    assert lost(found) > 0
    assert any(fault.startswith(("corrupt", "unusable")) for each in found for fault in each)


def test_a_writer_that_answers_before_the_commit_is_caught(room: Path, monkeypatch: pytest.MonkeyPatch):
    run_in_savepoint = writer.run_in_savepoint

    def hasty(tx: SqliteTransaction, request: local_writer.LocalWrite) -> None:
        run_in_savepoint(tx, request)
        local_writer.resolve_futures([request])

    monkeypatch.setattr(writer, "run_in_savepoint", hasty)
    assert lost(list(cuts(run(room, writes=40), room, 100, Disk()))) > 0
