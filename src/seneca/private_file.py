"""Files that only their owner may read: the signing key, the setup token, exports and backups."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO


def read_or_make(path: Path, text: str) -> str:
    """The text of a private file, made with this text if it is not there; one process makes it."""
    if not path.exists():  # to read it takes no room on the disk
        _make(path, text)
    return path.read_text(encoding="utf-8").strip()


def _make(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)  # whole or not at all, and only if it is not there yet
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
        sync_directory(path.parent)  # a key that is lost while the database knows it keeps every server out


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new private file beside this path, which takes its place at the end of the block, whole and on disk.

    Raises:
        OSError: it cannot be written; what the path named before is still there.

    """
    with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False) as file:  # its owner's alone
        part = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)
            sync_directory(path.parent)
        finally:
            part.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Let a new name outlive a power cut. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
