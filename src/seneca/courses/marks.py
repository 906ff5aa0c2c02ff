"""The marks that a course has of its own, in place of the school's.

They are only stored and shown: no statistic depends on them yet.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import force_setattr

from seneca import audit, school
from seneca.auth.authorisation import Actor, authorise
from seneca.courses import topics
from seneca.database import Transaction
from seneca.errors import CourseNotFound, InvalidInput
from seneca.school import FullMark, Mark, PassMark, SchoolSettings

OWN_MARK: Final = Meta(description="`null`: the school's.")


class Marks(Struct, frozen=True, rename="camel"):
    """A pass mark and a full mark."""

    pass_mark: PassMark
    full_mark: FullMark

    def __post_init__(self) -> None:
        """Make whole marks whole numbers, also after they were sent from the writer process."""
        _make_whole(self)


class CourseSettings(Struct, frozen=True, rename="camel"):
    """A course's settings, and the marks that apply to it."""

    pass_mark: Annotated[PassMark | None, OWN_MARK]
    full_mark: Annotated[FullMark | None, OWN_MARK]
    in_force: Marks

    def __post_init__(self) -> None:
        """Make whole marks whole numbers, as ``Marks`` does."""
        _make_whole(self)


class CourseSettingsChange(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A change of a course's settings. Omitted members stay unchanged."""

    pass_mark: Annotated[PassMark | None, OWN_MARK] | UnsetType = UNSET
    full_mark: Annotated[FullMark | None, OWN_MARK] | UnsetType = UNSET


STORED: Final = "SELECT pass_mark, full_mark FROM courses WHERE id = :id"
UPDATE: Final = "UPDATE courses SET pass_mark = :pass_mark, full_mark = :full_mark WHERE id = :id"


def get(tx: Transaction, identifier: str) -> CourseSettings:
    """Read the settings of the course with this id or title. Raises CourseNotFound."""
    return _combine(*stored(tx, _find(tx, identifier)), school.get(tx))


def change(
    tx: Transaction, actor: Actor, identifier: str, settings_change: CourseSettingsChange, now: int
) -> CourseSettings:
    """Change the settings of a course.

    Args:
        tx: the transaction.
        actor: an administrator, or the command line.
        identifier: the course's id or title.
        settings_change: the change.
        now: milliseconds since 1970.

    Raises:
        Unauthenticated, Forbidden: the actor is no longer a signed-in administrator.
        InvalidInput: the change is empty, or leaves the pass mark above the full mark.
        CourseNotFound: no course has this id or title.

    """
    authorise(tx, actor, "admin")
    if school.is_empty(settings_change):
        raise InvalidInput.field("", "at least one of passMark and fullMark is required")
    school_settings = school.lock(tx)
    course_id = _find(tx, identifier)
    settings = put(tx, course_id, settings_change, school_settings)
    details = school.change_details(settings_change, settings)
    audit.record(tx, actor.id, "course.settings-changed", course_id, now, entry="", **details)
    return settings


def put(
    tx: Transaction, course_id: str, settings_change: CourseSettingsChange, school_settings: SchoolSettings
) -> CourseSettings:
    """Store the marks of a course. Raises InvalidInput if the pass mark would be above the full mark."""
    pass_mark, full_mark = stored(tx, course_id)
    if settings_change.pass_mark is not UNSET:
        pass_mark = _rounded(settings_change.pass_mark)
    if settings_change.full_mark is not UNSET:
        full_mark = _rounded(settings_change.full_mark)
    field = "passMark" if settings_change.pass_mark is not UNSET else "fullMark"
    settings = check(pass_mark, full_mark, school_settings, field)
    tx.execute(UPDATE, id=course_id, pass_mark=_thousandths(pass_mark), full_mark=_thousandths(full_mark))
    return settings


def check(
    pass_mark: Mark | None, full_mark: Mark | None, school_settings: SchoolSettings, field: str
) -> CourseSettings:
    """Make the settings of a course. Raises InvalidInput, for this field, if the pass mark would be above the full mark."""
    settings = _combine(_rounded(pass_mark), _rounded(full_mark), school_settings)
    school.check_marks(settings.in_force.pass_mark, settings.in_force.full_mark, field)
    return settings


def stored(tx: Transaction, course_id: str) -> tuple[Mark | None, Mark | None]:
    """Read the pass mark and the full mark of a course; None: the school's. Raises CourseNotFound."""
    row = tx.fetch_one(STORED, id=course_id)
    if row is None:
        raise CourseNotFound
    pass_mark, full_mark = (None if value is None else school.from_thousandths(value) for value in row)
    return pass_mark, full_mark


def _find(tx: Transaction, identifier: str) -> str:
    row = topics.send_get_head(tx, identifier).fetchone()
    if row is None:
        raise CourseNotFound
    return str(row[0])


def _combine(pass_mark: Mark | None, full_mark: Mark | None, school_settings: SchoolSettings) -> CourseSettings:
    in_force = Marks(
        school_settings.pass_mark if pass_mark is None else pass_mark,
        school_settings.full_mark if full_mark is None else full_mark,
    )
    return CourseSettings(pass_mark, full_mark, in_force)


def _make_whole(marks: Marks | CourseSettings) -> None:
    force_setattr(marks, "pass_mark", _rounded(marks.pass_mark))
    force_setattr(marks, "full_mark", _rounded(marks.full_mark))


def _rounded(mark: Mark | None) -> Mark | None:
    return None if mark is None else school.round_mark(mark)


def _thousandths(mark: Mark | None) -> int | None:
    return None if mark is None else school.to_thousandths(mark)
