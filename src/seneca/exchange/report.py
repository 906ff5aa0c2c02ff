"""What an import or an export did, line for line."""

from typing import Final, Literal

import msgspec
from msgspec import Struct

from seneca.common.text_types import printable
from seneca.errors import CommandError

MAX_LISTED: Final = 1000
MAX_REASON_CHARACTERS: Final = 400  # characters

Outcome = Literal["stored", "updated", "skipped"]


class Count(Struct):
    """How many lines of a kind were stored (or written), how many replaced what was stored, and how many were there already."""

    stored: int = 0
    updated: int = 0
    skipped: int = 0

    def count(self, outcome: Outcome) -> None:
        """Count a line."""
        setattr(self, outcome, getattr(self, outcome) + 1)


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

    @property
    def good(self) -> int:
        """How many lines were stored, replaced what was stored, or were there already."""
        counts = (self.courses, self.users, self.sessions)
        return sum(count.stored + count.updated + count.skipped for count in counts)

    def refuse(self, number: int, reason: str) -> None:
        """Note a bad line. Its reason may quote the line, so it is made safe to print."""
        self.bad += 1
        if len(self.bad_lines) < MAX_LISTED:
            self.bad_lines.append(BadLine(number, printable(reason, MAX_REASON_CHARACTERS)))

    def check(self) -> None:
        """Check that no line was bad. Raises BadLines."""
        if self.bad:
            raise BadLines(self)

    def check_any(self) -> None:
        """Check that there was a line that is not bad. Raises NothingImported."""
        if not self.good:
            raise NothingImported(self)


class ImportRefused(CommandError):
    """Nothing of a file was stored. ``internal_error_response`` lists its bad lines."""

    def __init__(self, report: Report, detail: str) -> None:
        self.report = report
        report.bad_lines.sort()
        super().__init__(f"Nothing was imported. {detail}")


class BadLines(ImportRefused):
    """A file has lines that cannot be imported, so nothing of it was stored."""

    def __init__(self, report: Report) -> None:
        first = min(report.bad_lines)
        more = f" {report.bad - 1:,} more lines are bad." if report.bad > 1 else ""
        super().__init__(report, f"Line {first.number:,}: {first.reason.rstrip('.')}.{more}")


class NothingImported(ImportRefused):
    """A file has no line, or only bad ones, all of which were left out."""

    def __init__(self, report: Report) -> None:
        bad = "The only line is bad." if report.bad == 1 else f"All {report.bad:,} lines are bad."
        super().__init__(report, bad if report.bad else "The file has no lines.")
