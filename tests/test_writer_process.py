"""The process that writes for all workers on SQLite: its messages, and that its death costs nothing that was acknowledged."""

import ast
import importlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, get_type_hints

import apsw
import msgspec
import pytest

from seneca import accounts
from seneca.accounts import Learner
from seneca.database import Transaction, UniqueViolation, open_database
from seneca.database.sqlite import calls, writer_process
from seneca.database.sqlite.engine import Sqlite
from seneca.database.sqlite.frames import FrameDecoder, Kind, Message, encode
from seneca.errors import (
    ApiError,
    Busy,
    CourseNotFound,
    FieldError,
    InvalidInput,
    QuotaExceeded,
    SessionEnded,
    TooManyRequests,
    Unauthenticated,
)
from seneca.sessions import batch
from seneca.sessions.batch import BatchItem, ItemError, ItemOutcome
from seneca.sessions.rows import RecordedResult, ResultRow
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.load import Load, alice_of, answers, children, stage, wait_for, wait_for_end, workers, writer

pytestmark = pytest.mark.sqlite  # about its writer

ROOT = Path(__file__).parent.parent
FAULTS = int(os.environ.get("FAULTS", "4"))
WRITES = 100  # acknowledged for each kill

# -- messages ----------------------------------------------------------------------------------


@pytest.mark.no_database
def test_a_stream_is_divided_into_its_messages_however_it_arrives():
    messages = [Message(n, Kind.RESULT, os.urandom(random.randrange(300))) for n in range(100)]
    stream = b"".join(map(encode, messages))
    for size in (1, 7, 1000, len(stream)):
        decoder = FrameDecoder()
        pieces = (stream[start : start + size] for start in range(0, len(stream), size))
        assert [message for piece in pieces for message in decoder.feed(piece)] == messages


@pytest.mark.no_database
def test_a_call_arrives_with_the_values_that_were_sent():
    learner = Learner("0190a000-0000-7000-8000-000000000001", 7)
    result = RecordedResult(ResultRow("Größe\n\0", 3, '{"score":82.5}', None, None, -1, None), 5)
    items = [BatchItem("a", "b", "c", None, 1, [result])]
    f, work = calls.decode_call(calls.encode_call(batch.record, (learner, items), {"now": 9}))
    assert f is batch.record
    assert work.args == (batch.record, (learner, items), {"now": 9})


ERRORS = [
    CourseNotFound(),
    CourseNotFound("There is no course Ä."),
    SessionEnded(1_700_000_000_000),
    InvalidInput([FieldError("moduleStats[2]", "must be unique")]),
    InvalidInput.field("", "is wrong"),
    Unauthenticated("signed-out", "Gone.", account="a"),
    TooManyRequests(1500),
    QuotaExceeded("A rule.", 3000),
    Busy(),
]


@pytest.mark.no_database
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_arrives_as_it_was_raised(error: ApiError):
    arrived = calls.decode_error(calls.encode_error(error))
    assert type(arrived) is type(error)
    assert (str(arrived), arrived.status, arrived.code) == (str(error), error.status, error.code)
    assert (arrived.title, arrived.headers, arrived.account) == (error.title, error.headers, error.account)
    assert calls.encode_result(arrived.members) == calls.encode_result(error.members)


@pytest.mark.no_database
def test_an_error_of_the_database_arrives_and_a_bug_with_its_traceback():
    assert type(calls.decode_error(calls.encode_error(UniqueViolation()))) is UniqueViolation
    with pytest.raises(ZeroDivisionError) as error:
        _ = 1 / 0
    arrived = calls.decode_error(calls.encode_error(error.value))
    assert type(arrived) is calls.WriteFailed
    assert "ZeroDivisionError: division by zero" in str(arrived)
    assert "test_writer_process.py" in str(arrived)


@pytest.mark.no_database
def test_the_outcomes_of_a_batch_arrive():
    outcomes = [ItemOutcome(201, 5500), ItemError(SessionEnded(7)), ItemOutcome(200, 0)]
    first, error, last = calls.decode_result(batch.record, calls.encode_result(outcomes))
    assert (first, last) == (outcomes[0], outcomes[2])
    assert error.error.ended_at == 7


@pytest.mark.no_database
@pytest.mark.parametrize(
    "function",
    ["os:system", "seneca.nowhere:f", "seneca.accounts:nothing", "seneca.common.ids:new_id", "seneca.accounts:Learner"],
)
def test_only_functions_that_take_a_transaction_can_be_called(function: str):
    message = calls.encode_call(accounts.role, ("id",), {}).replace(b"seneca.accounts:role", function.encode())
    with pytest.raises(LookupError):
        calls.decode_call(message)


@pytest.mark.no_database
def test_arguments_must_be_of_the_declared_types():
    with pytest.raises(ValueError, match="Expected `str`"):
        calls.decode_call(calls.encode_call(accounts.role, (3,), {}))
    with pytest.raises(TypeError):
        calls.encode_call(accounts.role, (object(),), {})


