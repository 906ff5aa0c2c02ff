"""A full disk: reads go on, writes are refused with 503, and all is well again once there is room, without a restart.

On a small file system of its own where this user may mount one; always with a limit to the size of files, which lets
writes fail likewise.
"""

import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from tests.helpers import engines
from tests.helpers.accounts import Person, make_course
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca_process
from tests.helpers.exchange import Shell, course, module, session, user, write
from tests.helpers.load import Load, children, kill, stage, wait_for
from tests.helpers.server import PASSWORD, Server, start_server

pytestmark = pytest.mark.sqlite  # the other engine's disk is its server's

MOST_BYTES = 40 * 1024  # less than the database and its log have, and more than shared memory


class Disk(Protocol):
    """A disk that can be filled to the last byte."""

    data: Path

    def fill(self, server: Server) -> None:
        """Leave no room."""

    def free(self, server: Server) -> None:
        """Make room again."""

    def felt(self) -> AbstractContextManager[None]:
        """Let programs that start in the block find it so, too."""


class Small:
    """A file system in memory, filled with ballast."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self._ballast = directory / "ballast"

    def fill(self, server: Server) -> None:  # noqa: ARG002 it is full for everybody
        with self._ballast.open("ab", buffering=0) as file:
            for size in (64 * 1024, 4096, 1):
                while written(partial(file.write, bytes(size))):
                    pass

    def free(self, server: Server) -> None:  # noqa: ARG002
        self._ballast.unlink()

    def felt(self) -> AbstractContextManager[None]:
        return nullcontext()


def written(write: Callable[[], int]) -> bool:
    try:
        return write() > 0
    except OSError:
        return False


class Limited:
    """No file of the server that runs on it may grow (``RLIMIT_FSIZE``)."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"

    def fill(self, server: Server) -> None:
        limit(server, MOST_BYTES)

    def free(self, server: Server) -> None:
        limit(server, resource.RLIM_INFINITY)

    @contextmanager
    def felt(self) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def limit(server: Server, most_bytes: int) -> None:
    for pid in [server.process.pid, *children(server)]:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


