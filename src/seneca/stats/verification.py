"""Verification of the stored totals: recompute them from the recorded rows, report mismatches, rebuild.

Each table of totals is declared with the SELECT that defines its rows. Verification uses one snapshot, so servers may go on
writing.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from seneca.common import scores
from seneca.database import Transaction


class TotalsTable(Struct, frozen=True):
    """A table of totals: its key, its columns with totals, and the SELECT of the rows that it should have."""

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    expected: str


class Mismatch(Struct, frozen=True):
    """A stored total that differs from the recorded rows."""

    table: str
    key: Mapping[str, object]
    column: str
    stored: int | None
    expected: int | None

    def __str__(self) -> str:
        key = ", ".join(f"{name} {value}" for name, value in self.key.items())
        return f"{self.table} ({key}): {self.column} is {self.stored}, should be {self.expected}"


# The totals of each session's results: sizes in bytes, points in thousandths.
OF_SESSIONS: Final = """
SELECT s.bucket, s.learner_id, s.id,
    count(r.session_id) AS results,
    coalesce(sum(coalesce(r.adaptive_score, 0) + coalesce(r.quiz_score, 0)), 0) AS points,
    coalesce(sum(octet_length(r.module_name) + coalesce(octet_length(r.adaptive), 0)
        + coalesce(octet_length(r.quiz), 0) + coalesce(octet_length(r.wrong_answers), 0)), 0) AS bytes
FROM sessions s
LEFT JOIN results r ON r.bucket = s.bucket AND r.learner_id = s.learner_id AND r.session_id = s.id
GROUP BY s.bucket, s.learner_id, s.id
"""
OF_LEARNERS_NAMES: Final = """
SELECT s.bucket, s.learner_id, s.course_id, r.module_name, count(*) AS results
FROM sessions s
JOIN results r ON r.bucket = s.bucket AND r.learner_id = s.learner_id AND r.session_id = s.id
GROUP BY s.bucket, s.learner_id, s.course_id, r.module_name
"""
OF_LEARNERS: Final = f"""
SELECT s.bucket, s.learner_id, s.course_id,
    count(*) AS sessions,
    sum(t.results) AS results,
    sum(t.points) AS points,
    sum(coalesce(s.ended_at - s.started_at, 0)) AS milliseconds,
    coalesce(max(n.names), 0) AS names
FROM sessions s
JOIN ({OF_SESSIONS}) t ON t.bucket = s.bucket AND t.learner_id = s.learner_id AND t.id = s.id
LEFT JOIN (SELECT bucket, learner_id, course_id, count(*) AS names FROM ({OF_LEARNERS_NAMES}) named
           GROUP BY bucket, learner_id, course_id) n
    ON n.bucket = s.bucket AND n.learner_id = s.learner_id AND n.course_id = s.course_id
GROUP BY s.bucket, s.learner_id, s.course_id
"""
OF_COURSES: Final = f"""
SELECT s.course_id, s.bucket,
    count(*) AS sessions,
    sum(t.results) AS results,
    sum(t.points) AS points,
    sum(coalesce(s.ended_at - s.started_at, 0)) AS milliseconds
FROM sessions s
JOIN ({OF_SESSIONS}) t ON t.bucket = s.bucket AND t.learner_id = s.learner_id AND t.id = s.id
GROUP BY s.course_id, s.bucket
"""
OF_COURSES_NAME_COUNTS: Final = """
SELECT s.course_id, count(DISTINCT r.module_name) AS names
FROM sessions s
JOIN results r ON r.bucket = s.bucket AND r.learner_id = s.learner_id AND r.session_id = s.id
GROUP BY s.course_id
"""
OF_COURSES_NAMES: Final = """
SELECT s.course_id, r.module_name, s.bucket, count(DISTINCT s.learner_id) AS learners
FROM sessions s
JOIN results r ON r.bucket = s.bucket AND r.learner_id = s.learner_id AND r.session_id = s.id
GROUP BY s.course_id, r.module_name, s.bucket
"""

TOTALS_TABLES: Final = (
    TotalsTable("sessions", ("bucket", "learner_id", "id"), ("results", "points", "bytes"), OF_SESSIONS),
    TotalsTable(
        "learner_totals",
        ("bucket", "learner_id", "course_id"),
        ("sessions", "results", "points", "milliseconds", "names"),
        OF_LEARNERS,
    ),
    TotalsTable("learner_names", ("bucket", "learner_id", "course_id", "module_name"), ("results",), OF_LEARNERS_NAMES),
    TotalsTable(
        "course_totals", ("course_id", "bucket"), ("sessions", "results", "points", "milliseconds"), OF_COURSES
    ),
    TotalsTable("course_totals", ("course_id",), ("names",), OF_COURSES_NAME_COUNTS),
    TotalsTable("course_names", ("course_id", "module_name", "bucket"), ("learners",), OF_COURSES_NAMES),
)


def comparison(totals: TotalsTable) -> str:
    """Make the SELECT of the rows that differ: the key, then each column as stored and as expected, 0 for a missing row."""
    key = ", ".join(totals.key)
    sums = ", ".join(f"sum(stored_{c}), sum(expected_{c})" for c in totals.columns)
    stored = ", ".join(f"{c} AS stored_{c}, 0 AS expected_{c}" for c in totals.columns)
    expected = ", ".join(f"0 AS stored_{c}, {c} AS expected_{c}" for c in totals.columns)
    differ = " OR ".join(f"sum(stored_{c}) <> sum(expected_{c})" for c in totals.columns)
    return f"""
