"""The rows of sessions and of results, as recording, import, export and reading share them.

A column is declared once, as a field of one of these structs; the lists of columns and the INSERTs follow.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from seneca.common import study_days
from seneca.database.statements import insert
from seneca.sessions import activity

EndedBy = Literal["learner", "timeout", "administrator"]
PARTS: Final = ("adaptive", "quiz", "wrong_answers")


class SessionRow(Struct, frozen=True, gc=False, array_like=True):
    """A row of the table ``sessions``: times in milliseconds since 1970, points in thousandths.

    ``idle_since`` is the latest known of the start, the last event and the last reopening of an open session (see ``timeouts``).
    ``activity`` are the intervals of ``activity``, from which ``active_milliseconds`` is computed. ``study_day`` follows from
    ``started_at`` (see ``study_days``). ``scores`` is the number of adaptive and quiz parts, of which ``points`` is the sum.
    """

    bucket: int
    learner_id: str
    id: str
    course_id: str
    course_title: str
    topic: str
    started_at: int
    ended_at: int | None
    ended_by: EndedBy | None
    idle_since: int
    activity: str | None
    active_milliseconds: int
    study_day: int
    results: int
    scores: int
    points: int
    bytes: int

    sessions: ClassVar[int] = 1
    """A session counts as one: a total, as ``results`` and ``points`` are."""

    @property
    def duration_ms(self) -> int:
        """The duration of an ended session; 0 of an open one."""
        return 0 if self.ended_at is None else self.ended_at - self.started_at

    @property
    def study_week(self) -> int:
        """The week of the study day."""
        return study_days.week_of(self.study_day)

    @property
    def last_activity_at(self) -> int:
        """The time of the last event: the start, an update, activity, or the learner's end."""
        last = activity.last_event(self.started_at, activity.parse(self.activity))
        return max(last, self.ended_at) if self.ended_by == "learner" and self.ended_at is not None else last


class ResultRow(Struct, frozen=True, gc=False, array_like=True):
    """A row of the table ``results``, without the session's key.

    The parts are JSON, None if never recorded; scores are in thousandths; times are in milliseconds since 1970, None if a part was
    recorded at an unknown time.
    """

    module_name: str
    position: int
    adaptive: str | None = None
    quiz: str | None = None
    wrong_answers: str | None = None
    adaptive_score: int | None = None
    quiz_score: int | None = None
    adaptive_at: int | None = None
    quiz_at: int | None = None
    wrong_answers_at: int | None = None

    @property
    def points(self) -> int:
        """The sum of the adaptive and the quiz score, in thousandths."""
        return (self.adaptive_score or 0) + (self.quiz_score or 0)

    @property
    def scores(self) -> int:
        """The number of parts with a score: adaptive and quiz."""
        return (self.adaptive is not None) + (self.quiz is not None)

    @property
    def bytes(self) -> int:
        """The size that counts towards the limit of a session: the bytes of the name and the parts."""
        text = f"{self.module_name}{self.adaptive or ''}{self.quiz or ''}{self.wrong_answers or ''}"
        return len(text) if text.isascii() else len(text.encode())  # both calls are O(1) for ASCII text, the usual case

    def as_first(self, position: int, recorded_at: int) -> "ResultRow":
        """Make the row of a module that has no results yet.

        Args:
            position: its place among the session's modules, from 0.
            recorded_at: when these results were recorded, in milliseconds since 1970.

        """
        return replace(
            self,
            position=position,
            adaptive_at=None if self.adaptive is None else recorded_at,
            quiz_at=None if self.quiz is None else recorded_at,
            wrong_answers_at=None if self.wrong_answers is None else recorded_at,
        )

    def merge(self, update: "ResultRow", recorded_at: int | None, *, unknown_at: int, now: int) -> "ResultRow":
        """Make the row in which the parts that the update has replace older ones.

        Args:
            update: new results of the same module.
            recorded_at: when they were recorded, in milliseconds since 1970; None: now, and they are the newest in any case.
            unknown_at: when stored parts without a time count as recorded.
            now: the time.

        """
        times = _Times(recorded_at, unknown_at, now)
        adaptive_at = times.of_newer(update.adaptive, self.adaptive, self.adaptive_at)
        quiz_at = times.of_newer(update.quiz, self.quiz, self.quiz_at)
        wrong_answers_at = times.of_newer(update.wrong_answers, self.wrong_answers, self.wrong_answers_at)
        return ResultRow(
            module_name=self.module_name,
            position=self.position,
            adaptive=self.adaptive if adaptive_at is None else update.adaptive,
            quiz=self.quiz if quiz_at is None else update.quiz,
            wrong_answers=self.wrong_answers if wrong_answers_at is None else update.wrong_answers,
            adaptive_score=self.adaptive_score if adaptive_at is None else update.adaptive_score,
            quiz_score=self.quiz_score if quiz_at is None else update.quiz_score,
            adaptive_at=self.adaptive_at if adaptive_at is None else adaptive_at,
            quiz_at=self.quiz_at if quiz_at is None else quiz_at,
            wrong_answers_at=self.wrong_answers_at if wrong_answers_at is None else wrong_answers_at,
        )


