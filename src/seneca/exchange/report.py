"""The result of an import or an export: counts of lines, and the bad ones."""

from typing import Final, Literal

import msgspec
from msgspec import Struct

from seneca.common.text_types import printable
from seneca.errors import CommandError

MAX_LISTED_LINES: Final = 1000
MAX_REASON_CHARACTERS: Final = 400

Outcome = Literal["stored", "updated", "skipped"]


class Count(Struct):
    """Numbers of lines of a kind: newly stored (or exported), updated, and skipped because they equal what is stored."""

    stored: int = 0
    updated: int = 0
    skipped: int = 0

    def count(self, outcome: Outcome) -> None:
        """Count a line."""
        setattr(self, outcome, getattr(self, outcome) + 1)


class BadLine(Struct, frozen=True, order=True):
    """A line that cannot be imported: its number, from 1, and the reason."""

    number: int
    reason: str


class Report(Struct):
    """Counts by kind of line. ``bad`` counts every bad line; ``bad_lines`` lists the first thousand."""

    settings: Count = msgspec.field(default_factory=Count)
    courses: Count = msgspec.field(default_factory=Count)
    users: Count = msgspec.field(default_factory=Count)
    sessions: Count = msgspec.field(default_factory=Count)
    voided: Count = msgspec.field(default_factory=Count)
    bad: int = 0
    bad_lines: list[BadLine] = msgspec.field(default_factory=list)

    @property
    def good(self) -> int:
        """The number of lines that were stored, updated or skipped."""
        counts = (self.settings, self.courses, self.users, self.sessions, self.voided)
        return sum(count.stored + count.updated + count.skipped for count in counts)

    def reject(self, number: int, reason: str) -> None:
        """Add a bad line. The reason may quote the line, so it is made safe to print."""
        self.bad += 1
        if len(self.bad_lines) < MAX_LISTED_LINES:
            self.bad_lines.append(BadLine(number, printable(reason, MAX_REASON_CHARACTERS)))

    def raise_if_bad(self) -> None:
        """Raise BadLines if there are bad lines."""
        if self.bad:
            raise BadLines(self)

    def raise_if_empty(self) -> None:
        """Raise NothingImported if there are no good lines."""
        if not self.good:
            raise NothingImported(self)


class ImportRejected(CommandError):
    """Nothing of a file was stored. ``report`` lists the bad lines."""

    def __init__(self, report: Report, detail: str) -> None:
        self.report = report
        report.bad_lines.sort()
        super().__init__(f"Nothing was imported. {detail}")


class BadLines(ImportRejected):
    """A file has bad lines, so nothing of it was stored."""

    def __init__(self, report: Report) -> None:
        first = min(report.bad_lines)
        more = f" {report.bad - 1:,} more lines are bad." if report.bad > 1 else ""
        super().__init__(report, f"Line {first.number:,}: {first.reason.rstrip('.')}.{more}")


class NothingImported(ImportRejected):
    """A file has no lines, or only bad ones, which were skipped."""

    def __init__(self, report: Report) -> None:
        bad = "The only line is bad." if report.bad == 1 else f"All {report.bad:,} lines are bad."
        super().__init__(report, bad if report.bad else "The file has no lines.")