SELECT {key}, {sums}
FROM (SELECT {key}, {stored} FROM {totals.table} UNION ALL SELECT {key}, {expected} FROM ({totals.expected}) truth) rows_of_both
GROUP BY {key}
HAVING {differ}
"""


PARTS: Final = """
SELECT bucket, learner_id, session_id, module_name, adaptive, adaptive_score, quiz, quiz_score FROM results
"""


class _Scored(Struct):
    score: Any


_decoder: Final = msgspec.json.Decoder(_Scored, float_hook=Decimal)


def mismatched_scores(tx: Transaction) -> Iterator[Mismatch]:
    """Find the stored scores that differ from the JSON of their part."""
    for bucket, learner_id, session_id, module_name, *parts in tx.stream(PARTS):
        for column, part, stored in (("adaptive_score", *parts[:2]), ("quiz_score", *parts[2:])):
            expected = None if part is None else scores.to_thousandths(_decoder.decode(part).score)
            if stored != expected:
                key = {
                    "bucket": bucket,
                    "learner_id": learner_id,
                    "session_id": session_id,
                    "module_name": module_name,
                }
                yield Mismatch("results", key, column, stored, expected)


def mismatched_totals(tx: Transaction, totals: TotalsTable) -> Iterator[Mismatch]:
    """Find the totals of a table that differ from the recorded rows."""
    width = len(totals.key)
    for row in tx.stream(comparison(totals)):
        for column, stored, expected in zip(totals.columns, row[width::2], row[width + 1 :: 2], strict=True):
            if stored != expected:
                yield Mismatch(totals.table, dict(zip(totals.key, row, strict=False)), column, stored, expected)


def mismatches(tx: Transaction, progress: Callable[[str], None] = lambda _: None) -> Iterator[Mismatch]:
    """Find all stored totals that differ from the recorded rows. ``progress`` is called with each table's name first."""
    progress("results")
    yield from mismatched_scores(tx)
    for totals in TOTALS_TABLES:
        progress(totals.table)
        yield from mismatched_totals(tx, totals)


# -- rebuilding --------------------------------------------------------------------------------

REBUILD: Final = {
    "sessions": f"""
UPDATE sessions SET results = t.results, points = t.points, bytes = t.bytes
FROM ({OF_SESSIONS}) t
WHERE sessions.bucket = t.bucket AND sessions.learner_id = t.learner_id AND sessions.id = t.id
    AND (sessions.results <> t.results OR sessions.points <> t.points OR sessions.bytes <> t.bytes)
""",
    # name_changes never decreases: it is the version of cached names
    "learner_totals": f"""
UPDATE learner_totals SET sessions = 0, results = 0, points = 0, milliseconds = 0, names = 0,
    name_changes = name_changes + 1;
INSERT INTO learner_totals
    (bucket, learner_id, course_id, sessions, results, points, milliseconds, names, name_changes)
SELECT bucket, learner_id, course_id, sessions, results, points, milliseconds, names, 1
FROM ({OF_LEARNERS}) truth WHERE true
ON CONFLICT (bucket, learner_id, course_id) DO UPDATE SET sessions = excluded.sessions, results = excluded.results,
    points = excluded.points, milliseconds = excluded.milliseconds, names = excluded.names
""",
    "learner_names": f"""
DELETE FROM learner_names;
INSERT INTO learner_names (bucket, learner_id, course_id, module_name, results)
{OF_LEARNERS_NAMES}
""",
    "course_totals": f"""
UPDATE course_totals SET sessions = 0, results = 0, points = 0, milliseconds = 0, names = 0,
    name_changes = name_changes + 1;
INSERT INTO course_totals (course_id, bucket, sessions, results, points, milliseconds, names, name_changes)
SELECT course_id, bucket, sessions, results, points, milliseconds, 0, 1 FROM ({OF_COURSES}) truth WHERE true
ON CONFLICT (course_id, bucket) DO UPDATE SET sessions = excluded.sessions, results = excluded.results,
    points = excluded.points, milliseconds = excluded.milliseconds;
UPDATE course_totals SET names = counted.names
FROM (SELECT course_id, bucket, count(*) AS names
      FROM (SELECT course_id, min(bucket) AS bucket FROM ({OF_COURSES_NAMES}) named GROUP BY course_id, module_name) firsts
      GROUP BY course_id, bucket) counted
WHERE course_totals.course_id = counted.course_id AND course_totals.bucket = counted.bucket
""",
    "course_names": f"""
DELETE FROM course_names;
INSERT INTO course_names (course_id, module_name, bucket, learners)
{OF_COURSES_NAMES}
""",
}
SET_SCORE: Final = """
UPDATE results SET {column} = :expected
WHERE bucket = :bucket AND learner_id = :learner_id AND session_id = :session_id AND module_name = :module_name
"""


def rebuild(tx: Transaction, progress: Callable[[str], None] = lambda _: None) -> None:
    """Recompute all totals from the recorded rows, table by table."""
    progress("results")
    for mismatch in list(mismatched_scores(tx)):
        tx.execute(SET_SCORE.format(column=mismatch.column), expected=mismatch.expected, **mismatch.key)
    for table, statements in REBUILD.items():
        progress(table)
        for statement in statements.split(";"):
            tx.execute(statement)
