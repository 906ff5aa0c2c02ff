"""What an import or an export did, line for line."""

from typing import Final

import msgspec
from msgspec import Struct

from seneca.errors import Unusable

MOST_LISTED: Final = 1000
MOST_REASON: Final = 400  # characters


class Count(Struct):
    """How many lines of a kind were stored (or written), and how many were there already."""

    stored: int = 0
    skipped: int = 0

    def count(self, *, stored: bool) -> None:
        """Count a line that was stored, or (not ``stored``) was there already."""
        if stored:
            self.stored += 1
        else:
            self.skipped += 1


class BadLine(Struct, frozen=True, order=True):
    """A line that cannot be imported: its number, from 1, and why not."""

    number: int
    reason: str


class Report(Struct):
    """What happened to the lines. ``bad`` counts every bad line; ``bad_lines`` lists the first thousand found."""

    courses: Count = msgspec.field(default_factory=Count)
    users: Count = msgspec.field(default_factory=Count)
    sessions: Count = msgspec.field(default_factory=Count)
    bad: int = 0
    bad_lines: list[BadLine] = msgspec.field(default_factory=list)

    def refuse(self, number: int, reason: str) -> None:
        """Note a bad line."""
        self.bad += 1
        if len(self.bad_lines) < MOST_LISTED:
            self.bad_lines.append(BadLine(number, reason[:MOST_REASON]))

    def check(self) -> None:
        """See to it that no line was bad.

        Raises:
            BadLines: one was.

        """
        if self.bad:
            raise BadLines(self)


class BadLines(Unusable):
    """A file has lines that cannot be imported, so nothing of it was stored. ``report`` lists them."""

    def __init__(self, report: Report) -> None:
        self.report = report
        report.bad_lines.sort()
        first = report.bad_lines[0]
        more = f" {report.bad - 1:,} more lines are bad." if report.bad > 1 else ""
        super().__init__(f"Nothing was imported. Line {first.number:,}: {first.reason.rstrip('.')}.{more}")