class _Times(Struct, frozen=True, gc=False):
    """The times that decide which of two parts is newer; see ``ResultRow.merge``."""

    recorded_at: int | None
    unknown_at: int
    now: int

    def of_newer(self, text: str | None, stored: str | None, stored_at: int | None) -> int | None:
        """The time at which a part of an update counts as recorded; None if the stored part stays."""
        if text is None:
            return None
        if stored is None:
            return self.now if self.recorded_at is None else self.recorded_at
        if stored_at is None:
            stored_at = self.unknown_at
        if self.recorded_at is None:
            return max(self.now, stored_at)
        if self.recorded_at == stored_at:
            return None if _rank(text) < _rank(stored) else stored_at
        return self.recorded_at if self.recorded_at > stored_at else None


class RecordedResult(Struct, frozen=True, gc=False):
    """New results of a module, and when they were recorded, in milliseconds since 1970; None: now, as the newest ones."""

    row: ResultRow
    recorded_at: int | None = None


class _RankedPart(Struct, frozen=True, rename="camel"):
    is_completed: bool
    score: Any


_ranked_part_decoder: Final = msgspec.json.Decoder(_RankedPart, float_hook=Decimal)


def _rank(text: str) -> tuple[bool, Any, str]:
    """The order of parts that were recorded at the same time: a completed one is greater, then a higher score, then the text."""
    part = _ranked_part_decoder.decode(text)
    return part.is_completed, part.score, text


RECORD_COLUMNS: Final = ("activity", "active_milliseconds", "results", "scores", "points", "bytes")
"""None of them has an index."""
END_COLUMNS: Final = ("ended_at", "ended_by", "idle_since", *RECORD_COLUMNS)
CHANGEABLE_COLUMNS: Final = ("started_at", "study_day", *END_COLUMNS)
KEPT_COLUMNS: Final = ("module_name", "position")  # of a result that is updated
RESULT_KEY: Final = ("bucket", "learner_id", "session_id")
SESSION_COLUMNS: Final = ", ".join(SessionRow.__struct_fields__)
RESULT_COLUMNS: Final = ", ".join(ResultRow.__struct_fields__)

INSERT_SESSION = insert("sessions", SessionRow.__struct_fields__)
INSERT_RESULT = insert("results", (*RESULT_KEY, *ResultRow.__struct_fields__))

RESULT_UPSERT = f"""{INSERT_RESULT}ON CONFLICT (bucket, learner_id, session_id, module_name) DO UPDATE SET
    {", ".join(f"{column} = excluded.{column}" for column in ResultRow.__struct_fields__ if column not in KEPT_COLUMNS)}
"""
SESSION_UPSERT = f"""{INSERT_SESSION}ON CONFLICT (bucket, learner_id, id) DO UPDATE SET
    {", ".join(f"{column} = excluded.{column}" for column in CHANGEABLE_COLUMNS)}
"""

SESSION = f"""
SELECT {SESSION_COLUMNS} FROM sessions WHERE bucket = :bucket AND learner_id = :learner_id AND id = :session_id
"""
RESULTS_OF_MODULES = f"""
SELECT {RESULT_COLUMNS} FROM results
WHERE bucket = :bucket AND learner_id = :learner_id AND session_id = :session_id AND module_name IN (:values)
"""


def _update(columns: Sequence[str]) -> str:
    return f"""
UPDATE sessions SET {", ".join(f"{column} = :{column}" for column in columns)}
WHERE bucket = :bucket AND learner_id = :learner_id AND id = :id
"""


UPDATE_RECORD, UPDATE_END, UPDATE_SESSION = map(_update, (RECORD_COLUMNS, END_COLUMNS, CHANGEABLE_COLUMNS))


def update_statement(before: SessionRow, after: SessionRow) -> str:
    """Choose the UPDATE from one state of a session to another, with the parameters of the latter.

    It names no column of an index that stays as it was: SQLite would write the index again.
    """
    if before.started_at != after.started_at:
        return UPDATE_SESSION
    if (before.ended_at, before.ended_by, before.idle_since) != (after.ended_at, after.ended_by, after.idle_since):
        return UPDATE_END
    return UPDATE_RECORD