def mount(directory: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(directory)]
    return (
        shutil.which("mount") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def unmount(directory: Path) -> None:
    subprocess.run(["umount", "--lazy", str(directory)], check=True)


def may_mount() -> bool:
    with tempfile.TemporaryDirectory() as name:
        mounted = mount(Path(name))
        if mounted:
            unmount(Path(name))
    return mounted


@pytest.fixture(params=["small", "limited"] if may_mount() else ["limited"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "limited":
        yield Limited(tmp_path)
        return
    directory = tmp_path / "small"
    directory.mkdir()
    assert mount(directory)
    try:
        yield Small(directory)
    finally:
        unmount(directory)


def keep_log_elsewhere(disk: Disk, tmp_path: Path) -> None:
    """The server's log lines are not among what the disk has no room for."""
    disk.data.mkdir()
    (disk.data / "serve.log").symlink_to(tmp_path / "serve.log")


def check_refused(tara: Person) -> None:
    """Every kind of write is refused, and says when to come again."""
    new = {"courseTitle": "Never", "qualification": "GCSE", "topicsAndModules": []}
    register = {"username": "zoe", "email": "zoe@example.org", "password": PASSWORD}
    for answer in (
        tara.post("/course/create", new),
        tara.client.post("/auth/register", json=register),
        tara.client.post("/auth/login", json={"username": tara.username, "password": PASSWORD}),
    ):
        refused(answer, 503, "service-unavailable")
        assert int(answer.headers["retry-after"]) > 0


def check_reads(tara: Person, course: dict) -> None:
    paths = ("/auth/me", "/users", "/course", f"/course/{course['id']}", f"/stats/courses/{course['id']}")
    for path in (*paths, f"/stats/sessions/{course['id']}", "/health"):
        assert tara.get(path).status_code == 200, path


# -- the server --------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_reads_go_on_and_writes_get_503_until_there_is_room(disk: Disk, tmp_path: Path, workers: int):
    keep_log_elsewhere(disk, tmp_path)
    with (
        stage(disk.data, "--workers", str(workers)) as (server, tara, course),
        Load(server, tara, course) as load,
    ):
        disk.fill(server)
        wait_for(lambda: len(load.errors) > 20)
        check_refused(tara)
        check_reads(tara, course)
        with load.held(), disk.felt():
            load.check_answers(server)
        before = load.written
        disk.free(server)
        wait_for(lambda: load.written > before + 20)
        make_course(tara)
        load.stop()
        load.check_answers(server)
        assert set(load.errors) == {503}
        assert '"unhandled exception"' not in server.log.read_text()


def test_a_server_that_was_killed_starts_on_a_full_disk_too(disk: Disk, tmp_path: Path):
    keep_log_elsewhere(disk, tmp_path)
    with stage(disk.data) as (server, tara, course), Load(server, tara, course) as load:
        disk.fill(server)
        kill(server)
        with load.held(), disk.felt():
            server.process = start_server(disk.data, port=server.port).process
            load.check_answers(server)
            check_refused(tara)
            check_reads(tara, course)
        before = load.written
        disk.free(server)
        wait_for(lambda: load.written > before + 20)
        load.stop()
        load.check_answers(server)
        assert set(load.errors) <= {503}


@pytest.mark.parametrize("form", ["json", "text"])
def test_log_lines_that_find_no_room_cost_nobody_an_answer(disk: Disk, form: str):
    with stage(disk.data, SENECA_LOG_FORMAT=form) as (server, tara, course):
        disk.fill(server)
        if isinstance(disk, Limited):
            limit(server, 1)
        for _ in range(100):
            check_reads(tara, course)
        check_refused(tara)
        disk.free(server)
        before = server.log.stat().st_size
        make_course(tara)
        wait_for(lambda: "/course/create" in server.log.read_bytes()[before:].decode())


# -- the shell ---------------------------------------------------------------------------------


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Assert that a command failed with one clear line; returns it."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    [line] = [line for line in done.stderr.splitlines() if not line.startswith("Importing.")]
    assert line.startswith("seneca: ")
    return line


def test_commands_say_in_one_line_that_the_disk_is_full(disk: Disk, tmp_path: Path):
    keep_log_elsewhere(disk, tmp_path)
    results = [module(f"Module {n}", adaptive={"answers": ["x" * 1000], "score": n}) for n in range(100)]
    file = write(tmp_path / "in.jsonl", course(), user(), *(session(modulesStats=results) for _ in range(10)))
    target = disk.data.parent / "out.jsonl"
    shell = Shell(disk.data)
    with stage(disk.data) as (server, *_):
        before = shell.counts()
        disk.fill(server)
        with disk.felt():
            line = said(seneca_process("import", file, "--data", disk.data))
            assert re.search("The disk is full|A temporary file cannot be written: File too large", line)
            said(seneca_process("demo", "--data", disk.data.parent / "new"))
            said(seneca_process("stats", "rebuild", "--data", disk.data, preexec_fn=a_page_only))
        disk.free(server)
        assert shell.counts() == before
        assert seneca_process("import", file, "--data", disk.data).returncode == 0
        disk.fill(server)
        with disk.felt():
            line = said(seneca_process("export", target, "--data", disk.data))
            assert re.search("The disk is full|out.jsonl cannot be written|The database cannot be used right now", line)
        disk.free(server)
        assert not target.exists()
        assert shell.true()
        engines.engine().check(disk.data)


def a_page_only() -> None:
    """Let this process write no more than this into a file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))


@pytest.mark.parametrize("sessions", [1, 40])
def test_temporary_files_that_find_no_room_are_named_as_the_reason(tmp_path: Path, sessions: int):
    results = [module(f"Module {n}", adaptive={"answers": ["x" * 200]}) for n in range(20)]
    file = write(tmp_path / "in.jsonl", course(), user(), *(session(modulesStats=results) for _ in range(sessions)))
    with stage(tmp_path / "data") as (server, *_):
        line = said(seneca_process("import", file, "--data", server.data, preexec_fn=a_page_only))
        assert "A temporary file cannot be written: File too large. TMPDIR sets its directory." in line
        assert server.rows("SELECT count(*) FROM sessions") == [(0,)]
        assert seneca_process("import", file, "--data", server.data).returncode == 0
        assert server.rows("SELECT count(*) FROM sessions") == [(sessions,)]
