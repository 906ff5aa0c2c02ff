"""Small files that only their owner may read: the signing key, the setup token."""

import os
from pathlib import Path


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
        _sync(path.parent)


def _sync(directory: Path) -> None:
    """Let a new name outlive a power cut: a key that is lost while the database knows it keeps every server out."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
