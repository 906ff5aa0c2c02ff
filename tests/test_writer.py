"""SQLite's one writer: group commit, and that no fault of one request, the disk or the connection ends it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from seneca.database import UniqueViolation, open_database
from seneca.database.sqlite.engine import Sqlite, SqliteTransaction
from seneca.database.sqlite.writer import MAX_QUEUED, MAX_WRITES_PER_COMMIT
from seneca.errors import CourseNotFound, ServiceUnavailable

pytestmark = pytest.mark.sqlite  # about the file

Work = Callable[[SqliteTransaction], Any]
MEGABYTE = 1024 * 1024
PUT = "INSERT INTO properties (name, value) VALUES (:name, :value)"
STORED = "SELECT name FROM properties WHERE name LIKE 'test-%' ORDER BY name"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Sqlite]:
    database = open_database(f"sqlite:///{tmp_path / 'seneca.db'}")
    yield database
    database.close()


def put(name: str, size: int = 1) -> Work:
    """A write of one row; its result is the name."""

    def work(tx: SqliteTransaction) -> str:
        tx.execute(PUT, name=f"test-{name}", value="x" * size)
        return name

    return work


def then(work: Work, error: BaseException) -> Work:
    """The same write, which then raises."""

    def failing(tx: SqliteTransaction) -> None:
        work(tx)
        raise error

    return failing


def stored(database: Sqlite) -> list[str]:
    with database.read_transaction() as tx:
        return [row[0].removeprefix("test-") for row in tx.fetch_all(STORED)]


def write(database: Sqlite, work: Work) -> Any:
    """One write, alone."""

    async def run() -> Any:
        async with asyncio.timeout(30):
            return await database.write(work)

    return asyncio.run(run())


class Hold:
    """A write that keeps the writer busy until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, _: SqliteTransaction) -> None:
        self.entered.set()
        assert self.let_go.wait(30)

    async def begin(self, database: Sqlite) -> "asyncio.Task[None]":
        task = asyncio.create_task(database.write(self))
        await asyncio.to_thread(self.entered.wait)
        return task


async def waiting(database: Sqlite, *works: Work) -> list["asyncio.Task[Any]"]:
    """Writes that wait in the queue, in this order."""
    tasks = [asyncio.create_task(database.write(work)) for work in works]
    await asyncio.sleep(0)  # each has run up to its place in the queue
    return tasks


def together(database: Sqlite, *works: Work) -> list[Any]:
    """Run writes as one batch; returns their outcomes: results and errors."""

    async def run() -> list[Any]:
        hold = Hold()
        held = await hold.begin(database)
        tasks = await waiting(database, *works)
        hold.let_go.set()
        await held
        async with asyncio.timeout(30):
            return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(run())


def commits(database: Sqlite) -> list[int]:
    """A list that grows with every commit from now on."""
    seen: list[int] = []

    def hook() -> bool:
        seen.append(1)
        return False

    write(database, lambda tx: tx.connection.set_commit_hook(hook))
    seen.clear()
    return seen


def kinds(outcomes: list[Any]) -> list[Any]:
    return [type(o) if isinstance(o, BaseException) else o for o in outcomes]


# -- group commit ------------------------------------------------------------------------------


def test_requests_that_wait_share_one_commit(database: Sqlite):
    seen = commits(database)
    names = [f"{n:02}" for n in range(50)]
    assert together(database, *map(put, names)) == names
    assert len(seen) == 2  # the one that held the writer, and all the others
    assert stored(database) == names


def test_nobody_is_answered_before_the_commit(database: Sqlite):
    answered_at_commit: list[list[bool]] = []

    async def run() -> None:
        tasks: list[asyncio.Task[Any]] = []

        def hook() -> bool:
            threading.Event().wait(0.05)  # time enough for an answer to come too early
            answered_at_commit.append([task.done() for task in tasks])
            return False

        await database.write(lambda tx: tx.connection.set_commit_hook(hook))
        answered_at_commit.clear()
        hold = Hold()
        held = await hold.begin(database)
        tasks += await waiting(database, put("a"), then(put("b"), CourseNotFound()), put("c"))
        hold.let_go.set()
        await asyncio.gather(held, *tasks, return_exceptions=True)
        await database.write(lambda tx: tx.connection.set_commit_hook(None))

    asyncio.run(run())
    assert answered_at_commit[:2] == [[False] * 3, [False] * 3]


