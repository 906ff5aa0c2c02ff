"""Queries for the statistics. Each reads a bounded number of rows (docs/statistics.md)."""

from collections.abc import Callable, Hashable
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from seneca.accounts import Learner
from seneca.common import scores
from seneca.common.ids import bucket_of
from seneca.common.times import MINUTE_MS
from seneca.database import Row, Transaction
from seneca.errors import CourseNotFound
from seneca.sessions import queries as session_queries
from seneca.sessions.commands import COURSE_WITH_ID

MAX_UNCACHED_NAMES = 100  # that ``few`` reads, for a course from up to 64 buckets
MAX_CHARACTERS = 256 * 1024  # of names, unless ``all`` may be returned

WhichNames = Literal["cached", "few", "all"]
"""Which module names a statistic may read: those in the cache, so that it is a single query; also a few others; or all."""


class UncachedNames(Exception):
    """The module names of a statistic are not in the cache, and only ``cached`` ones may be read. The caller reads a ``few``."""


class ManyNames(Exception):
    """A statistic has more module names than a ``few``. The caller reads ``all`` of them with ``Database.scan``."""


class ModuleAmount(Struct, frozen=True, rename="camel"):
    """The distinct names of modules with a result, sorted by code point, and their number."""

    total_modules_studied: int
    module_names: list[str]


class SessionTime(Struct, frozen=True, rename="camel"):
    """The total duration of ended sessions, in whole minutes."""

    total_duration: str
    time_in_minutes: int


class Scores(Struct, frozen=True, rename="camel"):
    """The exact sum of points, and the mean of (adaptive + quiz) / 2 over all module results."""

    total_session_points: int | Decimal
    overall_average_score: int | float


class Statistics(Struct, frozen=True, rename="camel"):
    """Statistics over sessions."""

    module_amount: ModuleAmount
    session_time: SessionTime
    scores: Scores


class SessionStatistics(Struct, frozen=True, rename="camel"):
    """The statistics of one session."""

    session_id: str
    module_amount: ModuleAmount
    session_time: SessionTime
    scores: Scores


class Totals(Struct, frozen=True):
    """The totals of a statistic: the version and the number of its module names, and sums as in ``tables``."""

    name_changes: int
    names: int
    results: int
    points: int
    milliseconds: int


SUMS = ", ".join(f"coalesce(sum({column}), 0)" for column in Totals.__struct_fields__)


def statistics(names: list[str], *, results: int, points: int, milliseconds: int) -> Statistics:
    """Make the statistics object from totals.

    Args:
        names: the distinct module names, sorted by code point.
        results: the number of module results.
        points: the sum of their adaptive and quiz scores, in thousandths.
        milliseconds: the sum of the ended sessions' durations.

    """
    minutes = milliseconds // MINUTE_MS
    return Statistics(
        ModuleAmount(len(names), names),
        SessionTime(f"{minutes // 60} hours {minutes % 60} minutes", minutes),
        Scores(scores.to_points(points), scores.mean(points, results)),
    )


def _of_totals(names: list[str], totals: Totals) -> Statistics:
    return statistics(names, results=totals.results, points=totals.points, milliseconds=totals.milliseconds)


COURSE_TOTALS = f"""
SELECT {SUMS}
FROM course_totals
WHERE course_id = :course_id
HAVING sum(sessions) > 0 OR EXISTS (SELECT 1 FROM courses WHERE id = :course_id)
"""
COURSE_NAMES = """
SELECT DISTINCT module_name FROM course_names WHERE course_id = :course_id ORDER BY module_name
"""


def of_course(tx: Transaction, course_id: str, *, which_names: WhichNames = "all") -> Statistics:
    """Read the statistics of a course over all learners.

    Raises:
        CourseNotFound: no course has this id.
        UncachedNames: the names are not in the cache, and only ``cached`` ones may be read.
        ManyNames: there are more names than ``which_names`` allows.

    """
    row = tx.fetch_one(COURSE_TOTALS, course_id=course_id)
    if row is None:
        raise CourseNotFound
    totals = Totals(*row)
    names = _names(tx, course_id, totals, lambda: _column(tx.fetch_all(COURSE_NAMES, course_id=course_id)), which_names)
    return _of_totals(names, totals)


