"""The settings of the school, which administrators change: its name, marks, days off and goals.

They are one row of ``properties``, which is complete on every node of a cluster. The settings of a server's processes are in ``settings``.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict, force_setattr

from seneca import audit
from seneca.auth.authorisation import Actor, authorise
from seneca.common import scores
from seneca.common.study_days import to_zone
from seneca.common.text_types import Line
from seneca.database import Transaction
from seneca.errors import FieldError, InvalidInput
from seneca.sessions import time_zone

MAX_PERIODS: Final = 200

PassMark = Annotated[
    float, Meta(ge=0, le=scores.MAX_POINTS, description="Not above the full mark. Rounded to three decimals.")
]
FullMark = Annotated[float, Meta(ge=0.001, le=scores.MAX_POINTS, description="Rounded to three decimals.")]
Mark = float
"""In points, with at most three decimals; an ``int`` where it is whole, so that its JSON has no fraction."""
Weekday = Annotated[int, Meta(ge=1, le=7)]


class Period(Struct, frozen=True, forbid_unknown_fields=True):
    """Days from one to another, both included."""

    first: date = msgspec.field(name="from")
    last: date = msgspec.field(name="to")


class DaysOff(Struct, frozen=True, forbid_unknown_fields=True):
    """The days on which nobody is expected to study."""

    weekdays: Annotated[
        list[Weekday],
        Meta(max_length=7, description="Distinct; 1 is Monday.", extra_json_schema={"uniqueItems": True}),
    ]
    dates: Annotated[list[Period], Meta(max_length=MAX_PERIODS)]


QuietAfterDays = Annotated[
    int,
    Meta(
        ge=1,
        le=365,
        description="After more than this number of days without study, days off not counted, a learner is quiet.",
    ),
]
WeeklyGoalDays = Annotated[
    int, Meta(ge=1, le=7, description="Days of study in a week that a learner is expected to reach.")
]


class SchoolSettings(Struct, frozen=True, rename="camel"):
    """The school's settings, with the defaults of a new database. Marks are only stored and shown: no statistic depends on them yet."""

    school_name: Line | None = None
    pass_mark: PassMark = 50
    full_mark: FullMark = 100
    quiet_after_days: QuietAfterDays = 7
    days_off: DaysOff = DaysOff([6, 7], [])
    weekly_goal_days: WeeklyGoalDays = 3

    def __post_init__(self) -> None:
        """Round the marks."""
        force_setattr(self, "pass_mark", round_mark(self.pass_mark))
        force_setattr(self, "full_mark", round_mark(self.full_mark))


class SchoolSettingsChange(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A change of the school's settings. Omitted members stay unchanged."""

    school_name: Annotated[Line | None, Meta(description="`null`: none.")] | UnsetType = UNSET
    pass_mark: PassMark | UnsetType = UNSET
    full_mark: FullMark | UnsetType = UNSET
    quiet_after_days: QuietAfterDays | UnsetType = UNSET
    days_off: DaysOff | UnsetType = UNSET
    weekly_goal_days: WeeklyGoalDays | UnsetType = UNSET

    def find_errors(self) -> Iterator[FieldError]:
        """Check the days off, skipping what is UNSET."""
        if self.days_off is not UNSET:
            yield from _repeated_weekdays(self.days_off.weekdays)
            yield from _reversed_periods(self.days_off.dates)

    def apply_to(self, settings: SchoolSettings) -> SchoolSettings:
        """Make the changed settings.

        Raises:
            InvalidInput: the pass mark would be above the full mark.

        """
        values = {name: value for name in settings.__struct_fields__ if (value := getattr(self, name)) is not UNSET}
        changed = msgspec.structs.replace(settings, **values)
        check_marks(changed.pass_mark, changed.full_mark, "passMark" if "pass_mark" in values else "fullMark")
        return changed


TimeZone = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="The time zone in which a study day is a calendar day: an IANA name. It can be changed while there are no sessions.",
    ),
]


class Settings(SchoolSettings, frozen=True, rename="camel"):
    """The school's settings, and the time zone of the database."""

    time_zone: TimeZone = "UTC"


