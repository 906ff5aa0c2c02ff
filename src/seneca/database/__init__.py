"""Where records are kept: the interface that every engine offers, and how one is opened.

Concepts are plain functions that take a ``Transaction`` first. A ``Database`` runs them: it decides
on which thread and connection, begins and commits, and turns the engine's faults into
``errors.ServiceUnavailable``. Concept functions never commit.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from seneca.database.cache import Cache
from seneca.errors import CommandError

P = ParamSpec("P")
T = TypeVar("T")
Row = tuple[Any, ...]
Parameters = Mapping[str, object]
Values = tuple[object, ...]
Progress = Callable[[str, int, int | None], None]
"""Told now and then how far it is: what is being done, how much of it, and of how much (None: not known)."""


class PendingResult(Protocol):
    """What a question will have found, once somebody looks."""

    def fetchone(self) -> Row | None:
        """The first row, or None."""

    def fetchall(self) -> list[Row]:
        """Every row."""


class UniqueViolation(Exception):
    """A statement would have broken a unique constraint."""


class ForeignKeyViolation(Exception):
    """A statement would have left a reference to a row that is not there."""


class Transaction(Protocol):
    """One transaction, or one request's part of it. SQL has ``:named`` parameters."""

    @property
    def buckets(self) -> int:
        """How many buckets this database has; fixed when it was created."""

    @property
    def memory(self) -> Cache:
        """What this process remembers, where a row just read says that it is still so."""

    def fetch_one(self, sql: str, /, **parameters: object) -> Row | None:
        """The first row, or None."""

    def fetch_all(self, sql: str, /, **parameters: object) -> list[Row]:
        """Every row."""

    def send(self, sql: str, /, **parameters: object) -> PendingResult:
        """Ask without waiting for the answer: questions asked one after the other cost one round trip.

        A statement with ``IN (:values)`` takes a sequence, ``values``.
        """

    def select_for_update(self, sql: str, /, **parameters: object) -> PendingResult:
        """As ``send``; until this transaction ends nobody else changes or locks the rows that are found."""

    def select_for_delete(self, sql: str, /, **parameters: object) -> PendingResult:
        """As ``select_for_update``, for rows that are about to go: nobody begins to refer to them either."""

    def stream(self, sql: str, /, **parameters: object) -> Iterable[Row]:
        """Every row, one after the other, in bounded memory."""

    def execute(self, sql: str, /, **parameters: object) -> int:
        """Run a statement that changes rows; returns how many it changed.

        Raises:
            UniqueViolation: a unique constraint would break.
            ForeignKeyViolation: a foreign key would break.

        """

    def execute_later(self, sql: str, /, **parameters: object) -> None:
        """Run a statement without waiting for its outcome: that it failed shows at the latest at the commit.

        A constraint that it would break says that another transaction was quicker: all of this one is undone
        and run again.
        """

    def insert_many(self, sql: str, rows: Sequence[Parameters], /) -> list[Row]:
        """Run ``INSERT … VALUES (:a, :b) …`` with many rows at once, in few statements; returns what it RETURNs.

        Raises:
            UniqueViolation: a unique constraint would break.
            ForeignKeyViolation: a foreign key would break.

        """

    def insert_many_later(self, sql: str, rows: Sequence[Parameters], /) -> None:
        """As ``insert``, without waiting for its outcome (see ``execute_later``)."""

    def copy_rows(self, sql: str, rows: Iterable[Values], /) -> None:
        """As ``insert``, for very many rows of a plain INSERT, of which none is there: each its values, in its columns' order."""

    def fetch_each(self, sql: str, parameters: Sequence[Parameters], /) -> list[list[Row]]:
        """Every row of a question, for each of these parameters: all asked together."""

    def pipeline(self) -> AbstractContextManager[None]:
        """What the block asks, before it looks at an answer, and what it puts travels together, as in ``Database.write``."""

    def fetch_in(self, sql: str, values: Sequence[object], /, **parameters: object) -> list[Row]:
        """Every row of a statement with ``IN (:values)``, in few statements."""

    def prepare_bulk_load(self, tables: Sequence[str], /, *, empty: Sequence[str]) -> bool:
        """Get ready for ``bulk_load`` these tables, before anything is stored.

        Where that shuts readers out of them until the end, it is done only if nobody misses anything.

        Args:
            tables: the tables.
            empty: tables that must be empty for nobody to miss anything.

        Returns:
            False: ``bulk_load`` must not be used.

        """

    def bulk_load(self, tables: Sequence[str], indexes: Sequence[str], /) -> AbstractContextManager[None]:
        """While very many rows come into these tables, do without these indexes of theirs; then build them by sorting.

        An engine may do without the foreign keys between the tables, too.
        """