def test_a_refused_request_takes_nothing_of_the_others_with_it(database: Sqlite):
    seen = commits(database)
    outcomes = together(
        database,
        put("a"),
        then(put("b"), CourseNotFound()),
        put("c"),
        put("a"),
        then(put("d"), ZeroDivisionError("a bug")),
        lambda tx: tx.execute("INSERT INTO nowhere VALUES (1)"),
        put("e"),
    )
    assert kinds(outcomes) == ["a", CourseNotFound, "c", UniqueViolation, ZeroDivisionError, apsw.SQLError, "e"]
    assert stored(database) == ["a", "c", "e"]
    assert len(seen) == 2


# -- bulk writes -------------------------------------------------------------------------------


def test_short_writes_and_bulk_writes_take_turns(database: Sqlite):
    """The longest groups: each short write waits for one bulk write at most, and no bulk write for all short ones."""
    groups: list[list[str]] = [[]]

    def noted(name: str) -> Work:
        def work(_: SqliteTransaction) -> None:
            groups[-1].append(name)

        return work

    def hook() -> bool:
        groups.append([])
        return False

    async def run() -> None:
        await database.write(lambda tx: tx.connection.set_commit_hook(hook))
        hold = Hold()
        held = await hold.begin(database)
        bulk = [asyncio.create_task(database.write_bulk(wrote(noted(f"B{n}")))) for n in range(3)]
        short = [
            asyncio.create_task(database.write(wrote(noted(f"s{n:03}")))) for n in range(2 * MAX_WRITES_PER_COMMIT)
        ]
        await asyncio.sleep(0)
        hold.let_go.set()
        await asyncio.gather(held, *bulk, *short)

    asyncio.run(run())
    names = [f"s{n:03}" for n in range(2 * MAX_WRITES_PER_COMMIT)]
    first, second = names[:MAX_WRITES_PER_COMMIT], names[MAX_WRITES_PER_COMMIT:]
    assert [group for group in groups if group] == [["B0"], first, ["B1"], second, ["B2"]]


def wrote(work: Work) -> Work:
    """The same, with a change, so that there is something to commit."""

    def changing(tx: SqliteTransaction) -> None:
        tx.execute("UPDATE properties SET value = value")
        work(tx)

    return changing


def test_a_bulk_write_that_fails_stores_nothing_and_harms_nobody(database: Sqlite):
    async def run() -> list[Any]:
        hold = Hold()
        held = await hold.begin(database)
        bulk = [asyncio.create_task(database.write_bulk(then(put(name), CourseNotFound()))) for name in "ab"]
        short = [asyncio.create_task(database.write(put("c")))]
        await asyncio.sleep(0)
        hold.let_go.set()
        await held
        return await asyncio.gather(*bulk, *short, return_exceptions=True)

    assert kinds(asyncio.run(run())) == [CourseNotFound, CourseNotFound, "c"]
    assert stored(database) == ["c"]


# -- faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StopIteration("a bug"), SystemExit(3), GeneratorExit(), RecursionError("a bug")])
def test_survives_a_bug_of_any_kind(database: Sqlite, error: BaseException):
    first, bug, last = together(database, put("a"), then(put("b"), error), put("c"))
    assert (first, last) == ("a", "c")
    assert isinstance(bug, RuntimeError)
    assert stored(database) == ["a", "c"]
    assert write(database, put("d")) == "d"