class SettingsChange(SchoolSettingsChange, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A change of the school's settings, and of the time zone of the database."""

    time_zone: TimeZone | UnsetType = UNSET

    def find_errors(self) -> Iterator[FieldError]:
        """Check the days off and the time zone, skipping what is UNSET."""
        yield from super().find_errors()
        if isinstance(self.time_zone, str):
            try:
                to_zone(self.time_zone)
            except ValueError as error:
                yield FieldError("timeZone", str(error))


def _repeated_weekdays(weekdays: Sequence[Weekday | UnsetType] | UnsetType) -> Iterator[FieldError]:
    weekdays = [] if weekdays is UNSET else weekdays
    for index, weekday in enumerate(weekdays):
        if weekday is not UNSET and weekday in weekdays[:index]:
            yield FieldError(f"daysOff.weekdays[{index}]", "must differ from the other weekdays")


def _reversed_periods(periods: Sequence[Period | UnsetType] | UnsetType) -> Iterator[FieldError]:
    for index, period in enumerate([] if periods is UNSET else periods):
        days = [] if period is UNSET else [day for day in (period.first, period.last) if isinstance(day, date)]
        if days != sorted(days):
            yield FieldError(f"daysOff.dates[{index}].to", "must not be before from")


def round_mark(mark: Mark) -> Mark:
    """Round a mark to three decimals, half to even."""
    return from_thousandths(to_thousandths(mark))


def to_thousandths(mark: Mark) -> int:
    """Convert a mark to whole thousandths, the unit in which scores are stored."""
    return scores.to_thousandths(Decimal(repr(mark)))


def from_thousandths(thousandths: int) -> Mark:
    """Convert whole thousandths to a mark."""
    mark = scores.to_points(thousandths)
    return mark if isinstance(mark, int) else float(mark)


def check_marks(pass_mark: Mark, full_mark: Mark, field: str) -> None:
    """Raise InvalidInput, for this field, if the pass mark is above the full mark."""
    if pass_mark > full_mark:
        raise InvalidInput.field(field, f"leaves the pass mark above the full mark: {pass_mark:,} and {full_mark:,}")


STORED: Final = "SELECT value FROM properties WHERE name = 'school'"
LOCK: Final = "SELECT name FROM properties WHERE name = 'database-id'"
"""A row that always exists: of two that set the first settings, the later one must see those of the other."""
PUT: Final = """
INSERT INTO properties (name, value) VALUES ('school', :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
COUNT_CONTRADICTIONS: Final = """
SELECT count(*) FROM courses WHERE coalesce(pass_mark, :pass_mark) > coalesce(full_mark, :full_mark)
"""


def get(tx: Transaction) -> SchoolSettings:
    """Read the settings."""
    return stored(tx) or SchoolSettings()


def get_all(tx: Transaction) -> Settings:
    """Read the settings and the time zone."""
    return _with_time_zone(tx, get(tx))


def _with_time_zone(tx: Transaction, settings: SchoolSettings) -> Settings:
    return Settings(**asdict(settings), time_zone=time_zone.get(tx).key)


def stored(tx: Transaction) -> SchoolSettings | None:
    """Read the settings; None if nobody has changed one."""
    row = tx.fetch_one(STORED)
    return None if row is None else msgspec.json.decode(row[0], type=SchoolSettings)


def lock(tx: Transaction) -> SchoolSettings:
    """Read the settings, and lock them and the marks of all courses until the transaction ends."""
    tx.select_for_update(LOCK).fetchone()
    return get(tx)


def change(tx: Transaction, actor: Actor, settings_change: SettingsChange, now: int) -> Settings:
    """Change the settings. A change of the time zone needs a transaction that blocks all other writes.

    Args:
        tx: the transaction.
        actor: an administrator, or the command line.
        settings_change: the change.
        now: milliseconds since 1970.

    Raises:
        Unauthenticated, Forbidden: the actor is no longer a signed-in administrator.
        InvalidInput: the change is empty, or a pass mark would be above a full mark.
        TimeZoneInUse: there are sessions, and the time zone is another.

    """
    authorise(tx, actor, "admin")
    if is_empty(settings_change):
        raise InvalidInput.field("", "at least one setting is required")
    settings = settings_change.apply_to(lock(tx))
    put(tx, settings)
    if settings_change.time_zone is not UNSET:
        time_zone.change_while_unused(tx, settings_change.time_zone)
    changed = _with_time_zone(tx, settings)
    details = change_details(settings_change, changed)
    audit.record(tx, actor.id, "settings.changed", audit.WHOLE_DATABASE, now, entry="", **details)
    return changed


def put(tx: Transaction, settings: SchoolSettings) -> None:
    """Store settings. Raises InvalidInput if the marks contradict those that a course has of its own."""
    marks = {"pass_mark": to_thousandths(settings.pass_mark), "full_mark": to_thousandths(settings.full_mark)}
    row = tx.fetch_one(COUNT_CONTRADICTIONS, **marks)
    if row and row[0]:
        raise InvalidInput.field(
            "", f"leaves the pass mark above the full mark in courses with marks of their own: {row[0]:,}"
        )
    tx.execute(PUT, value=msgspec.json.encode(settings).decode())


def change_details(settings_change: Struct, settings: Struct) -> dict[str, audit.Detail]:
    """The details of a change for the audit log: numbers with their new value, and which other settings were changed.

    Args:
        settings_change: the change.
        settings: the changed settings, with the same members.

    """
    details: dict[str, audit.Detail] = {}
    for field in msgspec.structs.fields(settings_change):
        if getattr(settings_change, field.name) is not UNSET:
            value = getattr(settings, field.name)
            is_number = isinstance(value, int | float)
            details[field.encode_name] = str(value) if is_number else "changed"
    return details


def is_empty(settings_change: Struct) -> bool:
    """Whether a change has no members."""
    return all(getattr(settings_change, name) is UNSET for name in settings_change.__struct_fields__)
