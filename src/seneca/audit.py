"""The audit log: one entry for each administrative action, written in the transaction that performs the action.

Entries hold identifiers, roles, counts and times, never a name, an address, a password or a title, so that nothing of an
erased account remains here.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from seneca.common.ids import bucket_of, new_id
from seneca.common.pages import Page
from seneca.common.text_types import CursorText
from seneca.common.times import LATEST_MS, TimeMs, to_iso
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
    "course.settings-changed",
    "data.imported",
    "data.exported",
    "data.backed-up",
    "data.restored",
    "erasures.replayed",
    "figures.rebuilt",
    "keys.forgotten",
    "session.corrected",
    "session.voided",
    "sessions.retained",
    "settings.changed",
]
Detail = int | str
"""A count, a role, an identifier or a time."""

WHOLE_DATABASE: Final = ""
"""The target of an action that concerns the whole database."""


class AuditEntry(Struct, frozen=True, rename={"action": "act", "target": "subject", "details": "facts"}):
    """An audit entry, as clients see it."""

    id: str
    at: str
    actor: Annotated[str | None, Meta(description="The id of the acting account; `null`: the command line.")]
    action: Action
    target: Annotated[
        str | None, Meta(description="The id of the affected account or course; `null`: the whole database.")
    ]
    details: Annotated[dict[str, Detail], Meta(description="Roles, counts, times, settings.")]


PUT = """
INSERT INTO audit (bucket, id, at, actor, act, subject, facts)
VALUES (:bucket, :id, :now, :actor, :action, :target, :details)
ON CONFLICT (bucket, id) DO UPDATE SET facts = excluded.facts
"""


def record(
    tx: Transaction, actor: str | None, action: Action, target: str, now: int, *, entry: str = "", **details: Detail
) -> str:
    """Record an action.

    Args:
        tx: the transaction that performs it.
        actor: the id of the acting account; None: the command line.
        action: its name.
        target: the id of the affected account or course, or ``WHOLE_DATABASE``.
        now: milliseconds since 1970.
        entry: for an action of several transactions, the id that the first call returned: that entry's details are replaced.
        details: counts, roles, times, identifiers; never a name.

    Returns:
        The entry's id.

    """
    id_ = entry or new_id()
    tx.execute_later(
        PUT,
        bucket=bucket_of(target, tx.buckets),
        id=id_,
        now=now,
        actor=actor,
        action=action,
        target=target,
        details=msgspec.json.encode(details).decode(),
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

Cursor = tuple[TimeMs, CursorText]
"""The time and id of the last entry of a page."""
FIRST_PAGE: Final[Cursor] = (LATEST_MS, "~")


def page(tx: Transaction, after: Cursor, limit: int) -> Page[AuditEntry, Cursor]:
    """List entries, newest first."""
    rows = tx.fetch_all(PAGE, before_time=after[0], before_id=after[1], limit=limit + 1)
    page_rows = rows[:limit]
    cursor = (page_rows[-1][1], page_rows[-1][0]) if len(rows) > limit else None
    return Page([_entry(row) for row in page_rows], cursor)


def about(tx: Transaction, account_id: str) -> list[AuditEntry]:
    """List the entries of which an account is the actor or the target, oldest first."""
    return [_entry(row) for row in tx.stream(ABOUT, id=account_id)]


def _entry(row: Row) -> AuditEntry:
    id_, at, actor, action, target, details = row
    return AuditEntry(id_, to_iso(at), actor, action, target or None, msgspec.json.decode(details))