COMMANDS_ONLY = {"record_all", "run.record", "run.delete_batch", "f"}
"""Writes of commands, which run in the command's own process; and the parameters of functions that pass a write on."""


def writes() -> Iterator[tuple[str, Any]]:
    """Every function that the source passes to ``Database.write``: its name there, and itself."""
    calls_with_writes = {"write": 0, "write_bulk": 0, "write_as_caller": 1, "write_in_slot": 1}
    for path in sorted((ROOT / "src").rglob("*.py")):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if name not in calls_with_writes or (name == "write" and "database.write" not in ast.unparse(node.func)):
                continue
            written = ast.unparse(node.args[calls_with_writes[name]])
            module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
            found: Any = importlib.import_module(module)
            for part in written.split("."):
                found = getattr(found, part, None)
            yield written, found


def unsendable(kind: Any) -> list[Any]:
    """The types in a type that have no JSON form."""
    if isinstance(kind, msgspec.inspect.CustomType):
        return [] if kind.cls is ApiError else [kind.cls]
    children = msgspec.structs.asdict(kind).values() if isinstance(kind, msgspec.Struct) else kind
    return [
        bad
        for child in children
        if isinstance(child, msgspec.inspect.Type | msgspec.inspect.Field | tuple)
        for bad in unsendable(child)
    ]


@pytest.mark.no_database
def test_every_write_of_a_server_can_be_sent_to_the_writer():
    found = list(writes())
    assert {name for name, f in found if f is None} <= COMMANDS_ONLY
    functions = {f"{f.__module__}:{f.__qualname__}": f for _, f in found if f is not None}
    assert len(functions) > 20
    for name, f in functions.items():
        hints = get_type_hints(f, include_extras=True)
        assert hints.pop("tx") is Transaction, name
        assert [bad for kind in hints.values() for bad in unsendable(msgspec.inspect.type_info(kind))] == [], name


# -- the process, on a thread of this one ------------------------------------------------------


class Worker:
    """A connection as a worker has it, with blocking sockets."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(path))
        self._decoder = FrameDecoder()
        self._messages: list[Message] = []
        self._sent = 0

    def send(self, f: Any, *args: Any, kind: Kind = Kind.SHORT_CALL) -> int:
        self._sent += 1
        self.socket.sendall(encode(Message(self._sent, kind, calls.encode_call(f, args, {}))))
        return self._sent

    def answer(self) -> Message:
        while not self._messages:
            data = self.socket.recv(1024 * 1024)
            assert data, "disconnected"
            self._messages += self._decoder.feed(data)
        return self._messages.pop(0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Sqlite]:
    database = open_database(f"sqlite:///{tmp_path / 'seneca.db'}")
    yield database
    database.close()


@contextmanager
def running_writer(database: Sqlite, directory: Path) -> Iterator[tuple[Path, Connection]]:
    """A writer that runs until the connection is closed; gives the path of its socket, and that connection."""
    path = directory / "writer"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        theirs, ours = Pipe(duplex=False)
        thread = threading.Thread(target=writer_process.run, args=(database.transaction, listener, theirs))
        thread.start()
        try:
            yield path, ours
        finally:
            ours.close()
            thread.join(30)
            assert not thread.is_alive()


PUT = "INSERT INTO properties (name, value) VALUES (:name, :value)"


def put(tx: Transaction, name: str) -> str:
    tx.execute(PUT, name=name, value="")
    return name


def large(tx: Transaction, size: int) -> str:
    return tx.fetch_all("SELECT printf('%*s', :size, 'x')", size=size)[0][0]


def unspeakable(tx: Transaction) -> Any:
    return put


def bug(tx: Transaction) -> None:
    raise ZeroDivisionError


@pytest.fixture
def callable_from_afar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions of this module may be called."""
    monkeypatch.setattr(calls, "PACKAGE", "tests")


@pytest.mark.usefixtures("callable_from_afar")
def test_every_call_has_its_own_outcome(database: Sqlite, tmp_path: Path):
    with running_writer(database, tmp_path) as (path, _):
        worker = Worker(path)
        for f, *args in ((put, "a"), (put, "a"), (bug,), (unspeakable,), (put, 5), (put, "b")):
            worker.send(f, *args)
        outcomes = [worker.answer() for _ in range(6)]
        worker.socket.close()
    assert sorted(outcome.number for outcome in outcomes) == [1, 2, 3, 4, 5, 6]
    by_number = {outcome.number: outcome for outcome in outcomes}
    results = {number: calls.decode_result(put, by_number[number].content) for number in (1, 6)}
    errors = [calls.decode_error(by_number[number].content) for number in (2, 3, 4, 5)]
    assert results == {1: "a", 6: "b"}
    assert [type(error) for error in errors] == [UniqueViolation] + [calls.WriteFailed] * 3
    assert stored(database) == ["a", "b"]


def stored(database: Sqlite) -> list[str]:
    with database.read_transaction() as tx:
        return [row[0] for row in tx.fetch_all("SELECT name FROM properties WHERE length(name) = 1 ORDER BY name")]


