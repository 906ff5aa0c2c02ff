"""Files that only their owner may read: the signing key, the setup token, exports and backups."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Final

from seneca.errors import ConfigurationError

NO_HARD_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)  # of file systems such as FAT
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def read_or_create(path: Path, text: str) -> str:
    """The text of a private file, made with this text if it is not there; one process makes it.

    Raises:
        OSError: it can be neither read nor made.
        ConfigurationError: others than its owner may read or write it.

    """
    if not path.exists():  # to read it takes no room on the disk
        _make(path, text)
    with path.open(encoding="utf-8") as file:
        check_private(path, os.fstat(file.fileno()))
        return file.read().strip()


def check_private(path: Path, status: os.stat_result) -> None:
    """Refuse a secret's file that others than its owner may read or write, as ssh does. Raises ConfigurationError."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & OTHERS:
        raise ConfigurationError(
            f"{path} has mode {mode:04o}: others than its owner may use the secret in it. "
            f"If nobody has seen it: chmod 600 {path}. Else replace it (docs/security.md, Stolen)."
        )


def _make(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=f"{path.name}.", delete=False) as file:  # O_EXCL, mode 0600
        fresh = Path(file.name)
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
def replacing(path: Path, *, overwrite: bool = True) -> Iterator[IO[bytes]]:
    """A new private file beside this path, which takes its place at the end of the block, whole and on disk.

    Args:
        path: the file. A symbolic link is replaced, not followed.
        overwrite: whether a file that has this name already may be replaced.

    Raises:
        FileExistsError: there is one, and it may not be.
        OSError: it cannot be written; what the path named before is still there.

    """
    if not overwrite and os.path.lexists(path):  # before a long copy, not after it
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False) as file:  # its owner's alone
        part = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if overwrite:
                part.replace(path)
            else:
                _rename_new(part, path)
            sync_directory(path.parent)
        finally:
            part.unlink(missing_ok=True)


def _rename_new(part: Path, path: Path) -> None:
    """Give a file its name, if nobody has taken the name since. Raises OSError."""
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS or os.path.lexists(path):
            raise
        part.rename(path)


def sync_directory(path: Path) -> None:
    """Let a new name outlive a power cut. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
