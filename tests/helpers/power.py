"""A disk whose power can be cut: a SQLite VFS that writes down what happens to files, and what a cut leaves of them.

What is modelled, as hostile as SQLite's own assumptions about disks allow (sqlite.org/atomiccommit.html):

- What was written or truncated since a file's last sync survives or not: none of it, all of it, all up to some write
  which is torn, or any of its sectors of 512 bytes, in any order. A sector is old or new, never mixed or damaged, and a
  hole reads as zeros. A sync that has not returned has done nothing.
- A file that was made or deleted since its directory was last synced is there or not; such changes survive in order.
  SQLite's unix VFS syncs the directory with the first sync of a journal or log that was opened to be made, and with
  deletions that ask for it; so do we.
- Shared memory (``-shm``) does not survive.

A cut is computed from the journal, after the fact, so that one run can be cut at thousands of moments.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw

SECTOR = 512
NEW_JOURNALS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
Flags = list[int]


@dataclass(frozen=True)
class Made:
    """A file was made, if it was not there."""

    name: str


@dataclass(frozen=True)
class Deleted:
    name: str
    directory_too: bool


@dataclass(frozen=True)
class Written:
    name: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncated:
    name: str
    size: int


@dataclass(frozen=True)
class Synced:
    name: str
    directory_too: bool


Change = Written | Truncated
Journal = list[object]
"""What happened, in order: the above, and what clients noted in between."""


# -- writing it down ---------------------------------------------------------------------------


@contextmanager
def recorded() -> Iterator[Journal]:
    """Write down what happens to the files of every database that is opened in the block."""
    journal: Journal = []
    vfs = _Vfs(journal)
    try:
        yield journal
    finally:
        vfs.unregister()


class _Vfs(apsw.VFS):
    """The ordinary VFS, made the default under another name. Nothing is really synced, which takes long."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        super().__init__("recorded", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: Flags) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if (
            path is None
        ):  # a temporary file, such as the journal of a large statement: it is lost at a cut, and never read again
            return super().xOpen(name, flags)
        self._journal.append(Made(Path(path).name))
        return _File(self._journal, path, name, flags)

    def xDelete(self, path: str, syncdir: bool) -> None:  # noqa: N802, FBT001
        super().xDelete(path, syncdir)
        self._journal.append(Deleted(Path(path).name, directory_too=syncdir))


class _File(apsw.VFSFile):
    def __init__(self, journal: Journal, path: str, name: str | apsw.URIFilename | None, flags: Flags) -> None:
        super().__init__("unix", name, flags)
        self._journal = journal
        self._name = Path(path).name
        self._syncs_directory = bool(flags[0] & NEW_JOURNALS and flags[0] & apsw.SQLITE_OPEN_CREATE)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._journal.append(Written(self._name, offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        super().xTruncate(size)
        self._journal.append(Truncated(self._name, size))

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802 - every kind of sync is a whole one
        self._journal.append(Synced(self._name, self._syncs_directory))
        self._syncs_directory = False


# -- what a cut leaves -------------------------------------------------------------------------


@dataclass(eq=False)
class File:
    """What of a file is on disk for good, and what may be."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            apply(self.durable, change)
        self.pending.clear()

    def survive(self) -> bytearray:
        """What a cut leaves of it."""
        content = bytearray(self.durable)
        how = random.choice(["none", "all", "torn", "any"])
        if how == "none":
            return content
        last = len(self.pending) if how != "torn" else random.randint(0, len(self.pending))
        for number, change in enumerate(self.pending[:last], 1):
            if how == "any" or (how == "torn" and number == last):
                for part in sectors(change):
                    if random.random() < 0.5:
                        apply(content, part)
            else:
                apply(content, change)
        return content


def sectors(change: Change) -> Iterator[Change]:
    """The parts of a change that survive each by itself."""
    if isinstance(change, Truncated):
        yield change
        return
    start, end = change.offset, change.offset + len(change.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        yield Written(change.name, start, change.data[start - change.offset : stop - change.offset])
        start = stop


def apply(content: bytearray, change: Change) -> None:
    if isinstance(change, Truncated):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


class Disk:
    """A directory on a disk, as a journal is played to it.

    Args:
        files: what is in it, on disk for good.
        lies: it says that it has synced, and has not.

    """

    def __init__(self, files: Mapping[str, bytes] | None = None, *, lies: bool = False) -> None:
        self._lies = lies
        self._durable = {name: File(bytearray(content)) for name, content in (files or {}).items()}
        self._current = dict(self._durable)
        self._pending: list[tuple[str, File | None]] = []

    def play(self, event: object) -> None:
        """Let this happen."""
        match event:
            case Made(name):
                if name not in self._current:
                    self._enter(name, File())
            case Deleted(name, directory_too):
                self._enter(name, None)
                self._sync_directory(directory_too)
            case Written(name) | Truncated(name):
                self._current[name].pending.append(event)
            case Synced(name, directory_too) if not self._lies:
                self._current[name].sync()
                self._sync_directory(directory_too)

    def _enter(self, name: str, file: File | None) -> None:
        enter(self._current, name, file)
        self._pending.append((name, file))

    def _sync_directory(self, asked: bool) -> None:  # noqa: FBT001
        if asked and not self._lies:
            for name, file in self._pending:
                enter(self._durable, name, file)
            self._pending.clear()

    def cut(self, directory: Path) -> None:
        """Put what survives a cut of the power now into a directory."""
        entries = dict(self._durable)
        for name, file in self._pending[: random.randint(0, len(self._pending))]:
            enter(entries, name, file)
        for name, file in entries.items():
            (directory / name).write_bytes(file.survive())


def enter(entries: dict[str, File], name: str, file: File | None) -> None:
    if file is None:
        entries.pop(name, None)
    else:
        entries[name] = file