@pytest.mark.usefixtures("callable_from_afar")
def test_a_worker_that_reads_nothing_does_not_stop_the_others(database: Sqlite, tmp_path: Path):
    with running_writer(database, tmp_path) as (path, _):
        stuck, worker = Worker(path), Worker(path)
        sizes = [1_000_000 + n for n in range(20)]
        for size in sizes:
            stuck.send(large, size)
        worker.send(put, "a")
        assert calls.decode_result(put, worker.answer().content) == "a"
        assert [len(calls.decode_result(large, stuck.answer().content)) for _ in sizes] == sizes
        stuck.socket.close()
        worker.socket.close()


@pytest.mark.usefixtures("callable_from_afar")
def test_a_worker_that_leaves_disturbs_nobody(database: Sqlite, tmp_path: Path):
    with running_writer(database, tmp_path) as (path, _):
        for name in "abc":
            leaving = Worker(path)
            leaving.send(put, name)
            leaving.socket.close()
        half = Worker(path)
        half.socket.sendall(encode(Message(1, Kind.SHORT_CALL, b"x" * 1000))[:500])
        half.socket.close()
        worker = Worker(path)
        worker.send(put, "d")
        assert calls.decode_result(put, worker.answer().content) == "d"
        worker.socket.close()
    assert "d" in stored(database)


@pytest.mark.usefixtures("callable_from_afar")
def test_it_ends_with_its_parent_once_the_last_worker_has_left(database: Sqlite, tmp_path: Path):
    with running_writer(database, tmp_path) as (path, parent):
        worker = Worker(path)
        worker.send(put, "a")
        worker.answer()
        parent.close()
        worker.send(put, "b")
        assert calls.decode_result(put, worker.answer().content) == "b"
        worker.socket.close()


# -- the process of a server -------------------------------------------------------------------


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_writer_killed_under_load_is_replaced_and_loses_nothing(tmp_path: Path, count: str):
    chance = random.Random()
    with (
        stage(tmp_path, "--workers", count) as (server, tara, course),
        Load(server, tara, course) as load,
    ):
        same = workers(server)
        for fault in range(1, FAULTS + 1):
            wait_for(lambda number=fault * WRITES: load.written >= number)
            time.sleep(chance.uniform(0, 0.2))
            killed = writer(server)
            os.kill(killed, signal.SIGKILL)
            wait_for(lambda killed=killed: writer(server) != killed)
        written = load.written
        wait_for(lambda: load.written > written + WRITES)
        load.stop()
        load.check_answers(server)
        assert workers(server) == same
        assert set(load.errors) <= {503}
        log = server.log.read_text()
        assert log.count('"writer process died, starting another"') == FAULTS
        assert '"unhandled exception"' not in log


def test_writes_that_were_under_way_when_the_writer_died_get_503(tmp_path: Path):
    with stage(tmp_path) as (server, tara, course):
        alice = alice_of(tara)
        start = partial(alice.post, "/session/startSession", {"courseIdentifier": course["id"], "topic": "Number"})
        lock = apsw.Connection(str(tmp_path / "seneca.db"))
        lock.set_busy_timeout(5000)
        lock.execute("BEGIN IMMEDIATE")  # so that the writes are surely under way
        with closing(lock), ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(start) for _ in range(4)]
            time.sleep(1)
            os.kill(writer(server), signal.SIGKILL)
            for future in waiting:
                refused(future.result(), 503, "service-unavailable")
                assert int(future.result().headers["Retry-After"]) > 0
            lock.execute("COMMIT")
        assert start().status_code == 201


def test_a_server_whose_processes_all_get_sigterm_answers_what_is_under_way(tmp_path: Path):
    """As systemd stops a service."""
    with stage(tmp_path, "--workers", "2") as (server, tara, course), Load(server, tara, course) as load:
        processes = [server.process.pid, *children(server)]
        for pid in processes:
            os.kill(pid, signal.SIGTERM)
        assert server.process.wait(40) == 0
        wait_for_end(processes)
        load.stop()
        load.check(server)
        assert load.errors == []


def test_the_writer_ends_when_the_main_process_is_killed(tmp_path: Path):
    with stage(tmp_path, "--workers", "2") as (server, _, _):
        pid = writer(server)
        assert pid in children(server)
        assert answers(server)
        server.process.kill()
        server.process.wait()
        wait_for_end([pid])


def test_a_path_that_is_too_long_for_a_socket_is_a_clear_error(tmp_path: Path):
    temporary = tmp_path / ("x" * 60) / ("y" * 60)
    temporary.mkdir(parents=True)
    done = seneca("serve", "--port", "0", "--data", tmp_path / "data", env=os.environ | {"TMPDIR": str(temporary)})
    assert done.returncode == 1
    assert "AF_UNIX path too long" in done.stderr
    assert "TMPDIR" in done.stderr
    assert list(temporary.iterdir()) == []
