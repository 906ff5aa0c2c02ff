"""Where records are kept: the interface that every engine offers, and how one is opened.

Concepts are plain functions that take a ``Transaction`` first. A ``Database`` runs them: it decides
on which thread and connection, begins and commits, and turns the engine's faults into
``errors.Unavailable``. Concept functions never commit.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from seneca.errors import Unusable

if TYPE_CHECKING:
    from seneca.database.sqlite import Sqlite

P = ParamSpec("P")
T = TypeVar("T")
Row = tuple[Any, ...]
Parameters = Mapping[str, object]


class NotUnique(Exception):
    """A statement would have broken a unique constraint."""


class BrokenReference(Exception):
    """A statement would have left a reference to a row that is not there."""


class Transaction(Protocol):
    """One transaction, or one request's part of it. SQL has ``:named`` parameters."""

    @property
    def buckets(self) -> int:
        """How many buckets this database has; fixed when it was created."""

    @property
    def memory(self) -> dict[Any, Any]:
        """What this process remembers beside the database: only for what can be checked to be current."""

    def one(self, sql: str, /, **parameters: object) -> Row | None:
        """The first row, or None."""

    def all(self, sql: str, /, **parameters: object) -> list[Row]:
        """Every row."""

    def rows(self, sql: str, /, **parameters: object) -> Iterable[Row]:
        """Every row, one after the other, in bounded memory."""

    def run(self, sql: str, /, **parameters: object) -> int:
        """Run a statement that changes rows; returns how many it changed.

        Raises:
            NotUnique: a unique constraint would break.
            BrokenReference: a foreign key would break.

        """

    def each(self, sql: str, parameters: Iterable[Parameters], /) -> list[Row]:
        """Run a statement once for each set of parameters; returns all rows, in order."""


class Database(Protocol):
    """An open database."""

    async def read(
        self,
        f: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run ``f(tx, …)`` on one consistent snapshot. For keyed reads of a bounded number of rows."""

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

    def reading(self) -> AbstractContextManager[Transaction]:
        """A snapshot for the shell: ``with database.reading() as tx``."""

    def writing(self) -> AbstractContextManager[Transaction]:
        """A transaction for the shell: committed at the end of the block, undone if it raises."""

    def close(self) -> None:
        """Finish what is under way and let go of every connection."""


def open_database(url: str) -> "Sqlite":
    """Open the database of this URL, made or brought up to date where needed.

    Raises:
        Unusable: the URL's scheme is unknown, or the database cannot be used; the text says why.

    """
    scheme, separator, path = url.partition(":///")
    if scheme != "sqlite" or not separator or not path:
        raise Unusable("SENECA_DATABASE_URL must be of the form sqlite:///PATH.")
    from seneca.database.sqlite import Sqlite  # noqa: PLC0415: each engine loads only its own driver

    return Sqlite(Path(path))
