"""Times that a device reports with a request, converted to the server's clock.

A device that was offline says when something happened, by its own clock; ``sentAt`` is the time of that clock when it sends the request.
The difference between ``sentAt`` and the server's clock corrects every time of the request, so that a clock that is wrong by
years does no harm.
"""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, UnsetType

from seneca.common.times import DAY_MS, from_iso, time_rule
from seneca.errors import FieldError, TooLate

DeviceTime = Annotated[
    str,
    Meta(
        max_length=64,
        description="ISO 8601 with any offset, by the device's clock.",
        extra_json_schema={"format": "date-time"},
    ),
]


def time_errors(text: object, field: str) -> Iterator[FieldError]:
    """Check the form of a time in a request."""
    if rule := time_rule(text):
        yield FieldError(field, rule)


class DeviceTimes:
    """Converts the times of one request, all of which have the right form (see ``time_errors``).

    Args:
        sent_at: the device's clock when it sent the request. UNSET or None: the device's clock is the server's.
        now: the server's clock, in milliseconds since 1970.
        max_late_days: how long ago a time may be.

    """

    def __init__(self, sent_at: str | UnsetType | None, now: int, max_late_days: int) -> None:
        self._offset = now - from_iso(sent_at) if isinstance(sent_at, str) else 0
        self._now = now
        self._max_late_days = max_late_days
        self._errors: list[FieldError] = []

    def convert(self, text: str | UnsetType | None, field: str) -> int | None:
        """Convert a time to milliseconds since 1970 by the server's clock: a time in the future is now.

        Args:
            text: the time by the device's clock; UNSET or None if the request has none.
            field: the name of its member, for the error.

        Returns:
            The time; None if the request has none.

        """
        if not isinstance(text, str):
            return None
        time = from_iso(text) + self._offset
        if time < self._now - self._max_late_days * DAY_MS:
            self._errors.append(FieldError(field, f"must be at most {self._max_late_days:,} days ago"))
        return min(time, self._now)

    def check(self) -> None:
        """Raise the errors of all conversions.

        Raises:
            TooLate: a time was too long ago.

        """
        if self._errors:
            raise TooLate(self._errors)
