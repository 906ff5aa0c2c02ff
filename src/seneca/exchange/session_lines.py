"""The lines of sessions and of voided session ids in a file, their validation, and the records that are made of them."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from msgspec import UNSET, Meta, Struct, UnsetType

from seneca.common import text_types
from seneca.common.ids import bucket_of
from seneca.common.study_days import day_of
from seneca.common.text_types import Id, Name, Title
from seneca.common.times import from_iso, time_rule
from seneca.errors import FieldError
from seneca.sessions import activity
from seneca.sessions.activity import MAX_INTERVALS, Interval
from seneca.sessions.results import Part, SentModule, parse_part, result_errors
from seneca.sessions.rows import EndedBy, ResultRow, SessionRow
from seneca.sessions.state import MAX_MODULES

PART_MEMBERS: Final = ("adaptive", "quiz", "wrongAnswers")


class LinePart(Part, frozen=True):
    """One part of a module's results, and when it was recorded."""

    recorded_at: str | UnsetType | None = UNSET
    """UNSET members are not encoded, so that a part without a time is stored as it is."""


LineInterval = Annotated[list[str], Meta(min_length=2, max_length=2)]
"""The first and the last of some events."""
SentLinePart = LinePart | Annotated[list[Any], Meta(max_length=0)] | None


class LineModule(SentModule, frozen=True):
    """The results of one module."""

    adaptive: SentLinePart = None
    quiz: SentLinePart = None
    wrong_answers: SentLinePart = None


class SessionLine(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
    tag="session",
    gc=False,
):
    """The line of a session with its results."""

    id: Id
    user_id: Id
    course_id: Id
    topic: Name
    session_start: str
    is_end: bool
    modules_stats: Annotated[list[LineModule], Meta(max_length=MAX_MODULES)]
    session_end: str | None = None
    course_title: Title | None = None
    ended_by: EndedBy | None = None
    activity: Annotated[list[LineInterval], Meta(max_length=MAX_INTERVALS)] | None = None
    idle_since: str | None = None

    def __post_init__(self) -> None:
        """Normalise the names."""
        text_types.normalise_member(self, "topic", "topic")
        text_types.normalise_member(self, "course_title", "courseTitle")

    def find_errors(self) -> Iterator[FieldError]:
        """Validate what the types do not."""
        start_rule, end_rule = time_rule(self.session_start), time_rule(self.session_end)
        if start_rule:
            yield FieldError("sessionStart", start_rule)
        if end_rule:
            yield FieldError("sessionEnd", end_rule)
        elif self.is_end is True and not start_rule:
            if self.session_end is None:
                yield FieldError("sessionEnd", "is required when isEnd is true")
            elif (
                isinstance(self.session_start, str)
                and isinstance(self.session_end, str)
                and from_iso(self.session_end) < from_iso(self.session_start)
            ):
                yield FieldError("sessionEnd", "must not be before sessionStart")
        if self.is_end is False and isinstance(self.ended_by, str):
            yield FieldError("endedBy", "must be null when isEnd is false")
        if rule := time_rule(self.idle_since):
            yield FieldError("idleSince", rule)
        yield from result_errors(self.modules_stats, "modulesStats")
        yield from _recorded_at_errors(self.modules_stats)
        yield from _activity_errors(self.activity)


def _recorded_at_errors(modules: Sequence[LineModule | UnsetType] | UnsetType) -> Iterator[FieldError]:
    for index, module in enumerate([] if modules is UNSET else modules):
        if module is UNSET:
            continue
        for name, part in zip(PART_MEMBERS, (module.adaptive, module.quiz, module.wrong_answers), strict=True):
            if isinstance(part, LinePart) and (rule := time_rule(part.recorded_at)):
                yield FieldError(f"modulesStats[{index}].{name}.recordedAt", rule)


def _activity_errors(intervals: Sequence[LineInterval | UnsetType] | UnsetType | None) -> Iterator[FieldError]:
    """Check the times of intervals, and that they are in order and do not overlap."""
    counted_until: int | None = None
    for index, interval in enumerate([] if intervals is UNSET or intervals is None else intervals):
        if interval is UNSET or len(interval) != 2 or not all(isinstance(text, str) for text in interval):
            continue
        rules = [rule for text in interval if (rule := time_rule(text))]
        if rules:
            yield FieldError(f"activity[{index}]", rules[0])
            continue
        first, last = map(from_iso, interval)
        if last < first:
            yield FieldError(f"activity[{index}]", "must not end before it begins")
        elif counted_until is not None and first <= counted_until:
            yield FieldError(f"activity[{index}]", "must begin after the end of the interval before it")
        counted_until = last


class VoidedSessionLine(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
    tag="voided-session",
):
    """The line of the id of a session that an administrator deleted."""

    id: Id
    user_id: Id
    voided_at: str

    def find_errors(self) -> Iterator[FieldError]:
        """Validate what the types do not."""
        if rule := time_rule(self.voided_at):
            yield FieldError("voidedAt", rule)


