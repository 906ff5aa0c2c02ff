"""The database's time zone, in which study days are calendar days. Sessions refer to it, so it is fixed while there are any."""

from typing import Final
from zoneinfo import ZoneInfo

from seneca.common.study_days import to_zone
from seneca.database import PendingResult, Transaction

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
