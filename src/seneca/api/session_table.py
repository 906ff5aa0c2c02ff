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

SESSION_FIELDS: Final = [field for field in msgspec.structs.fields(Session) if field.name != "modules_stats"]
PARTS: Final = ("adaptive", "quiz", "wrongAnswers")
PART_MEMBERS: Final = ("score", "isCompleted", "answers")
MODULE_COLUMNS: Final = ("moduleName", *(f"{part}.{member}" for part in PARTS for member in PART_MEMBERS))


class _Part(Struct, rename="camel"):
    score: Any
    is_completed: bool
    answers: Raw


_decoder: Final = msgspec.json.Decoder(_Part, float_hook=Decimal)


def rows(session: Session) -> Iterator[Sequence[Cell]]:
    """The rows of a session: one for each module, or one if it has no results. Cells of a part that was never recorded are empty."""
    cells = [getattr(session, field.name) for field in SESSION_FIELDS]
    for module in session.modules_stats:
        parts = (module.adaptive, module.quiz, module.wrong_answers)
        yield [*cells, module.module_name, *(cell for part in parts for cell in _part_cells(part))]
    if not session.modules_stats:
        yield [*cells, *[None] * len(MODULE_COLUMNS)]


def _part_cells(part: Raw) -> Sequence[Cell]:
    if part is EMPTY_PART:  # a part that was recorded without answers has the same text, and zero is its score
        return [None] * len(PART_MEMBERS)
    decoded = _decoder.decode(part)
    return decoded.score, decoded.is_completed, to_cell(decoded.answers)


SESSIONS: Final = Table("sessions", [*(field.encode_name for field in SESSION_FIELDS), *MODULE_COLUMNS], rows)
