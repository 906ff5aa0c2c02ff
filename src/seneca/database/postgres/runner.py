"""How a connection runs work: a write in a pipeline, again if others overtake it; a read as one statement or on a snapshot."""

import random
import time
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import Params

from seneca.database import ForeignKeyViolation, Row, Transaction, UniqueViolation
from seneca.database.cache import Cache
from seneca.database.postgres.transaction import LOST_RACES, Connection, PostgresTransaction, translate_error

T = TypeVar("T")
Work = Callable[[Transaction], T]

ATTEMPTS: Final = 10  # of a transaction that others overtake
PAUSE: Final = 0.01  # seconds before the second attempt, at most; each later one waits longer
SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
EXCLUDE_WRITERS: Final = "LOCK TABLE sessions, courses, accounts IN EXCLUSIVE MODE"
"""Others go on reading. Every write of a server's first locks a row of one of these; most begin with a session, as this does."""
LOCK_ATTEMPT: Final = "SET LOCAL lock_timeout = '100ms'"
LOCK_PATIENCE_SECONDS: Final = 30.0


class ConnectionLost(psycopg.OperationalError):
    """The connection broke before COMMIT was sent: nothing was stored."""


class NeedsSnapshot(Exception):
    """A read that was tried as a single statement has more of them."""


class OneStatement(PostgresTransaction):
    """A connection for a single statement, which needs no transaction around it."""

    _asked = False

    def pipeline(self) -> NoReturn:
        """Say that there will be several."""
        raise NeedsSnapshot

    def _send(self, sql: str, parameters: Params | None) -> psycopg.Cursor[Row]:
        if self._asked:
            raise NeedsSnapshot
        self._asked = True
        return super()._send(sql, parameters)


class Runner:
    """Runs work on connections.

    Args:
        buckets: how many buckets the database has.
        memory: what this process remembers of it.

    """

    def __init__(self, buckets: int, memory: Cache) -> None:
        self._buckets = buckets
        self._memory = memory

    def transaction(self, connection: Connection, pipeline: psycopg.Pipeline | None = None) -> PostgresTransaction:
        """A connection, as concept functions see it."""
        return PostgresTransaction(connection, pipeline, self._buckets, self._memory)

    def write(self, connection: Connection, work: Work[T]) -> T:
        """Run a transaction, again if others overtake it.

        Raises:
            Lost: the connection broke, and nothing was stored.
            psycopg.Error: it failed; if at its COMMIT, nobody knows whether it was stored.

        """
        for attempt in range(1, ATTEMPTS):
            try:
                return self._transact(connection, work)
            except (UniqueViolation, ForeignKeyViolation, *LOST_RACES):
                time.sleep(random.uniform(0, PAUSE * attempt))  # noqa: S311 no secret
        return self._transact(connection, work)

    def _transact(self, connection: Connection, work: Work[T]) -> T:
        committed = None
        try:
            with connection.pipeline() as pipeline:
                connection.execute("BEGIN")
                result = work(self.transaction(connection, pipeline))
                committed = connection.execute("COMMIT")
        except BaseException as error:
            undo(connection)
            if isinstance(error, psycopg.IntegrityError):
                raise translate_error(error) from error
            if committed is None:
                lose(connection, error)
            if connection.closed and isinstance(error, psycopg.Error):
                raise psycopg.OperationalError(str(error)) from error
            raise
        check_committed(committed)
        return result

    def read(self, connection: Connection, work: Work[T]) -> T:
        """Run a read as a single statement; if it has several, on one snapshot.

        Raises:
            Lost: the connection broke.
            psycopg.Error: it failed.

        """
        try:
            return work(OneStatement(connection, None, self._buckets, self._memory))
        except NeedsSnapshot:
            with connection.pipeline():  # its beginning and its end travel with the questions
                return self.snapshot(connection, work)
        except psycopg.Error as error:
            lose(connection, error)
            raise

    def snapshot(self, connection: Connection, work: Work[T]) -> T:
        """Run a read on one snapshot. Raises as ``read`` does."""
        try:
            connection.execute(SNAPSHOT)
            result = work(self.transaction(connection))
            connection.execute("COMMIT")
        except BaseException as error:
            undo(connection)
            lose(connection, error)
            raise
        return result


def exclude_writers(connection: Connection) -> None:
    """Begin a transaction beside which nobody writes.

    No order of locks suits every write. So an attempt that would wait longer for one gives up what it has: before
    PostgreSQL looks for a deadlock (``deadlock_timeout``, 1 s), and before other writes have waited long.

    Raises:
        psycopg.errors.LockNotAvailable: other transactions held their locks for half a minute.

    """
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while True:
        try:
            connection.execute("BEGIN")
            connection.execute(LOCK_ATTEMPT)
            connection.execute(EXCLUDE_WRITERS)
            connection.execute("SET LOCAL lock_timeout TO DEFAULT")
        except (errors.LockNotAvailable, *LOST_RACES):
            connection.rollback()
            if time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.05, 0.2))  # noqa: S311 no secret
        else:
            return


def check_committed(answer: psycopg.Cursor[Row]) -> None:
    """Check the answer to COMMIT: after an error that a concept hid, it is ROLLBACK. Raises RuntimeError."""
    if answer.statusmessage != "COMMIT":
        raise RuntimeError(f"PostgreSQL answered COMMIT with {answer.statusmessage}.")


def undo(connection: Connection) -> None:
    """Undo what a transaction has done; a connection that cannot even do that is closed."""
    try:
        connection.rollback()
    except psycopg.Error:
        connection.close()


def lose(connection: Connection, error: BaseException) -> None:
    """Say so if it was the connection that broke, whatever psycopg calls that. Raises Lost."""
    if connection.closed and isinstance(error, psycopg.Error):
        raise ConnectionLost(str(error)) from error
