"""What only SQLite does: back up and restore, remove deleted data from its files, write for all workers in one process.

``backup``, ``vacuum`` and ``writer_process`` have the steps.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, TypeVar

import apsw

from seneca.database import Database, Progress, Transaction
from seneca.database.cache import Cache
from seneca.database.migrations.study_days import TIME_ZONE
from seneca.database.properties import InitialProperties
from seneca.database.sqlite import backup, vacuum, writer_process
from seneca.database.sqlite.locks import immediate
from seneca.database.sqlite.transaction import SqliteTransaction, translate_error
from seneca.errors import CommandError

if TYPE_CHECKING:
    from seneca.database.sqlite.engine import Sqlite

T = TypeVar("T")


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Translate the engine's errors for commands."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise CommandError(f"{path} is damaged: {error}.") from error
    except apsw.Error as error:
        raise translate_error(error) from error


class SqliteBackups:
    """Backups of a SQLite database."""

    def __init__(self, database: "Sqlite") -> None:
        self._database = database

    def backup(self, path: Path, inspect: Callable[[Transaction], T], progress: Progress, *, force: bool) -> T:
        """Write a snapshot of everything to a file."""
        database = self._database
        with (
            translated_errors(database.path),
            backup.replacing_backup(path, database.path, database.id, force=force) as part,
        ):
            with closing(database.transaction().connection) as connection:
                backup.write(connection, part, progress)
            backup.check(part, path)
            with closing(apsw.Connection(str(part), flags=apsw.SQLITE_OPEN_READONLY)) as copy:
                return inspect(SqliteTransaction(copy, database.properties, Cache()))

    def restore(
        self,
        path: Path,
        verify: Callable[[Database], None],
        carry_over: Callable[[Transaction, Transaction], None],
        progress: Progress,
    ) -> None:
        """Replace everything by a backup, in one transaction."""
        database = self._database
        with (
            translated_errors(database.path),
            backup.temporary_copy(path, database.path) as part,
            closing(database.transaction().connection) as target,
        ):
            backup.check(part, path)
            backup.match_page_size(part, target)
            with database.read_transaction() as tx:
                (time_zone,) = tx.fetch_all(TIME_ZONE)[0]  # for a backup from before databases had one
            restored = type(database)(part, initial=InitialProperties(time_zone=time_zone), progress=progress)
            try:
                restored.check_schema(path)
                verify(restored)
                source = restored.transaction()

                def carry_over_locked() -> None:
                    with database.read_transaction() as old, immediate(source.connection):
                        carry_over(old, source)

                with closing(source.connection):
                    backup.replace(target, source.connection, carry_over_locked, progress)
            finally:
                restored.close()


class SqliteSharedWriter:
    """The writer of all workers of a server.

    Args:
        transaction: opens a connection.

    """

    def __init__(self, transaction: Callable[[], SqliteTransaction]) -> None:
        self._transaction = transaction

    def run(self, listener: socket, parent: Connection) -> None:
        """Write what workers send."""
        writer_process.run(self._transaction, listener, parent)


class SqliteFiles:
    """Files of a SQLite database.

    Args:
        transaction: opens a connection.

    """

    def __init__(self, transaction: Callable[[], SqliteTransaction]) -> None:
        self._transaction = transaction

    async def vacuum(self, *, thoroughly: bool = False) -> None:
        """Rewrite the file if it is small, or ``thoroughly``."""
        await self._run(lambda connection: vacuum.vacuum(connection, thoroughly=thoroughly))

    async def empty_log(self) -> None:
        """Empty the write-ahead log."""
        await self._run(vacuum.empty_log)

    async def _run(self, work: Callable[[apsw.Connection], None]) -> None:
        """Run maintenance of the files on a thread, with a new connection."""

        def run() -> None:
            with closing(self._transaction().connection) as connection:
                try:
                    work(connection)
                except apsw.Error as error:
                    raise translate_error(error) from error

        await asyncio.get_running_loop().run_in_executor(None, run)
