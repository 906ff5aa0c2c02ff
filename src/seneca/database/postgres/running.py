"""How a connection runs work: a write in a pipeline, again if others overtake it; a read as one statement or on a snapshot."""

import random
import time
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

import psycopg
from psycopg.abc import Params

from seneca.database import BrokenReference, NotUnique, Row, Transaction
from seneca.database.memory import Memory
from seneca.database.postgres.transaction import LOST_RACES, Connection, PostgresTransaction, meaning

T = TypeVar("T")
Work = Callable[[Transaction], T]

ATTEMPTS: Final = 10  # of a transaction that others overtake
PAUSE: Final = 0.01  # seconds before the second attempt, at most; each later one waits longer
SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Lost(psycopg.OperationalError):
    """The connection broke before COMMIT was sent: nothing was stored."""


class Several(Exception):
    """A read that was tried as a single statement has more of them."""


class OneStatement(PostgresTransaction):
    """A connection for a single statement, which needs no transaction around it."""

    _asked = False

    def together(self) -> NoReturn:
        """Say that there will be several."""
        raise Several

    def _send(self, sql: str, parameters: Params | None) -> psycopg.Cursor[Row]:
        if self._asked:
            raise Several
        self._asked = True
        return super()._send(sql, parameters)


class Runner:
    """Runs work on connections.

    Args:
        buckets: how many buckets the database has.
        memory: what this process remembers of it.

    """

    def __init__(self, buckets: int, memory: Memory) -> None:
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
            except (NotUnique, BrokenReference, *LOST_RACES):
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
                raise meaning(error) from error
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
        except Several:
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
        raise Lost(str(error)) from error
