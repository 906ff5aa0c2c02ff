"""Private files (mode 0600), written atomically: the signing key, the setup token, exports and backups."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Final

from seneca.errors import ConfigurationError

NO_HARD_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)  # from file systems such as FAT
OTHERS_MODE: Final = stat.S_IRWXG | stat.S_IRWXO


def read_or_create(path: Path, text: str) -> str:
    """Read a private file, after creating it with this text if it is missing. Concurrent processes all get the same text.

    Raises:
        OSError: the file can be neither read nor created.
        ConfigurationError: other users than its owner may access it.

    """
    if not path.exists():  # reading must work on a full disk
        _create(path, text)
    with path.open(encoding="utf-8") as file:
        check_private(path, os.fstat(file.fileno()))
        return file.read().strip()


def check_private(path: Path, status: os.stat_result) -> None:
    """Check that only its owner may access a secret file, as ssh does. Raises ConfigurationError."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & OTHERS_MODE:
        raise ConfigurationError(
            f"{path} has mode {mode:04o}: others than its owner may use the secret in it. "
            f"If nobody has seen it: chmod 600 {path}. Else replace it (docs/security.md, Stolen)."
        )


def _create(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=f"{path.name}.", delete=False) as file:  # O_EXCL, mode 0600
        part = Path(file.name)
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(part, path)  # atomic; fails if the file exists
    except FileExistsError:
        pass
    finally:
        part.unlink()
        sync_directory(path.parent)  # if the file were lost after its key is registered, no server could start


@contextmanager
def atomic_write(path: Path, *, overwrite: bool = True) -> Iterator[IO[bytes]]:
    """Write a private temporary file, which atomically replaces the file at the path when the block ends, after a sync.

    Args:
        path: the file. A symbolic link is replaced, not followed.
        overwrite: whether an existing file may be replaced.

    Raises:
        FileExistsError: the file exists, and may not be replaced.
        OSError: the file cannot be written. An existing file is unchanged.

    """
    if not overwrite and os.path.lexists(path):  # checked early, before a long copy
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False) as file:  # mode 0600
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
    """Rename a file, unless the new name exists. Raises OSError."""
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS or os.path.lexists(path):
            raise
        part.rename(path)


def sync_directory(path: Path) -> None:
    """Sync a directory, so that a new name in it survives a power cut. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
