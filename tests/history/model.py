"""What Seneca should answer, from a plain dictionary: nothing is kept that could be computed, nothing rounds."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

Part = dict[str, Any]
PARTS = ("adaptive", "quiz", "wrongAnswers")
NEVER_GIVEN: Part = {"answers": [], "isCompleted": False, "score": 0}
IDLE_MS = 5 * 60_000
TOLERANCE_MS = 60_000
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


@dataclass(frozen=True, order=True)
class Report:
    """A part of a result as one request reported it. The greatest is the one that counts."""

    at: int
    is_completed: bool
    score: Decimal
    text: str
    part: Part = field(compare=False)

    @classmethod
    def of(cls, part: Part, at: int) -> "Report":
        shown = shown_part(part)
        answers = json.dumps(shown["answers"], ensure_ascii=False, separators=(",", ":"))
        return cls(at, shown["isCompleted"], Decimal(shown["score"]), answers, shown)


@dataclass(eq=False)
class Session:
    """One learner's study of one course: everything that was reported. Times are milliseconds since 1970."""

    id: str
    learner: Learner
    course: Course
    course_title: str
    topic: str
    start: int
    end: int | None = None
    ended_by: str | None = None
    open_since: int = 0
    """Its first start, or its last reopening."""
    events: list[int] = field(default_factory=list)
    """Updates and activity."""
    reports: dict[str, dict[str, list[Report]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open_since = self.start

    # -- what counts of the reports ------------------------------------------------------------

    @property
    def results(self) -> dict[str, dict[str, Part]]:
        return {
            name: {part: max(reports).part for part, reports in parts.items()} for name, parts in self.reports.items()
        }

    @property
    def points(self) -> Decimal:
        return sum(
            (Decimal(score(r, "adaptive")) + Decimal(score(r, "quiz")) for r in self.results.values()), Decimal()
        )

    @property
    def milliseconds(self) -> int:
        return 0 if self.end is None else self.end - self.start

    @property
    def last_event(self) -> int:
        end = [self.end] if self.end and self.ended_by == "learner" else []
        return max([self.start, *self.events, *end])

    @property
    def active_milliseconds(self) -> int:
        """Between two events, and between the last one and the end: their distance, but at most the idle time."""
        end = self.last_event if self.end is None else self.end
        times = [*sorted({self.start, *(event for event in self.events if self.start < event < end)}), end]
        return sum(min(later - earlier, IDLE_MS) for earlier, later in pairwise(times))

    # -- what requests do ----------------------------------------------------------------------

    @property
    def is_final(self) -> bool:
        """Whether it has ended for its learner: a timeout is no end for them."""
        return self.end is not None and self.ended_by != "timeout"

    def accepts(self, times: list[int], own_end: int | None = None) -> bool:
        """Whether parts that were recorded at these times are stored; an item of a batch has its own end."""
        end = (self.end if self.is_final else None) if own_end is None else max(own_end, self.start)
        return end is None or all(time <= end + TOLERANCE_MS for time in times)

    def reopen(self, now: int) -> None:
        if self.ended_by == "timeout":
            self.end, self.ended_by, self.open_since = None, None, now

    def record(self, modules: list[dict[str, Any]], now: int, *, is_newest: bool = False) -> None:
        """Record modules at their ``recordedAt``; as the newest ones, if the request names no time."""
        self.reopen(now)
        for module in modules:
            at = max(module["recordedAt"], self.start)
            self.events.append(at)
            result = self.reports.setdefault(module["moduleName"], {})
            for name in PARTS:
                if module.get(name) not in (None, []):
                    earlier = [] if is_newest else result.get(name, [])
                    result[name] = [*earlier, Report.of(module[name], at)]

    def note_activity(self, at: int) -> bool:
        """Whether the event was counted."""
        if self.end is not None and at > self.end + TOLERANCE_MS:
            return False
        self.events.append(max(at, self.start))
        return True

    def finish(self, at: int) -> bool:
        """End it for its learner; whether that changed anything."""
        at = max(at, self.start)
        is_later = self.ended_by == "learner" and at > (self.end or 0) + TOLERANCE_MS
        if self.is_final and not is_later:
            return False
        self.end, self.ended_by = at, "learner"
        return True

    def end_if_forgotten(self, before: int) -> bool:
        if self.end is not None or max(self.last_event, self.open_since) >= before:
            return False
        self.end, self.ended_by = self.last_event, "timeout"
        return True

    # -- as it is shown ------------------------------------------------------------------------

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
            "lastActivityAt": iso(self.last_event),
            "activeMinutes": self.active_milliseconds // 60_000,
            "endedBy": self.ended_by,
        }


def score(result: dict[str, Part], part: str) -> int | Decimal:
    value: int | Decimal = result.get(part, NEVER_GIVEN)["score"]
    return value


def shown_part(part: Part) -> Part:
    whole = NEVER_GIVEN | part
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
        self.voided: dict[tuple[Learner, str], int] = {}
        """When the ids of sessions were voided, in milliseconds since 1970."""

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

    def record_item(self, learner: Learner, item: dict[str, Any], now: int) -> tuple[int, str | int | Decimal]:
        """Record an item of a batch; returns its status, and its points or the code of what is wrong with it."""
        known = self.find(learner, item["sessionId"])
        course = next((course for course in self.courses if course.id == item["courseIdentifier"]), None)
        if known and course and (known.course, known.topic) != (course, item["topic"]):
            return 409, "session-id-taken"
        if not known and (learner, item["sessionId"]) in self.voided:
            return 409, "session-voided"
        if course is None:
            return 404, "course-not-found"
        if not known and item["topic"] not in [entry["topic"] for entry in course.topics]:
            return 404, "topic-not-found"
        start, end = item["sessionStart"], item.get("sessionEnd")
        session = known or Session(item["sessionId"], learner, course, course.title, item["topic"], start)
        modules = [{"recordedAt": end} | module for module in item["moduleStats"]]
        if not session.accepts([module["recordedAt"] for module in modules], end):
            return 409, "session-ended"
        if modules:
            session.record(modules, now)
        if end is not None:
            session.finish(end)
        if known is None:
            self.sessions.append(session)
        return 200 if known else 201, number(session.points)


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
    """What is kept of sessions: how many, results, points in thousandths, milliseconds, active ones, names."""
    return (
        len(sessions),
        sum(len(s.results) for s in sessions),
        int(sum((s.points for s in sessions), Decimal()) * 1000),
        sum(s.milliseconds for s in sessions),
        sum(s.active_milliseconds for s in sessions),
        len({name for s in sessions for name in s.results}),
    )


def days(sessions: list[Session], unit: str) -> dict[str, dict[str, Any]]:
    """The statistics of each day or week (UTC) on which a session started."""
    by_day: dict[str, list[Session]] = {}
    for session in sessions:
        day = datetime.fromtimestamp(session.start / 1000, UTC).date()
        if unit == "week":
            day -= timedelta(days=day.weekday())
        by_day.setdefault(str(day), []).append(session)
    return {
        day: {
            "day": day,
            "sessions": len(of_day),
            "results": sum(len(session.results) for session in of_day),
            "points": number(sum((session.points for session in of_day), Decimal())),
            "timeInMinutes": sum(session.milliseconds for session in of_day) // 60_000,
            "activeMinutes": sum(session.active_milliseconds for session in of_day) // 60_000,
            "averageScore": average(of_day),
            "learners": len({session.learner for session in of_day}),
        }
        for day, of_day in by_day.items()
    }


def average(sessions: list[Session]) -> Any:
    """The mean of all adaptive and quiz scores: the nearest double; None if there are none."""
    scores = [
        Fraction(result[part]["score"])
        for session in sessions
        for result in session.results.values()
        for part in ("adaptive", "quiz")
        if part in result
    ]
    return number(Decimal(repr(float(sum(scores) / len(scores))))) if scores else None
