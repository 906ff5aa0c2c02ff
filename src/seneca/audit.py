"""Who did what to whom: an entry for every administrative act, written in the transaction that does it.

Entries hold identifiers, roles and counts, never a name, an address, a password or a title: what is erased must not live
on here.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from seneca.common import units
from seneca.common.text_types import CursorText
from seneca.common.units import Moment
from seneca.database import Row, Transaction

Action = Literal[
    "account.registered",
    "account.role-changed",
    "account.password-changed",
    "account.password-set",
    "account.exported",
    "account.erased",
    "course.created",
    "course.changed",
    "course.deleted",
    "data.imported",
    "data.exported",
    "data.backed-up",
    "data.restored",
    "erasures.replayed",
    "figures.rebuilt",
    "keys.forgotten",
    "sessions.retained",
]
Detail = int | str
"""A count, a role, an identifier, a time."""

WHOLE_DATABASE: Final = ""
"""The subject of what concerns the whole database."""


class AuditEntry(Struct, frozen=True, rename="camel"):
    """An act, as it is shown."""

    id: str
    at: str
    actor: Annotated[str | None, Meta(description="Who did it, an account's id; `null`: from the shell.")]
    act: Action
    subject: Annotated[
        str | None, Meta(description="To whom or what, an account's or a course's id; `null`: the whole database.")
    ]
    facts: Annotated[dict[str, Detail], Meta(description="Roles, counts, times.")]


PUT = """
INSERT INTO audit (bucket, id, at, actor, act, subject, facts)
VALUES (:bucket, :id, :now, :actor, :act, :subject, :facts)
ON CONFLICT (bucket, id) DO UPDATE SET facts = excluded.facts
"""


def record(
    tx: Transaction, actor: str | None, act: Action, subject: str, now: int, *, entry: str = "", **facts: Detail
) -> str:
    """Record an act.

    Args:
        tx: the transaction that does it.
        actor: who does it, an account's id; None: whoever is at the shell.
        act: what is done.
        subject: to whom or to what, an account's or a course's id, or ``WHOLE_DATABASE``.
        now: milliseconds since 1970.
        entry: of an act that takes several transactions, the entry that its first one made: its facts become these.
        facts: counts, roles, times, identifiers. Nothing that a person is called.

    Returns:
        The entry's id.

    """
    id_ = entry or units.new_id()
    tx.execute_later(
        PUT,
        bucket=units.bucket_of(subject, tx.buckets),
        id=id_,
        now=now,
        actor=actor,
        act=act,
        subject=subject,
        facts=msgspec.json.encode(facts).decode(),
    )
    return id_


COLUMNS = "id, at, actor, act, subject, facts"
PAGE = f"""
SELECT {COLUMNS} FROM audit
WHERE (at, id) < (:before_time, :before_id)
ORDER BY at DESC, id DESC
LIMIT :limit
"""
ABOUT = f"SELECT {COLUMNS} FROM audit WHERE subject = :id OR actor = :id ORDER BY at, id"

Place = tuple[Moment, CursorText]
"""Where a page of entries ends: time, id."""
NEWEST: Final[Place] = (units.LATEST, "~")


class Page(Struct, frozen=True):
    """Some entries, and the place after which there are more (None: these are the last)."""

    entries: list[AuditEntry]
    more_after: Place | None


def page(tx: Transaction, after: Place, limit: int) -> Page:
    """Entries, the newest first."""
    rows = tx.fetch_all(PAGE, before_time=after[0], before_id=after[1], limit=limit + 1)
    shown = rows[:limit]
    return Page([_entry(row) for row in shown], (shown[-1][1], shown[-1][0]) if len(rows) > limit else None)


def about(tx: Transaction, account_id: str) -> list[AuditEntry]:
    """What was done by an account or to it, the oldest first."""
    return [_entry(row) for row in tx.stream(ABOUT, id=account_id)]


def _entry(row: Row) -> AuditEntry:
    id_, at, actor, act, subject, facts = row
    return AuditEntry(id_, units.iso(at), actor, act, subject or None, msgspec.json.decode(facts))