class Database(Protocol):
    """An open database."""

    @property
    def name(self) -> str:
        """Where it is, for people: a file's path or a URL without user and password."""

    @property
    def is_new(self) -> bool:
        """Whether it was created when it was opened."""

    @property
    def applied(self) -> int:
        """How many migrations were applied when it was opened."""

    @property
    def pending(self) -> int:
        """How many migrations it lacks, if it was opened without ``migrate``."""

    @property
    def buckets(self) -> int:
        """How many buckets it has; fixed when it was created."""

    @property
    def warnings(self) -> Sequence[str]:
        """What is wrong with how the engine was set up, for the person who runs it."""

    async def read(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run ``f(tx, …)`` on one consistent snapshot. For keyed reads of a bounded number of rows."""

    async def poll(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """As ``read``, for the one check on which every request depends: it waits for no other request."""

    async def scan(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """As ``read``, for what may touch many rows: it never holds up other requests."""

    async def write(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run ``f(tx, …)`` and commit. Returns once it is safely stored; raises with nothing stored."""

    async def vacuum(self, *, thoroughly: bool = False) -> None:
        """Rewrite the engine's files without what was deleted, where that does not take long and we may.

        Args:
            thoroughly: even where it takes long, and others wait for it.

        Raises:
            ServiceUnavailable: not now, since somebody writes; or the disk is full.
            CommandError: ``thoroughly``, and this engine has a tool of its own for that.

        """

    async def empty_log(self) -> None:
        """Empty the engine's log, which holds pages as they were. Raises ServiceUnavailable: somebody reads what was there before."""

    def read_transaction(self) -> AbstractContextManager[Transaction]:
        """A snapshot for the shell: ``with database.reading() as tx``."""

    def write_transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction for the shell, beside which nobody writes: committed at the end of the block, undone if it raises."""

    def distribute(self, progress: Callable[[str], None]) -> int:
        """Spread the tables over a cluster's nodes, by bucket; returns how many were not spread yet.

        Args:
            progress: told each table's name first.

        Raises:
            CommandError: this engine, or this database, cannot do that.

        """

    def backup(self, path: Path, look: Callable[[Transaction], T], progress: Progress, *, force: bool) -> T:
        """Copy everything, as it is at this moment, while others write. Returns what ``look`` returns.

        Args:
            path: the copy, a file private to its owner. It takes an older one's place once it is whole and on disk.
            look: called on the copy, once it is proven.
            progress: told how far it is.
            force: replace a file that is no backup of this database.

        Raises:
            CommandError: it cannot be written, would replace something else, or this engine has tools of its own for that.

        """

    def restore(
        self,
        path: Path,
        prove: Callable[["Database"], None],
        carry: Callable[[Transaction, Transaction], None],
        progress: Progress,
    ) -> None:
        """Put a copy in the place of everything, in one step: who reads beside it finds the old or the new, whole.

        Args:
            path: a copy that ``backup`` made. It is left as it is.
            prove: called on the copy, whole and brought up to date, while others go on: to refuse it or to mend it.
            carry: called on what is there, which nobody changes any more, and on what takes its place: its last change.
            progress: told how far it is.

        Raises:
            CommandError: it is no copy of such a database, it is damaged, or this engine is restored by tools of its own.

        """

    def check_schema(self) -> None:
        """Check that the database has nothing but what the migrations make. Raises CommandError, naming what it has."""

    def close(self) -> None:
        """Finish what is under way and let go of every connection."""


MAX_LISTS_AT_ONCE = 2
MAX_EXPORTS_AT_ONCE = 1
SCANNERS = MAX_LISTS_AT_ONCE + MAX_EXPORTS_AT_ONCE  # threads for ``scan``

MAX_ROWS_PER_STATEMENT = 100  # rows, or values, of one statement

_INTO = re.compile(r"INSERT INTO (\w+)\s*(\([^)]*\))")
_GROUP = re.compile(r"VALUES\s*(\([^)]*\))")
_PARAMETER = re.compile(r":(\w+)")


@lru_cache(1024)
def many_rows(sql: str, rows: int) -> tuple[str, Callable[[Parameters], tuple[object, ...]]]:
    """An INSERT of one row, made one of many: its text with ``?`` parameters, and what takes them from a row."""
    group = _GROUP.search(sql)
    assert group is not None, sql
    one = _PARAMETER.sub("?", group[1])
    return f"{sql[: group.start(1)]}{', '.join([one] * rows)}{sql[group.end(1) :]}", itemgetter(
        *_PARAMETER.findall(group[1])
    )


@lru_cache(64)
def table_of(sql: str) -> str:
    """The table of a plain INSERT, with its columns."""
    into = _INTO.search(sql)
    assert into is not None, sql
    return f"{into[1]} {into[2]}"


@lru_cache(1024)
def many_values(sql: str, values: int) -> tuple[str, tuple[str, ...]]:
    """A statement with ``IN (:values)``, made one of that many values: its text, and the parameters' names."""
    names = tuple(f"value_{index}" for index in range(values))
    return sql.replace("(:values)", f"({', '.join(f':{name}' for name in names)})"), names


def open_database(url: str, connections: int = 1, *, create: bool = True, migrate: bool = True) -> Database:
    """Open the database of this URL, created or brought up to date where needed.

    Args:
        url: ``sqlite:///PATH`` or ``postgresql://…``.
        connections: to a server, how many at most for writes, and how many for reads.
        create: create the schema where there is none; else that is refused.
        migrate: bring an older schema up to date; else only what every schema has may be read.

    Raises CommandError: the URL's scheme is unknown, or the database cannot be used; the text says why.
    """
    scheme, _, rest = url.partition("://")
    if scheme in ("postgresql", "postgres"):
        from seneca.database.postgres.engine import Postgres  # not what a start on SQLite should wait for

        return Postgres(url, connections, create=create, migrate=migrate)
    if scheme != "sqlite" or not rest.startswith("/") or rest == "/":
        raise CommandError("SENECA_DATABASE_URL must be of the form sqlite:///PATH or postgresql://HOST/DATABASE.")
    from seneca.database.sqlite.engine import Sqlite

    return Sqlite(Path(rest.removeprefix("/")), create=create, migrate=migrate)