def _names(
    tx: Transaction, key: Hashable, totals: Totals, read: Callable[[], list[str]], which_names: WhichNames
) -> list[str]:
    """Get the names of a statistic from the cache or, if their version has changed, from the database.

    Raises:
        UncachedNames: they are not in the cache, and only ``cached`` ones may be read.
        ManyNames: there are more than may be read.

    """
    names = tx.cache.get(key, totals.name_changes)
    if names is None:
        if which_names != "all" and totals.names > MAX_UNCACHED_NAMES:
            raise ManyNames
        if which_names == "cached":
            raise UncachedNames
        names = read()
        tx.cache.put(key, totals.name_changes, names)
    if which_names != "all" and len(names) > MAX_UNCACHED_NAMES and sum(map(len, names)) > MAX_CHARACTERS:
        raise ManyNames
    return names


def _column(rows: list[Row]) -> list[str]:
    return [row[0] for row in rows]


LEARNER_IN_COURSE_TOTALS = f"""
SELECT {SUMS}
FROM learner_totals
WHERE bucket = :bucket AND learner_id = :learner_id AND course_id = :course_id
HAVING sum(sessions) > 0 OR EXISTS (SELECT 1 FROM courses WHERE id = :course_id)
"""
LEARNER_IN_COURSE_NAMES = """
SELECT module_name FROM learner_names
WHERE bucket = :bucket AND learner_id = :learner_id AND course_id = :course_id
ORDER BY module_name
"""


def of_learner_in_course(
    tx: Transaction, learner_id: str, course_id: str, *, which_names: WhichNames = "all"
) -> Statistics:
    """Read one learner's statistics of a course.

    Raises:
        CourseNotFound: no course has this id.
        UncachedNames, ManyNames: as ``of_course``.

    """
    key = {
        "bucket": bucket_of(learner_id, tx.buckets),
        "learner_id": learner_id,
        "course_id": course_id,
    }
    row = tx.fetch_one(LEARNER_IN_COURSE_TOTALS, **key)
    if row is None:
        raise CourseNotFound
    totals = Totals(*row)
    names = _names(
        tx,
        (learner_id, course_id),
        totals,
        lambda: _column(tx.fetch_all(LEARNER_IN_COURSE_NAMES, **key)),
        which_names,
    )
    return _of_totals(names, totals)


LEARNER_TOTALS = f"""
SELECT {SUMS}
FROM learner_totals
WHERE bucket = :bucket AND learner_id = :learner_id
"""
LEARNER_NAMES = """
SELECT DISTINCT module_name FROM learner_names
WHERE bucket = :bucket AND learner_id = :learner_id
ORDER BY module_name
"""


def of_learner(tx: Transaction, learner_id: str, *, which_names: WhichNames = "all") -> Statistics:
    """Read one learner's statistics over all courses. Raises UncachedNames and ManyNames as ``of_course``."""
    key = {"bucket": bucket_of(learner_id, tx.buckets), "learner_id": learner_id}
    (row,) = tx.fetch_all(LEARNER_TOTALS, **key)  # a sum always has one row
    totals = Totals(*row)
    names = _names(tx, ("all", learner_id), totals, lambda: _column(tx.fetch_all(LEARNER_NAMES, **key)), which_names)
    return _of_totals(names, totals)


SESSION_NAMES = """
SELECT module_name FROM results
WHERE bucket = :bucket AND learner_id = :learner_id AND session_id = :session_id
ORDER BY module_name
"""


def of_session(tx: Transaction, learner: Learner | None, course_id: str, session_id: str) -> SessionStatistics:
    """Read the statistics of one session of a course. ``learner`` is None for administrators.

    Raises:
        CourseNotFound: no course has this id.
        SessionNotFound: the course has no such session.

    """
    if tx.fetch_one(COURSE_WITH_ID, id=course_id) is None:
        raise CourseNotFound
    session = session_queries.find(tx, learner, session_id, course_id)
    names = tx.fetch_all(
        SESSION_NAMES,
        bucket=session.bucket,
        learner_id=session.learner_id,
        session_id=session.id,
    )
    whole = statistics(_column(names), results=session.results, points=session.points, milliseconds=session.duration_ms)
    return SessionStatistics(session.id, whole.module_amount, whole.session_time, whole.scores)
