"""The tables of totals, declared once: their keys, and what each column sums.

``totals`` adds to and subtracts from them, ``verification`` verifies and rebuilds them, ``backup`` carries their versions over: all of that is
generated from these declarations, so a new total is one declaration here and one migration for each engine.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct

from seneca.database.statements import insert
from seneca.sessions.rows import SessionRow

NAME_COLUMNS: Final = ("names", "name_changes")
LEARNERS_COLUMN: Final = "learners"

SESSION_TOTALS: Final[Mapping[str, str]] = {
    "results": "count(r.session_id)",
    "scores": "count(r.adaptive) + count(r.quiz)",
    "points": "coalesce(sum(coalesce(r.adaptive_score, 0) + coalesce(r.quiz_score, 0)), 0)",
    "bytes": "coalesce(sum(octet_length(r.module_name) + coalesce(octet_length(r.adaptive), 0) "
    "+ coalesce(octet_length(r.quiz), 0) + coalesce(octet_length(r.wrong_answers), 0)), 0)",
}
"""The columns of ``sessions`` that sum its results ``r``. ``ResultRow`` computes the same for one result."""


class Column(Struct, frozen=True):
    """A column of a table of totals: its name, and its value for one session, in SQL and as an attribute of ``SessionRow``."""

    name: str
    sql: str
    """The session is ``s``."""
    attribute: str


def session_column(name: str) -> Column:
    """A column that has the value of the session's column of that name."""
    return Column(name, sql=f"s.{name}", attribute=name)


class TotalsTable(Struct, frozen=True, dict=True):
    """A table of sums over the sessions with the same key.

    If it counts distinct module names, it has the columns ``names``, their number, and ``name_changes``, the number of names that were added
    and removed. The latter never decreases, so rows stay when they reach zero: it is the version of cached names.
    """

    name: str
    key: tuple[Column, ...]
    sums: tuple[Column, ...]
    counts_learners: bool = False
    """Whether it has a column ``learners``, the number of distinct learners of the sessions (see ``learner_counts``)."""
    names_within: tuple[str, ...] = ()
    """The columns of the key within which names are distinct: all, or all but one. Rows that differ in that one share the number."""

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        """The names of the key's columns."""
        return tuple(column.name for column in self.key)

    @cached_property
    def sum_columns(self) -> tuple[str, ...]:
        """The names of the columns with sums."""
        return tuple(column.name for column in self.sums)

    @cached_property
    def computed_columns(self) -> tuple[str, ...]:
        """The names of the columns that follow from the rows with the same key: the sums, and the number of learners."""
        return (*self.sum_columns, *((LEARNERS_COLUMN,) if self.counts_learners else ()))

    @cached_property
    def added_columns(self) -> tuple[str, ...]:
        """The names of all columns but the key's."""
        return (*self.computed_columns, *(NAME_COLUMNS if self.names_within else ()))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns."""
        return (*self.key_columns, *self.added_columns)

    @cached_property
    def key_of(self) -> Callable[[SessionRow], tuple[Any, ...]]:
        """The function that returns a session's key; both have at least two columns, so that it and ``values_of`` return tuples."""
        return attrgetter(*(column.attribute for column in self.key))

    @cached_property
    def values_of(self) -> Callable[[SessionRow], tuple[int, ...]]:
        """The function that returns what a session adds to the sums."""
        return attrgetter(*(column.attribute for column in self.sums)) if self.sums else _no_values

    @cached_property
    def add(self) -> str:
        """The INSERT of a row, or the addition to the row with its key."""
        return f"{insert(self.name, self.columns)}{self.on_conflict}"

    @property
    def on_conflict(self) -> str:
        """The end of an INSERT that adds to the row with its key."""
        return _add_on_conflict(self.name, self.key_columns, self.added_columns)

    @cached_property
    def delete_zeros(self) -> str | None:
        """The deletion of a row that is zero; None if zeros stay."""
        if self.names_within:
            return None
        key = " AND ".join(f"{column} = :{column}" for column in self.key_columns)
        return f"DELETE FROM {self.name} WHERE {key} AND {self.computed_columns[0]} = 0"

    @cached_property
    def delete_learner(self) -> str | None:
        """The deletion of a learner's rows; None if the key has no learner."""
        if "learner_id" not in self.key_columns:
            return None
        return f"DELETE FROM {self.name} WHERE bucket = :bucket AND learner_id = :learner_id"


