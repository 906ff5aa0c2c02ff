"""Run work on a connection: a write in a pipeline, with retries; a read as a single query or on a snapshot."""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar, cast

import psycopg
from psycopg import errors

from seneca.database import ForeignKeyViolation, Row, Transaction, UniqueViolation
from seneca.database.cache import Cache
from seneca.database.postgres.transaction import LOST_RACES, Connection, PostgresTransaction, translate_error
from seneca.database.properties import Properties
from seneca.database.single_statement import SingleStatement

T = TypeVar("T")
Work = Callable[[Transaction], T]

MAX_ATTEMPTS: Final = 10  # of a transaction that loses races
MAX_BACKOFF_SECONDS: Final = 0.01  # before the second attempt; multiplied by the number of attempts so far
SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
EXCLUDE_WRITERS: Final = "LOCK TABLE sessions, courses, accounts IN EXCLUSIVE MODE"
"""Does not block reads. Every write of a server first locks a row of one of these tables, usually sessions: the first one here, too."""
SET_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '100ms'"
MAX_LOCK_SECONDS: Final = 30.0


class ConnectionLost(psycopg.OperationalError):
    """The connection was lost before COMMIT was sent: nothing was stored."""


class Runner:
    """Runs work on connections.

    Args:
        properties: the database's properties.
        cache: this process's cache of the database.

    """

    def __init__(self, properties: Properties, cache: Cache) -> None:
        self._properties = properties
        self._cache = cache

    def transaction(self, connection: Connection, pipeline: psycopg.Pipeline | None = None) -> PostgresTransaction:
        """A connection, as domain functions see it."""
        return PostgresTransaction(connection, pipeline, self._properties, self._cache)

    def write(self, connection: Connection, work: Work[T]) -> T:
        """Run a transaction, with retries after lost races.

        Raises:
            ConnectionLost: the connection was lost, and nothing was stored.
            psycopg.Error: it failed; if at COMMIT, it is unknown whether it was stored.

        """
        for attempt in range(1, MAX_ATTEMPTS):
            try:
                return self._transact(connection, work)
            except (UniqueViolation, ForeignKeyViolation, *LOST_RACES):
                time.sleep(random.uniform(0, MAX_BACKOFF_SECONDS * attempt))  # noqa: S311 not a secret
        return self._transact(connection, work)

    def _transact(self, connection: Connection, work: Work[T]) -> T:
        committed = None
        try:
            with connection.pipeline() as pipeline:
                connection.execute("BEGIN")
                result = work(self.transaction(connection, pipeline))
                committed = connection.execute("COMMIT")
        except BaseException as error:
            roll_back(connection)
            if isinstance(error, psycopg.IntegrityError):
                raise translate_error(error) from error
            if committed is None:
                raise_if_lost(connection, error)
            if connection.closed and isinstance(error, psycopg.Error):
                raise psycopg.OperationalError(str(error)) from error
            raise
        check_committed(committed)
        return result

    def read(self, connection: Connection, work: Work[T]) -> T:
        """Run a single query.

        Raises:
            ConnectionLost: the connection was lost.
            psycopg.Error: it failed.

        """
        try:
            return work(cast("Transaction", SingleStatement(self.transaction(connection))))
        except psycopg.Error as error:
            raise_if_lost(connection, error)
            raise

    def read_snapshot(self, connection: Connection, work: Work[T]) -> T:
        """Run a read on one snapshot; BEGIN shares the round trip of the first queries. Raises as ``read`` does."""
        with connection.pipeline():
            return self.snapshot(connection, work)

    def snapshot(self, connection: Connection, work: Work[T]) -> T:
        """Run a read on one snapshot. Raises as ``read`` does."""
        try:
            connection.execute(SNAPSHOT)
            result = work(self.transaction(connection))
            connection.execute("COMMIT")
        except BaseException as error:
            roll_back(connection)
            raise_if_lost(connection, error)
            raise
        return result


def exclude_writers(connection: Connection) -> None:
    """Begin a transaction that blocks all other writes.

    No lock order is right for every write. So an attempt that does not get a lock quickly releases all of them and starts
    again: before PostgreSQL checks for a deadlock (``deadlock_timeout``, 1 s), and before other writes have waited long.

    Raises:
        psycopg.errors.LockNotAvailable: other transactions held their locks for 30 seconds.

    """
    deadline = time.monotonic() + MAX_LOCK_SECONDS
    while True:
        try:
            connection.execute("BEGIN")
            connection.execute(SET_LOCK_TIMEOUT)
            connection.execute(EXCLUDE_WRITERS)
            connection.execute("SET LOCAL lock_timeout TO DEFAULT")
        except (errors.LockNotAvailable, *LOST_RACES):
            connection.rollback()
            if time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.05, 0.2))  # noqa: S311 not a secret
        else:
            return


def check_committed(result: psycopg.Cursor[Row]) -> None:
    """Check the result of COMMIT: it is ROLLBACK if domain code has swallowed an error. Raises RuntimeError."""
    if result.statusmessage != "COMMIT":
        raise RuntimeError(f"PostgreSQL answered COMMIT with {result.statusmessage}.")


def roll_back(connection: Connection) -> None:
    """Roll back; close the connection if that fails."""
    try:
        connection.rollback()
    except psycopg.Error:
        connection.close()


def raise_if_lost(connection: Connection, error: BaseException) -> None:
    """Raise ConnectionLost if the error has closed the connection, whatever psycopg calls it."""
    if connection.closed and isinstance(error, psycopg.Error):
        raise ConnectionLost(str(error)) from error