def test_a_full_disk_loses_no_other_requests_write(database: Sqlite):
    lost: list[bool] = []

    def big(tx: SqliteTransaction) -> str:
        try:
            return put("big", MEGABYTE)(tx)
        except apsw.FullError:
            lost.append(not tx.connection.in_transaction)
            raise

    write(database, lambda tx: tx.fetch_all(f"PRAGMA max_page_count = {tx.fetch_all('PRAGMA page_count')[0][0] + 20}"))
    a, refused, b, missing, c = together(database, put("a"), big, put("b"), then(put("x"), CourseNotFound()), put("c"))
    assert lost == [True, True]  # with the others, and alone: SQLite undid everything each time
    assert [a, b, c] == ["a", "b", "c"]
    assert isinstance(missing, CourseNotFound)
    assert isinstance(refused, ServiceUnavailable)
    assert refused.detail == "The disk is full: nothing can be stored now."
    assert int(refused.headers["Retry-After"]) > 0
    assert stored(database) == ["a", "b", "c"]
    write(database, lambda tx: tx.fetch_all("PRAGMA max_page_count = 1000000"))
    assert write(database, big) == "big"
    assert stored(database) == ["a", "b", "big", "c"]


def interrupted(tx: SqliteTransaction) -> None:
    """A write whose statement is interrupted, upon which SQLite undoes the whole transaction."""
    tx.connection.set_progress_handler(lambda: True, 1)
    try:
        tx.execute(PUT, name="test-interrupted", value="")
    finally:
        tx.connection.set_progress_handler(None)
        assert not tx.connection.in_transaction


def test_an_interrupt_loses_no_other_requests_write(database: Sqlite):
    outcomes = together(database, put("a"), interrupted, put("b"))
    assert kinds(outcomes) == ["a", ServiceUnavailable, "b"]
    assert stored(database) == ["a", "b"]


def test_a_lock_that_is_taken_while_a_batch_is_repeated_is_waited_for(database: Sqlite):
    other = apsw.Connection(str(database.path))
    releases: list[threading.Timer] = []

    def interrupted_and_overtaken(tx: SqliteTransaction) -> None:
        try:
            interrupted(tx)
        finally:
            other.execute("BEGIN IMMEDIATE")
            releases.append(threading.Timer(0.3, lambda: other.execute("COMMIT")))
            releases[-1].start()

    outcomes = together(database, then(put("a"), CourseNotFound()), put("b"), interrupted_and_overtaken, put("c"))
    for release in releases:
        release.join()
    other.close()
    assert kinds(outcomes) == [CourseNotFound, "b", ServiceUnavailable, "c"]
    assert stored(database) == ["b", "c"]


def test_a_commit_that_fails_is_tried_again_request_by_request(database: Sqlite):
    left = [1]

    def fail_once() -> bool:
        left[0] -= 1
        return left[0] == 0

    async def run() -> list[Any]:
        hold = Hold()
        held = await hold.begin(database)
        arm = lambda tx: tx.connection.set_commit_hook(fail_once)  # noqa: E731
        tasks = await waiting(database, arm, put("a"), then(put("b"), CourseNotFound()), put("c"))
        hold.let_go.set()
        await held
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert kinds(asyncio.run(run())) == [None, "a", CourseNotFound, "c"]
    assert stored(database) == ["a", "c"]


def test_a_commit_that_always_fails_stores_nothing_and_says_so_to_everyone(database: Sqlite):
    failing = [True]
    write(database, put("before"))
    with pytest.raises(apsw.ConstraintError):
        write(database, lambda tx: tx.connection.set_commit_hook(lambda: failing[0]))
    outcomes = together_without_hold(database, put("a"), put("b"))
    assert kinds(outcomes) == [apsw.ConstraintError, apsw.ConstraintError]
    assert stored(database) == ["before"]
    failing[0] = False
    assert together(database, put("a"), put("b")) == ["a", "b"]
    assert stored(database) == ["a", "b", "before"]


def together_without_hold(database: Sqlite, *works: Work) -> list[Any]:
    async def run() -> list[Any]:
        return await asyncio.gather(*await waiting(database, *works), return_exceptions=True)

    return asyncio.run(run())


def deny_undoing(action: int, first: str | None, *_: str | None) -> int:
    undoes = action in (apsw.SQLITE_TRANSACTION, apsw.SQLITE_SAVEPOINT) and first == "ROLLBACK"
    return apsw.SQLITE_DENY if undoes else apsw.SQLITE_OK


