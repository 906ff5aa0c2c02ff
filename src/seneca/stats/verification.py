"""Verification of the stored totals: recompute them from the recorded rows, report mismatches, rebuild.

All statements follow from the declarations in ``tables``. Verification uses one snapshot, so servers may go on writing.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from itertools import starmap
from typing import Any, Final

import msgspec
from msgspec import Struct

from seneca.common import scores
from seneca.common.study_days import day_of
from seneca.database import Transaction
from seneca.sessions import activity, time_zone
from seneca.sessions.rows import SESSION_COLUMNS, SessionRow
from seneca.stats.tables import LEARNERS_COLUMN, NAMES_TABLES, SESSION_TOTALS, TOTALS_TABLES, NamesTable, TotalsTable


class Comparison(Struct, frozen=True):
    """What is compared in a table: its key, its columns with totals, and the SELECT of the rows that it should have."""

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


# -- what the recorded rows say ----------------------------------------------------------------

SESSION_KEY: Final = ("bucket", "learner_id", "id")
RESULTS_OF_SESSIONS: Final = "results r ON r.bucket = s.bucket AND r.learner_id = s.learner_id AND r.session_id = s.id"
OF_SESSIONS: Final = f"""
SELECT s.bucket, s.learner_id, s.id, {", ".join(f"{sql} AS {column}" for column, sql in SESSION_TOTALS.items())}
FROM sessions s LEFT JOIN {RESULTS_OF_SESSIONS}
GROUP BY s.bucket, s.learner_id, s.id
"""
"""The totals of each session's results."""
SESSIONS: Final = f"""
SELECT {", ".join(f"{'t' if column in SESSION_TOTALS else 's'}.{column}" for column in SessionRow.__struct_fields__)}
FROM sessions s
JOIN ({OF_SESSIONS}) t ON t.bucket = s.bucket AND t.learner_id = s.learner_id AND t.id = s.id
"""
"""Every session as it should be."""


def expected_sums(table: TotalsTable) -> str:
    """Make the SELECT of the sums and numbers of learners that a table should have."""
    computed = [f"sum({column.sql}) AS {column.name}" for column in table.sums]
    if table.counts_learners:
        computed.append(f"count(DISTINCT s.learner_id) AS {LEARNERS_COLUMN}")
    return f"""
SELECT {", ".join(f"{column.sql} AS {column.name}" for column in table.key)},
    {", ".join(computed)}
FROM ({SESSIONS}) s
GROUP BY {", ".join(column.sql for column in table.key)}
"""


def expected_name_counts(table: TotalsTable) -> str:
    """Make the SELECT of the numbers of distinct module names that a table should have."""
    within = [column for column in table.key if column.name in table.names_within]
    return f"""
SELECT {", ".join(f"{column.sql} AS {column.name}" for column in within)}, count(DISTINCT r.module_name) AS names
FROM sessions s JOIN {RESULTS_OF_SESSIONS}
GROUP BY {", ".join(column.sql for column in within)}
"""


def expected_names(table: NamesTable) -> str:
    """Make the SELECT of the rows that a table of module names should have."""
    key = ", ".join(f"{'r' if column == 'module_name' else 's'}.{column}" for column in table.key)
    return f"""
SELECT {key}, {table.counted} AS {table.count}
FROM sessions s JOIN {RESULTS_OF_SESSIONS}
GROUP BY {key}
"""


COMPARISONS: Final = (
    Comparison("sessions", SESSION_KEY, tuple(SESSION_TOTALS), OF_SESSIONS),
    *(Comparison(t.name, t.key_columns, t.computed_columns, expected_sums(t)) for t in TOTALS_TABLES),
    *(Comparison(t.name, t.names_within, ("names",), expected_name_counts(t)) for t in TOTALS_TABLES if t.names_within),
    *(Comparison(t.name, t.key, (t.count,), expected_names(t)) for t in NAMES_TABLES),
)


# -- verifying ---------------------------------------------------------------------------------


def differing_rows(comparison: Comparison) -> str:
    """Make the SELECT of the rows that differ: the key, then each column as stored and as expected, 0 for a missing row."""
    key = ", ".join(comparison.key)
    sums = ", ".join(f"sum(stored_{c}), sum(expected_{c})" for c in comparison.columns)
    stored = ", ".join(f"{c} AS stored_{c}, 0 AS expected_{c}" for c in comparison.columns)
    expected = ", ".join(f"0 AS stored_{c}, {c} AS expected_{c}" for c in comparison.columns)
    differ = " OR ".join(f"sum(stored_{c}) <> sum(expected_{c})" for c in comparison.columns)
    return f"""
SELECT {key}, {sums}
FROM (SELECT {key}, {stored} FROM {comparison.table} UNION ALL SELECT {key}, {expected} FROM ({comparison.expected}) truth) rows_of_both
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


SESSIONS_OF_BUCKET: Final = f"SELECT {SESSION_COLUMNS} FROM sessions WHERE bucket = :bucket"


def mismatched_sessions(tx: Transaction) -> Iterator[Mismatch]:
    """Find the sessions whose active time or study day differs from what their times say."""
    for bucket in range(tx.buckets):
        yield from mismatched_sessions_of_bucket(tx, bucket)


def mismatched_sessions_of_bucket(tx: Transaction, bucket: int) -> Iterator[Mismatch]:
    """As ``mismatched_sessions``, for the learners of a bucket."""
    zone = time_zone.get(tx)
    for row in starmap(SessionRow, tx.stream(SESSIONS_OF_BUCKET, bucket=bucket)):
        intervals = activity.parse(row.activity)
        active_ms = activity.active_ms(row.started_at, row.ended_at, intervals, tx.idle_ms)
        for column, stored, expected in (
            ("active_milliseconds", row.active_milliseconds, active_ms),
            ("study_day", row.study_day, day_of(row.started_at, zone)),
        ):
            if stored != expected:
                key = {"bucket": row.bucket, "learner_id": row.learner_id, "id": row.id}
                yield Mismatch("sessions", key, column, stored, expected)


def mismatched_totals(tx: Transaction, comparison: Comparison) -> Iterator[Mismatch]:
    """Find the totals of a table that differ from the recorded rows."""
    width = len(comparison.key)
    for row in tx.stream(differing_rows(comparison)):
        for column, stored, expected in zip(comparison.columns, row[width::2], row[width + 1 :: 2], strict=True):
            if stored != expected:
                yield Mismatch(comparison.table, dict(zip(comparison.key, row, strict=False)), column, stored, expected)


def mismatches(tx: Transaction, progress: Callable[[str], None] = lambda _: None) -> Iterator[Mismatch]:
    """Find all stored totals that differ from the recorded rows. ``progress`` is called with each table's name first."""
    progress("results")
    yield from mismatched_scores(tx)
    progress("sessions")
    yield from mismatched_sessions(tx)
    for comparison in COMPARISONS:
        progress(comparison.table)
        yield from mismatched_totals(tx, comparison)