class NamesTable(Struct, frozen=True, dict=True):
    """A table with a row for each module name that has results within its key; a row is deleted when its count reaches zero."""

    name: str
    key: tuple[str, ...]
    """Columns of the session, and ``module_name``."""
    count: str
    """The column with the count."""
    counted: str
    """What it counts, in SQL over the sessions ``s`` and their results ``r``."""

    @cached_property
    def add(self) -> str:
        """The INSERT of a row, or the addition to the row with its key."""
        on_conflict = _add_on_conflict(self.name, self.key, (self.count,))
        return f"{insert(self.name, (*self.key, self.count))}{on_conflict}"

    @cached_property
    def add_and_return(self) -> str:
        """As ``add``; returns the count."""
        return f"{self.add}RETURNING {self.count}\n"

    @cached_property
    def delete_zeros(self) -> str:
        """The deletion of those of some names whose count is zero; returns them."""
        key = " AND ".join(f"{column} = :{column}" for column in self.key if column != "module_name")
        return f"""
DELETE FROM {self.name}
WHERE {key} AND {self.count} = 0 AND module_name IN (:values)
RETURNING module_name
"""


def _no_values(_: SessionRow) -> tuple[int, ...]:
    return ()


def _add_on_conflict(table: str, key: tuple[str, ...], columns: tuple[str, ...]) -> str:
    sums = ",\n    ".join(f"{column} = {table}.{column} + excluded.{column}" for column in columns)
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET\n    {sums}\n"


BUCKET, LEARNER, COURSE, DAY = map(session_column, ("bucket", "learner_id", "course_id", "study_day"))
WEEK: Final = Column("study_week", sql="s.study_day - ((s.study_day - 4) % 7 + 7) % 7", attribute="study_week")
SUMS: Final = (
    Column("sessions", sql="1", attribute="sessions"),
    session_column("results"),
    session_column("scores"),
    session_column("points"),  # thousandths
    Column("milliseconds", sql="coalesce(s.ended_at - s.started_at, 0)", attribute="duration_ms"),
    session_column("active_milliseconds"),
)

LEARNER_TOTALS: Final = TotalsTable(
    "learner_totals", key=(BUCKET, LEARNER, COURSE), sums=SUMS, names_within=("bucket", "learner_id", "course_id")
)
COURSE_TOTALS: Final = TotalsTable("course_totals", key=(COURSE, BUCKET), sums=SUMS, names_within=("course_id",))
COURSE_DAYS: Final = TotalsTable("course_days", key=(COURSE, DAY, BUCKET), sums=SUMS, counts_learners=True)
COURSE_WEEKS: Final = TotalsTable("course_weeks", key=(COURSE, WEEK, BUCKET), sums=(), counts_learners=True)
DAYS: Final = TotalsTable("days", key=(DAY, BUCKET), sums=SUMS, counts_learners=True)
WEEKS: Final = TotalsTable("weeks", key=(WEEK, BUCKET), sums=(), counts_learners=True)
TOTALS_TABLES: Final = (LEARNER_TOTALS, COURSE_TOTALS, COURSE_WEEKS, WEEKS, COURSE_DAYS, DAYS)
"""In the order in which every transaction locks them: rows that many transactions change come last."""

LEARNER_NAMES: Final = NamesTable(
    "learner_names", key=("bucket", "learner_id", "course_id", "module_name"), count="results", counted="count(*)"
)
COURSE_NAMES: Final = NamesTable(
    "course_names",
    key=("course_id", "module_name", "bucket"),
    count="learners",
    counted="count(DISTINCT s.learner_id)",
)
SUMMING_TABLES: Final = tuple(table for table in TOTALS_TABLES if table.sums)
"""Those with sums, which are the same in each."""
NAMES_TABLES: Final = (LEARNER_NAMES, COURSE_NAMES)
