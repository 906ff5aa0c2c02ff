"""Breakdowns by day: sessions, results, time and scores of each study day or week, of a course or of one learner."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from operator import add
from typing import Final, Literal

from msgspec import UNSET, Struct, UnsetType

from seneca.accounts import Learner
from seneca.common import scores
from seneca.common.study_days import DAYS_PER_WEEK, EARLIEST_DAY, day_of, from_date, to_date, week_of
from seneca.common.times import MINUTE_MS
from seneca.database import Transaction
from seneca.errors import CourseNotFound, FieldError, InvalidInput
from seneca.sessions import time_zone
from seneca.sessions.commands import COURSE_WITH_ID
from seneca.stats.tables import COURSE_DAYS

DEFAULT_DAYS: Final = 28
MAX_ROWS: Final = 400

Unit = Literal["day", "week"]


class DayStatistics(Struct, frozen=True, rename="camel"):
    """The statistics of a day, or of the week that begins on it."""

    day: str
    sessions: int
    results: int
    points: int | Decimal
    time_in_minutes: int
    active_minutes: int
    average_score: int | float | None
    """The mean of the scores, adaptive and quiz alike; None if there are none."""
    learners: int | UnsetType = UNSET
    """The number of distinct learners who started a session."""


class Days(Struct, frozen=True, rename="camel"):
    """The statistics of each day or week of a period, and the time zone of the days."""

    time_zone: str
    days: list[DayStatistics]


class Period(Struct, frozen=True):
    """Study days from the first to the last, both included, one by one or by calendar week."""

    first: int
    last: int
    unit: Unit = "day"

    @property
    def step(self) -> int:
        """The number of days of a row."""
        return DAYS_PER_WEEK if self.unit == "week" else 1

    @property
    def rows(self) -> range:
        """The first day of each row."""
        return range(self.first, self.last + 1, self.step)


class PeriodRequest(Struct, frozen=True):
    """The period of a request, as text. By default it is the last 28 days."""

    first: str | None = None
    last: str | None = None
    unit: str = "day"

    def resolve(self, today: int) -> Period:
        """Compute the period.

        Args:
            today: the current study day.

        Raises:
            InvalidInput: a date or the unit is not valid, the last day is before the first, or there are too many rows.

        """
        errors: list[FieldError] = []
        last = _parse(self.last, "to", errors)
        first = _parse(self.first, "from", errors)
        if self.unit not in ("day", "week"):
            errors.append(FieldError("by", "must be day or week"))
        if errors:
            raise InvalidInput(errors)
        last = today if last is None else last
        first = max(last - DEFAULT_DAYS + 1, EARLIEST_DAY) if first is None else first
        if first > last:
            raise InvalidInput.field("from", "must not be after to")
        period = Period(first, last)
        if self.unit == "week":
            period = Period(week_of(first), week_of(last) + DAYS_PER_WEEK - 1, "week")
        if len(period.rows) > MAX_ROWS:
            raise InvalidInput.field("from", f"must be at most {MAX_ROWS} {self.unit}s before to")
        return period


def _parse(text: str | None, field: str, errors: list[FieldError]) -> int | None:
    try:
        return None if text is None else from_date(text)
    except ValueError as error:
        errors.append(FieldError(field, str(error)))
        return None


SUMS: Final = COURSE_DAYS.sum_columns
COURSE_BY_DAY: Final = f"""
SELECT study_day, {", ".join(f"sum({column})" for column in SUMS)}, sum(learners)
FROM course_days
WHERE course_id = :course_id AND study_day BETWEEN :first AND :last
GROUP BY study_day
"""
COURSE_LEARNERS_BY_WEEK: Final = """
SELECT study_week, sum(learners) FROM course_weeks
WHERE course_id = :course_id AND study_week BETWEEN :first AND :last
GROUP BY study_week
"""


def of_course(tx: Transaction, course_id: str, request: PeriodRequest, now: int) -> Days:
    """Read the days of a course over all learners.

    Args:
        tx: the transaction.
        course_id: the course.
        request: the period.
        now: the time, in milliseconds since 1970.

    Raises:
        CourseNotFound: no course has this id.
        InvalidInput: the period is not valid.

    """
    zone = time_zone.get(tx)
    period = request.resolve(day_of(now, zone))
    _check_course(tx, course_id)
    key = {"course_id": course_id, "first": period.first, "last": period.last}
    rows = tx.fetch_all(COURSE_BY_DAY, **key)
    learners = {row[0]: int(row[-1]) for row in rows}
    if period.unit == "week":
        learners = {week: int(number) for week, number in tx.fetch_all(COURSE_LEARNERS_BY_WEEK, **key)}
    return Days(zone.key, _to_days(period, (row[:-1] for row in rows), learners))


SESSION_SUMS: Final = ", ".join(f"sum({column.sql})" for column in COURSE_DAYS.sums)
LEARNER_BY_DAY: Final = f"""
SELECT study_day, {SESSION_SUMS} FROM sessions s
WHERE bucket = :bucket AND learner_id = :learner_id AND study_day BETWEEN :first AND :last
GROUP BY study_day
"""
LEARNER_IN_COURSE_BY_DAY: Final = f"""
SELECT study_day, {SESSION_SUMS} FROM sessions s
WHERE bucket = :bucket AND learner_id = :learner_id AND study_day BETWEEN :first AND :last AND course_id || '' = :course_id
GROUP BY study_day
"""
"""Without the index of the course's sessions, which has those of everybody."""


def of_learner(tx: Transaction, learner: Learner, course_id: str | None, request: PeriodRequest, now: int) -> Days:
    """Read the days of one learner, in a course or (None) over all courses. Otherwise as ``of_course``."""
    zone = time_zone.get(tx)
    period = request.resolve(day_of(now, zone))
    key = {"bucket": learner.bucket, "learner_id": learner.id, "first": period.first, "last": period.last}
    if course_id is None:
        return Days(zone.key, _to_days(period, tx.fetch_all(LEARNER_BY_DAY, **key)))
    _check_course(tx, course_id)
    rows = tx.fetch_all(LEARNER_IN_COURSE_BY_DAY, course_id=course_id, **key)
    return Days(zone.key, _to_days(period, rows))


def _check_course(tx: Transaction, course_id: str) -> None:
    if tx.fetch_one(COURSE_WITH_ID, id=course_id) is None:
        raise CourseNotFound


def _to_days(
    period: Period, rows: Iterable[tuple[int, ...]], learners: Mapping[int, int] | None = None
) -> list[DayStatistics]:
    """Each row of a period, from the sums of those days that have sessions."""
    sums: dict[int, list[int]] = {}
    for day, *values in rows:
        key = week_of(day) if period.unit == "week" else day
        sums[key] = list(map(add, sums.get(key, [0] * len(SUMS)), map(int, values)))
    return [
        _to_day(day, sums.get(day, [0] * len(SUMS)), UNSET if learners is None else learners.get(day, 0))
        for day in period.rows
    ]


def _to_day(day: int, sums: list[int], learners: int | UnsetType) -> DayStatistics:
    values = dict(zip(SUMS, sums, strict=True))
    return DayStatistics(
        day=to_date(day),
        sessions=values["sessions"],
        results=values["results"],
        points=scores.to_points(values["points"]),
        time_in_minutes=values["milliseconds"] // MINUTE_MS,
        active_minutes=values["active_milliseconds"] // MINUTE_MS,
        average_score=scores.average(values["points"], values["scores"]),
        learners=learners,
    )
