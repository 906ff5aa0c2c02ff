"""A learner's weeks: on how many days they studied in each, and how many weeks in a row reached the goal."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from typing import Final

from msgspec import Struct

from seneca import school
from seneca.accounts import Learner
from seneca.common.study_days import DAYS_PER_WEEK, day_of, from_date, to_date, week_of
from seneca.database import Transaction
from seneca.school import DaysOff
from seneca.sessions import time_zone

MAX_WEEKS: Final = 53
"""The number of weeks that are listed: a year."""


class Week(Struct, frozen=True, rename="camel"):
    """A week, which is its Monday: the number of days with study, and whether it reached the goal."""

    week: str
    days: int
    is_met: bool


class Weeks(Struct, frozen=True, rename="camel"):
    """A learner's weeks."""

    time_zone: str
    goal: int
    """The days of study that a week needs."""
    current: int
    """The number of weeks in a row that reached the goal. The current week counts if it has, and breaks nothing if it has not yet."""
    longest: int
    weeks: list[Week]
    """From the first week with study to the current one, at most the last ``MAX_WEEKS``."""


STUDY_DAYS: Final = """
SELECT study_day FROM sessions
WHERE bucket = :bucket AND learner_id = :learner_id
GROUP BY study_day
HAVING sum(results) > 0 OR sum(active_milliseconds) >= 60000 OR sum(coalesce(ended_at - started_at, 0)) >= 60000
"""
"""A day counts from one result or one minute on."""


def of_learner(tx: Transaction, learner: Learner, now: int) -> Weeks:
    """Read the weeks of a learner until a time, in milliseconds since 1970."""
    zone = time_zone.get(tx)
    settings = school.get(tx)
    rows = tx.fetch_all(STUDY_DAYS, bucket=learner.bucket, learner_id=learner.id)
    days = Counter(week_of(row[0]) for row in rows)
    this_week = week_of(day_of(now, zone))
    runs = list(_runs(days, settings.weekly_goal_days, this_week, is_week_off(settings.days_off)))
    first = max(min(days, default=this_week + 1), this_week - (MAX_WEEKS - 1) * DAYS_PER_WEEK)
    return Weeks(
        time_zone=zone.key,
        goal=settings.weekly_goal_days,
        current=runs[-1] if runs else 0,
        longest=max(runs, default=0),
        weeks=[
            Week(to_date(week), days[week], days[week] >= settings.weekly_goal_days)
            for week in range(first, this_week + 1, DAYS_PER_WEEK)
        ],
    )


def _runs(days: Counter[int], goal: int, this_week: int, is_off: Callable[[int], bool]) -> Iterator[int]:
    """For each week, how many in a row have reached the goal by then. A week off, or the current one, that has not leaves the number as it is."""
    run = 0
    for week in range(min(days, default=this_week + 1), this_week + 1, DAYS_PER_WEEK):
        if days[week] >= goal:
            run += 1
        elif run and week < this_week and not is_off(week):
            run = 0
        yield run


def is_week_off(days_off: DaysOff) -> Callable[[int], bool]:
    """Make the function that says whether all days of a week are days off."""
    periods = [(_day(period.first), _day(period.last)) for period in days_off.dates]

    def is_off(week: int) -> bool:
        return all(
            day - week + 1 in days_off.weekdays or any(first <= day <= last for first, last in periods)
            for day in range(week, week + DAYS_PER_WEEK)
        )

    return is_off


def _day(day: date) -> int:
    return from_date(day.isoformat())
