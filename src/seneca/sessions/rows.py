"""The rows of sessions and of results, as recording, import, export and reading share them.

A column is declared once, as a field of one of these structs; the lists of columns and the INSERTs follow.
"""

from typing import ClassVar, Final

from msgspec import Struct

from seneca.database.statements import insert


class SessionRow(Struct, frozen=True, gc=False, array_like=True):
    """A row of the table ``sessions``: times in milliseconds since 1970, points in thousandths."""

    bucket: int
    learner_id: str
    id: str
    course_id: str
    course_title: str
    topic: str
    started_at: int
    ended_at: int | None
    results: int
    points: int
    bytes: int

    sessions: ClassVar[int] = 1
    """A session counts as one: a total, as ``results`` and ``points`` are."""

    @property
    def duration_ms(self) -> int:
        """The duration of an ended session; 0 of an open one."""
        return 0 if self.ended_at is None else self.ended_at - self.started_at


class ResultRow(Struct, frozen=True, gc=False, array_like=True):
    """A row of the table ``results``, without the session's key: the parts as JSON, None if never recorded; scores in thousandths."""

    module_name: str
    position: int
    adaptive: str | None
    quiz: str | None
    wrong_answers: str | None
    adaptive_score: int | None
    quiz_score: int | None

    @property
    def points(self) -> int:
        """The sum of the adaptive and the quiz score, in thousandths."""
        return (self.adaptive_score or 0) + (self.quiz_score or 0)

    @property
    def bytes(self) -> int:
        """The size that counts towards the limit of a session: the bytes of the name and the parts."""
        return _size(self.module_name) + _size(self.adaptive) + _size(self.quiz) + _size(self.wrong_answers)

    def merge(self, update: "ResultRow") -> "ResultRow":
        """Make the row in which the parts that the update has replace the stored ones."""
        return ResultRow(
            module_name=self.module_name,
            position=self.position,
            adaptive=self.adaptive if update.adaptive is None else update.adaptive,
            quiz=self.quiz if update.quiz is None else update.quiz,
            wrong_answers=self.wrong_answers if update.wrong_answers is None else update.wrong_answers,
            adaptive_score=self.adaptive_score if update.adaptive is None else update.adaptive_score,
            quiz_score=self.quiz_score if update.quiz is None else update.quiz_score,
        )


def _size(text: str | None) -> int:
    if text is None:
        return 0
    return len(text) if text.isascii() else len(text.encode())  # both calls are O(1) for ASCII text, the usual case


RESULT_KEY: Final = ("bucket", "learner_id", "session_id")
SESSION_COLUMNS: Final = ", ".join(SessionRow.__struct_fields__)
RESULT_COLUMNS: Final = ", ".join(ResultRow.__struct_fields__)

INSERT_SESSION = insert("sessions", SessionRow.__struct_fields__)
INSERT_RESULT = insert("results", (*RESULT_KEY, *ResultRow.__struct_fields__))

SESSION = f"""
SELECT {SESSION_COLUMNS} FROM sessions WHERE bucket = :bucket AND learner_id = :learner_id AND id = :session_id
"""