# -- rebuilding --------------------------------------------------------------------------------

REBUILD_SESSIONS: Final = f"""
UPDATE sessions SET {", ".join(f"{column} = t.{column}" for column in SESSION_TOTALS)}
FROM ({OF_SESSIONS}) t
WHERE sessions.bucket = t.bucket AND sessions.learner_id = t.learner_id AND sessions.id = t.id
    AND ({" OR ".join(f"sessions.{column} <> t.{column}" for column in SESSION_TOTALS)})
"""


def rebuild_totals(table: TotalsTable) -> Iterator[str]:
    """Make the statements that rebuild a table of totals. Its rows stay: ``name_changes``, the version of cached names, never decreases."""
    key, columns = ", ".join(table.key_columns), ", ".join(table.computed_columns)
    if not table.names_within:
        yield f"DELETE FROM {table.name}"
        yield f"INSERT INTO {table.name} ({key}, {columns}) {expected_sums(table)}"
        return
    zeros = ", ".join(f"{column} = 0" for column in (*table.sum_columns, "names"))
    yield f"UPDATE {table.name} SET {zeros}, name_changes = name_changes + 1"
    yield f"""
INSERT INTO {table.name} ({key}, {columns}, names, name_changes)
SELECT {key}, {columns}, 0, 1 FROM ({expected_sums(table)}) truth WHERE true
ON CONFLICT ({key}) DO UPDATE SET {", ".join(f"{column} = excluded.{column}" for column in table.sum_columns)}
"""
    within = ", ".join(column.sql for column in table.key if column.name in table.names_within)
    first_rows = ", ".join(
        f"{column.sql if column.name in table.names_within else f'min({column.sql})'} AS {column.name}"
        for column in table.key
    )
    yield f"""
UPDATE {table.name} SET names = counted.names
FROM (SELECT {key}, count(*) AS names
      FROM (SELECT {first_rows} FROM sessions s JOIN {RESULTS_OF_SESSIONS} GROUP BY {within}, r.module_name) first_rows
      GROUP BY {key}) counted
WHERE {" AND ".join(f"{table.name}.{column} = counted.{column}" for column in table.key_columns)}
"""


def rebuild_names(table: NamesTable) -> Iterator[str]:
    """Make the statements that rebuild a table of module names."""
    yield f"DELETE FROM {table.name}"
    yield f"INSERT INTO {table.name} ({', '.join(table.key)}, {table.count}) {expected_names(table)}"


REBUILD: Final[Mapping[str, tuple[str, ...]]] = {
    "sessions": (REBUILD_SESSIONS,),
    **{table.name: tuple(rebuild_totals(table)) for table in TOTALS_TABLES},
    **{table.name: tuple(rebuild_names(table)) for table in NAMES_TABLES},
}
SET_RESULT: Final = """
UPDATE results SET {column} = :expected
WHERE bucket = :bucket AND learner_id = :learner_id AND session_id = :session_id AND module_name = :module_name
"""


SET_SESSION: Final = """
UPDATE sessions SET {column} = :expected
WHERE bucket = :bucket AND learner_id = :learner_id AND id = :id
"""


def rebuild(tx: Transaction, progress: Callable[[str], None] = lambda _: None) -> None:
    """Recompute all totals, active times and study days from the recorded rows, table by table."""
    progress("results")
    for mismatch in list(mismatched_scores(tx)):
        tx.execute(SET_RESULT.format(column=mismatch.column), expected=mismatch.expected, **mismatch.key)
    progress("sessions")
    # After a change of the time zone all sessions may differ; those of one bucket fit into memory.
    for bucket in range(tx.buckets):
        mismatches_of_bucket = list(mismatched_sessions_of_bucket(tx, bucket))
        with tx.pipeline():
            for mismatch in mismatches_of_bucket:
                tx.execute_later(SET_SESSION.format(column=mismatch.column), expected=mismatch.expected, **mismatch.key)
    for table, statements in REBUILD.items():
        progress(table)
        for statement in statements:
            tx.execute(statement)
