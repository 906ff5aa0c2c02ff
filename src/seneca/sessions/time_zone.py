"""The database's time zone, in which study days are calendar days. Sessions refer to it, so it is fixed while there are any."""

from typing import Final
from zoneinfo import ZoneInfo

from seneca.common.study_days import to_zone
from seneca.database import PendingResult, Transaction
from seneca.errors import CommandError, TimeZoneInUse

TIME_ZONE: Final = "SELECT value FROM properties WHERE name = 'time-zone'"


def send_get(tx: Transaction) -> PendingResult:
    """Send the query for the time zone, for ``of_result``. It is read in each transaction, since another process may change it."""
    return tx.send(TIME_ZONE)


def of_result(result: PendingResult) -> ZoneInfo:
    """The time zone of a result of ``send_get``."""
    row = result.fetchone()
    return to_zone("UTC" if row is None else row[0])


def get(tx: Transaction) -> ZoneInfo:
    """Read the time zone."""
    return of_result(send_get(tx))


def check(tx: Transaction, name: str) -> None:
    """Check that the database has the time zone that is configured; an empty name is none.

    Raises:
        CommandError: it has another one.

    """
    zone = get(tx).key
    if name and name != zone:
        raise CommandError(
            f"The study days of this database are those of {zone}, and SENECA_TIME_ZONE is {name}. Set it to {zone}, or run "
            f"seneca stats rebuild --time-zone {name}, which assigns all sessions to their days again."
        )


PUT_TIME_ZONE: Final = """
INSERT INTO properties (name, value) VALUES ('time-zone', :name) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""


def change(tx: Transaction, name: str) -> None:
    """Change the time zone, while no other transaction writes. ``verification.rebuild`` then assigns the sessions to their days."""
    tx.execute(PUT_TIME_ZONE, name=name)


ANY_SESSION: Final = "SELECT 1 FROM sessions LIMIT 1"


def change_while_unused(tx: Transaction, name: str) -> None:
    """Change the time zone if there are no sessions, while no other transaction writes.

    Raises:
        TimeZoneInUse: there are sessions, and the time zone is another.

    """
    if name == get(tx).key:
        return
    if tx.fetch_one(ANY_SESSION):
        raise TimeZoneInUse("There are sessions. To change the time zone, run seneca stats rebuild --time-zone.")
    change(tx, name)