# -- records, ready to be stored ------------------------------------------------------------------------


class SessionRecord(Struct, frozen=True, array_like=True, tag="s", gc=False):
    """A session to store, and its results. ``number`` is the line number, from 1; the row's title is empty if the line has none.

    What the line omits has its default in the row; ``has_…`` say which members the line has.
    """

    number: int
    row: SessionRow
    results: list[ResultRow]
    has_ended_by: bool = False
    has_activity: bool = False
    has_idle_since: bool = False


class VoidedSessionRecord(Struct, frozen=True, array_like=True, tag="v"):
    """The id of a session that an administrator deleted."""

    number: int
    bucket: int
    learner_id: str
    id: str
    voided_at: int


def to_voided_record(line: VoidedSessionLine, number: int, buckets: int) -> VoidedSessionRecord:
    """Convert a valid line."""
    learner_id = line.user_id.lower()
    return VoidedSessionRecord(
        number=number,
        bucket=bucket_of(learner_id, buckets),
        learner_id=learner_id,
        id=line.id.lower(),
        voided_at=from_iso(line.voided_at),
    )


class Target(Struct, frozen=True):
    """What the records depend on: properties of the database into which the file is imported."""

    buckets: int
    idle_ms: int
    """Its idle time in milliseconds."""
    zone: ZoneInfo


def to_record(line: SessionLine, number: int, target: Target) -> SessionRecord:
    """Convert a line.

    Args:
        line: the line.
        number: its number.
        target: the database.

    Raises:
        ValueError: ``find_errors`` finds an error.

    """
    started_at = from_iso(line.session_start)
    ended_at = None if line.session_end is None else from_iso(line.session_end)
    if not line.is_end:
        ended_at = None
        if line.ended_by is not None:
            raise ValueError("ended by somebody, but open")
    elif ended_at is None or ended_at < started_at:
        raise ValueError("has no end, or ends before it starts")
    intervals = _parse_intervals(line.activity) if line.activity else ()
    learner_id = line.user_id.lower()
    results = _parse_results(line.modules_stats)
    row = SessionRow(
        bucket=bucket_of(learner_id, target.buckets),
        learner_id=learner_id,
        id=line.id.lower(),
        course_id=line.course_id.lower(),
        course_title=line.course_title or "",
        topic=line.topic,
        started_at=started_at,
        ended_at=ended_at,
        ended_by=None if ended_at is None else line.ended_by or "learner",
        idle_since=started_at if line.idle_since is None else from_iso(line.idle_since),
        activity=activity.to_text(intervals),
        active_milliseconds=activity.active_ms(started_at, ended_at, intervals, target.idle_ms),
        study_day=day_of(started_at, target.zone),
        results=len(results),
        scores=sum([result.scores for result in results]),
        points=sum([result.points for result in results]),
        bytes=sum([result.bytes for result in results]),
    )
    return SessionRecord(
        number, row, results, line.ended_by is not None, line.activity is not None, line.idle_since is not None
    )


def _parse_intervals(texts: Sequence[LineInterval]) -> list[Interval]:
    """Convert intervals. Raises ValueError if they are not in order."""
    intervals = [(from_iso(first), from_iso(last)) for first, last in texts]
    if any(first > last for first, last in intervals) or any(
        previous[1] >= following[0] for previous, following in pairwise(intervals)
    ):
        raise ValueError("intervals are not in order")
    return intervals


def _parse_results(modules: Sequence[LineModule]) -> list[ResultRow]:
    """Convert modules, as ``results.parse_results`` does, with the times of their parts."""
    if len({module.module_name for module in modules}) < len(modules):
        raise ValueError("module names must differ")
    results: list[ResultRow] = []
    for index, module in enumerate(modules):
        adaptive, adaptive_score, adaptive_at = _parse_part(module.adaptive)
        quiz, quiz_score, quiz_at = _parse_part(module.quiz)
        wrong_answers, _, wrong_answers_at = _parse_part(module.wrong_answers)
        results.append(
            ResultRow(
                module_name=module.module_name,
                position=index,
                adaptive=adaptive,
                quiz=quiz,
                wrong_answers=wrong_answers,
                adaptive_score=adaptive_score,
                quiz_score=quiz_score,
                adaptive_at=adaptive_at,
                quiz_at=quiz_at,
                wrong_answers_at=wrong_answers_at,
            )
        )
    return results


def _parse_part(part: SentLinePart) -> tuple[str | None, int | None, int | None]:
    """Return a part's JSON, its score in thousandths and its time, each None if it is omitted."""
    if not isinstance(part, LinePart):
        return None, None, None
    if part.recorded_at is UNSET:
        return *parse_part(part), None
    text, score = parse_part(Part(part.answers, part.is_completed, part.score))
    return text, score, None if part.recorded_at is None else from_iso(part.recorded_at)
