"""Sessions as a table: one row for each module result."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from seneca.http.table_files import Cell
from seneca.http.tables import Table, to_cell
from seneca.sessions.queries import Session
from seneca.sessions.results import EMPTY_PART

SESSION_COLUMNS: Final = (
    "id",
    "userId",
    "courseId",
    "courseTitle",
    "topic",
    "sessionStart",
    "sessionEnd",
    "isEnd",
    "sessionPoints",
    "lastActivityAt",
    "activeMinutes",
    "endedBy",
)
PARTS: Final = ("adaptive", "quiz", "wrongAnswers")
PART_MEMBERS: Final = ("score", "isCompleted", "answers")


class _Part(Struct, rename="camel"):
    score: Any
    is_completed: bool
    answers: Raw


_decoder: Final = msgspec.json.Decoder(_Part, float_hook=Decimal)


def rows(session: Session) -> Iterator[Sequence[Cell]]:
    """The rows of a session: one for each module, or one if it has no results. Cells of a part that was never recorded are empty."""
    cells = (
        session.id,
        session.user_id,
        session.course_id,
        session.course_title,
        session.topic,
        session.session_start,
        session.session_end,
        session.is_end,
        session.session_points,
        session.last_activity_at,
        session.active_minutes,
        session.ended_by,
    )
    for module in session.modules_stats:
        parts = (module.adaptive, module.quiz, module.wrong_answers)
        yield *cells, module.module_name, *(cell for part in parts for cell in _part_cells(part))
    if not session.modules_stats:
        yield *cells, *[None] * (1 + len(PARTS) * len(PART_MEMBERS))


def _part_cells(part: Raw) -> Sequence[Cell]:
    if part is EMPTY_PART:  # a part that was recorded without answers has the same text, and zero is its score
        return [None] * len(PART_MEMBERS)
    decoded = _decoder.decode(part)
    return decoded.score, decoded.is_completed, to_cell(decoded.answers)


SESSIONS: Final = Table(
    "sessions",
    [*SESSION_COLUMNS, "moduleName", *(f"{part}.{member}" for part in PARTS for member in PART_MEMBERS)],
    rows,
)