def test_a_rollback_that_fails_costs_the_connection_only(database: Sqlite):
    connections: list[apsw.Connection] = []

    def stuck(tx: SqliteTransaction) -> None:
        connections.append(tx.connection)
        tx.connection.authorizer = deny_undoing
        tx.execute(PUT, name="test-stuck", value="")
        raise CourseNotFound

    outcomes = together(database, put("a"), stuck, put("b"))
    assert kinds(outcomes) == ["a", CourseNotFound, "b"]
    assert stored(database) == ["a", "b"]
    write(database, lambda tx: connections.append(tx.connection))
    assert len(set(connections)) == 3  # given up with the batch, given up alone, and the one in use now
    assert database.path.exists()


def test_a_connection_that_was_closed_is_replaced(database: Sqlite):
    outcomes = together(database, put("a"), lambda tx: tx.connection.close(), put("b"))
    assert outcomes[0] == "a"
    assert isinstance(outcomes[1], apsw.ConnectionClosedError)
    assert outcomes[2] == "b"
    assert stored(database) == ["a", "b"]


def test_a_database_that_cannot_be_opened_is_tried_again(tmp_path: Path):
    database = open_database(f"sqlite:///{tmp_path / 'here' / 'seneca.db'}")
    (tmp_path / "here").rename(tmp_path / "away")
    with pytest.raises(ServiceUnavailable):
        write(database, put("a"))
    (tmp_path / "away").rename(tmp_path / "here")
    assert write(database, put("a")) == "a"
    assert stored(database) == ["a"]
    database.close()


# -- clients that leave, and the end -----------------------------------------------------------


def test_a_client_that_has_gone_disturbs_nobody(database: Sqlite):
    async def run() -> list[Any]:
        hold = Hold()
        held = await hold.begin(database)
        tasks = await waiting(database, put("a"), put("b"), put("c"))
        tasks[1].cancel()
        await asyncio.sleep(0)
        hold.let_go.set()
        await held
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert kinds(asyncio.run(run())) == ["a", asyncio.CancelledError, "c"]
    assert stored(database) == ["a", "b", "c"]


def test_survives_an_event_loop_that_has_gone(database: Sqlite):
    hold = Hold()

    async def leave() -> None:
        held = await hold.begin(database)
        for task in [held, *await waiting(database, put("a"))]:
            task.cancel()

    async def come() -> str:
        tasks = await waiting(database, put("b"))  # in one batch with the write of the loop that has gone
        hold.let_go.set()
        async with asyncio.timeout(30):
            return await tasks[0]

    asyncio.run(leave())
    assert asyncio.run(come()) == "b"
    assert stored(database) == ["a", "b"]


def test_too_many_waiting_writes_are_refused_at_once(database: Sqlite):
    async def run() -> None:
        hold = Hold()
        held = await hold.begin(database)
        tasks = await waiting(database, *(put(str(n)) for n in range(MAX_QUEUED)))
        with pytest.raises(ServiceUnavailable) as error:
            await database.write(put("too many"))
        assert int(error.value.headers["Retry-After"]) > 0
        hold.let_go.set()
        await asyncio.gather(held, *tasks)

    asyncio.run(run())
    assert len(stored(database)) == MAX_QUEUED


def test_stopping_commits_what_waits_and_refuses_what_comes_after(database: Sqlite):
    async def run() -> list[Any]:
        hold = Hold()
        held = await hold.begin(database)
        tasks = await waiting(database, *(put(f"{n:03}") for n in range(300)))
        closing = asyncio.create_task(asyncio.to_thread(database.close))
        while not database._writer._stopping:  # noqa: ASYNC110 the thread has no event for it
            await asyncio.sleep(0.001)
        with pytest.raises(ServiceUnavailable):
            await database.write(put("late"))
        hold.let_go.set()
        await asyncio.gather(held, closing)
        return await asyncio.gather(*tasks)

    names = [f"{n:03}" for n in range(300)]
    assert asyncio.run(run()) == names
    assert stored(open_database(f"sqlite:///{database.path}")) == names
