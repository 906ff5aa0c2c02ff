"""What only some engines can do. Each is an attribute of ``Database``, which is None if the engine cannot do it."""

from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from seneca.database import Database, Progress, Transaction

T = TypeVar("T")


class Backups(Protocol):
    """Backups by Seneca. An engine without this capability has its own tools."""

    def backup(self, path: Path, inspect: "Callable[[Transaction], T]", progress: "Progress", *, force: bool) -> T:
        """Copy a snapshot of everything, while others write. Returns what ``inspect`` returns.

        Args:
            path: the backup, a file that only its owner can read. It replaces an older one once it is complete and on disk.
            inspect: called on the backup, once it is verified.
            progress: called with the progress.
            force: replace a file even if it is not a backup of this database.

        Raises:
            CommandError: the file cannot be written or would replace something else.

        """

    def restore(
        self,
        path: Path,
        verify: "Callable[[Database], None]",
        carry_over: "Callable[[Transaction, Transaction], None]",
        progress: "Progress",
    ) -> None:
        """Replace everything by a backup, atomically: concurrent readers see either the old or the new content.

        Args:
            path: a file that ``backup`` wrote. It is not modified.
            verify: called on a migrated copy of the backup while others go on: may reject (raise) or repair it.
            carry_over: called with the current content, which is locked against writes, and the new one: the last change to it.
            progress: called with the progress.

        Raises:
            CommandError: the file is not a backup of such a database or is damaged.

        """


class Files(Protocol):
    """Files from which Seneca removes deleted data. An engine without this capability does that itself in time."""

    async def vacuum(self, *, thoroughly: bool = False) -> None:
        """Rewrite the files without the deleted data, if that is quick.

        Args:
            thoroughly: even if it takes long and blocks writes.

        Raises:
            ServiceUnavailable: there is a concurrent write, or the disk is full.

        """

    async def empty_log(self) -> None:
        """Empty the log, which holds old pages. Raises ServiceUnavailable if a reader still needs them."""


class SharedWriter(Protocol):
    """A process that writes for all workers of a server. An engine without this capability has writers that do not block each other."""

    def run(self, listener: socket, parent: Connection) -> None:
        """Write what workers send, until the parent has ended and every worker has disconnected.

        Args:
            listener: the socket to which workers connect.
            parent: its other end closes when the parent ends; nothing is sent through it.

        """


class Cluster(Protocol):
    """Distribution over the nodes of a cluster."""

    def distribute(self, progress: Callable[[str], None]) -> int:
        """Distribute the tables over a cluster's nodes, by bucket; returns the number of newly distributed tables.

        Args:
            progress: called with each table's name, before it is distributed.

        Raises:
            CommandError: the database is not prepared for it, or a step failed.

        """
