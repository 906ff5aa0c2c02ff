"""The line of the school's settings: its validation, and its comparison with what is stored."""

from msgspec import Struct
from msgspec.structs import fields

from seneca import school
from seneca.database import Transaction
from seneca.errors import InvalidInput
from seneca.exchange.report import Outcome
from seneca.school import SchoolSettings, SchoolSettingsChange


class SettingsLine(SchoolSettingsChange, frozen=True, tag_field="kind", tag="settings"):
    """The line of the settings. Omitted members stay as they are."""


class SettingsRecord(Struct, frozen=True, array_like=True, tag="settings"):
    """Settings to store. ``number`` is the line number, from 1."""

    number: int
    change: SchoolSettingsChange


class ExportedSettings(SchoolSettings, frozen=True, tag_field="kind", tag="settings"):
    """The line of the settings in an export."""


def store_settings(tx: Transaction, record: SettingsRecord, *, update: bool) -> Outcome:
    """Store settings.

    Args:
        tx: the transaction.
        record: the settings.
        update: whether settings that differ from those that somebody has changed replace them.

    Raises:
        InvalidInput: they differ from the stored ones, or the pass mark would be above the full mark.

    """
    stored = school.stored(tx)
    settings = record.change.apply_to(stored or SchoolSettings())
    if settings == stored:
        return "skipped"
    if stored is not None and not update:
        member = next(f for f in fields(stored) if getattr(settings, f.name) != getattr(stored, f.name)).encode_name
        raise InvalidInput.field(member, "differs from the stored setting (--update replaces it)")
    school.put(tx, settings)
    return "stored" if stored is None else "updated"
