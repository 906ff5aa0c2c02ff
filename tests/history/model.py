"""What Seneca should answer, from a plain dictionary: nothing is kept that could be computed, nothing rounds."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

Part = dict[str, Any]
PARTS = ("adaptive", "quiz", "wrongAnswers")
NEVER_GIVEN: Part = {"answers": [], "isCompleted": False, "score": 0}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(eq=False)
class Learner:
    id: str
    token: str = field(repr=False)


@dataclass(eq=False)
class Course:
    id: str
    title: str
    qualification: str
    topics: list[dict[str, Any]]
    created_at: str

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "courseTitle": self.title,
            "qualification": self.qualification,
            "topicsAndModules": self.topics,
            "createdAt": self.created_at,
        }


@dataclass(eq=False)
class Session:
    """One learner's study of one course. Times are milliseconds since 1970."""

    id: str
    learner: Learner
    course: Course
    course_title: str
    topic: str
    start: int
    end: int | None = None
    results: dict[str, dict[str, Part]] = field(default_factory=dict)

    @property
    def points(self) -> Decimal:
        return sum(
            (Decimal(score(r, "adaptive")) + Decimal(score(r, "quiz")) for r in self.results.values()), Decimal()
        )

    @property
    def milliseconds(self) -> int:
        return 0 if self.end is None else self.end - self.start

    def merge(self, modules: list[dict[str, Any]]) -> None:
        for module in modules:
            result = self.results.setdefault(module["moduleName"], {})
            for name in PARTS:
                if module.get(name) not in (None, []):
                    result[name] = shown_part(module[name])

    def shown_result(self, name: str) -> dict[str, Any]:
        return {"moduleName": name} | {part: self.results[name].get(part, NEVER_GIVEN) for part in PARTS}

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "userId": self.learner.id,
            "courseId": self.course.id,
            "courseTitle": self.course_title,
            "topic": self.topic,
            "sessionStart": iso(self.start),
            "sessionEnd": None if self.end is None else iso(self.end),
            "isEnd": self.end is not None,
            "sessionPoints": number(self.points),
            "modulesStats": [self.shown_result(name) for name in self.results],
        }


def score(result: dict[str, Part], part: str) -> int | Decimal:
    value: int | Decimal = result.get(part, NEVER_GIVEN)["score"]
    return value


def shown_part(given: Part) -> Part:
    whole = NEVER_GIVEN | given
    return whole | {"score": number(Decimal(whole["score"]))}


def number(value: Decimal) -> int | Decimal:
    """As it is written: whole where it is whole."""
    return int(value) if value == value.to_integral_value() else value


def read_json(text: str) -> Any:
    """JSON with exact numbers; a whole number with a fraction (82.0) is an error."""

    def exact(literal: str) -> Decimal:
        value = Decimal(literal)
        assert value != value.to_integral_value(), f"{literal} is whole"
        return value

    return json.loads(text, parse_float=exact)


def iso(milliseconds: int) -> str:
    text = (EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def milliseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


class Model:
    """Everything that was acknowledged."""

    def __init__(self) -> None:
        self.learners: list[Learner] = []
        self.courses: list[Course] = []
        self.sessions: list[Session] = []

    def of(self, learner: Learner | None = None, course: Course | None = None, id: str | None = None) -> list[Session]:
        """Sessions as they are listed: by start, then id, then learner."""
        found = [
            s
            for s in self.sessions
            if (learner is None or s.learner is learner)
            and (course is None or s.course is course)
            and (id is None or s.id == id)
        ]
        return sorted(found, key=lambda s: (s.start, s.id, s.learner.id))

    def find(self, learner: Learner, id: str) -> Session | None:
        return next(iter(self.of(learner, id=id)), None)


def statistics(sessions: list[Session]) -> dict[str, Any]:
    """The statistics object of sessions."""
    names = sorted({name for s in sessions for name in s.results})
    results = sum(len(s.results) for s in sessions)
    points = sum((s.points for s in sessions), Decimal())
    minutes = sum(s.milliseconds for s in sessions) // 60_000
    mean = float(Fraction(points) / 2 / results) if results else 0.0  # rounds once, to the nearest
    return {
        "moduleAmount": {"totalModulesStudied": len(names), "moduleNames": names},
        "sessionTime": {"totalDuration": f"{minutes // 60} hours {minutes % 60} minutes", "timeInMinutes": minutes},
        "scores": {"totalSessionPoints": number(points), "overallAverageScore": number(Decimal(repr(mean)))},
    }


def totals(sessions: list[Session]) -> tuple[int, ...]:
    """What is kept of sessions: how many, results, points in thousandths, milliseconds, names."""
    return (
        len(sessions),
        sum(len(s.results) for s in sessions),
        int(sum((s.points for s in sessions), Decimal()) * 1000),
        sum(s.milliseconds for s in sessions),
        len({name for s in sessions for name in s.results}),
    )
