"""Results of modules, as clients send them and as they see them; and their conversion from and to rows."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from seneca.common import scores, text_types
from seneca.common.text_types import Answer, Name
from seneca.common.times import to_iso
from seneca.errors import FieldError
from seneca.sessions.device_times import DeviceTime, time_errors
from seneca.sessions.rows import ResultRow

MAX_MODULES_PER_UPDATE = 200
MAX_ANSWERS = 500

# A JSON number, converted by ``scores.to_thousandths``. With the type Decimal, msgspec would also accept strings and NaN.
Score = Annotated[
    Any,
    Meta(
        description="Rounded to three decimals, half to even.",
        extra_json_schema={
            "type": "number",
            "minimum": -scores.MAX_POINTS,
            "maximum": scores.MAX_POINTS,
        },
    ),
]


class Part(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """One part of a module's results, such as its quiz."""

    answers: Annotated[list[Answer], Meta(max_length=MAX_ANSWERS)] = []
    is_completed: bool = False
    score: Score = 0


SentPart = Part | Annotated[list[Any], Meta(max_length=0)] | None
"""A part in a request. ``null`` and ``[]`` mean that it is omitted."""


class SentModule(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """Results of one module, in a request or on a line of an import."""

    module_name: Name
    adaptive: SentPart = None
    quiz: SentPart = None
    wrong_answers: SentPart = None
    id: str | int | None = None
    """Ignored: clients of the reference service send it."""

    def __post_init__(self) -> None:
        """Normalise the name."""
        text_types.normalise_member(self, "module_name", "moduleName")


class ModuleUpdate(SentModule, frozen=True):
    """New results of one module. Omitted parts stay unchanged."""

    recorded_at: DeviceTime | UnsetType | None = UNSET


ModuleUpdates = Annotated[
    list[ModuleUpdate],
    Meta(
        min_length=1,
        max_length=MAX_MODULES_PER_UPDATE,
        description="Modules with distinct names.",
    ),
]


class ModuleResult(Struct, frozen=True, rename="camel"):
    """One module's results, as clients see them. The parts are JSON, as stored."""

    module_name: str
    adaptive: Raw
    quiz: Raw
    wrong_answers: Raw


EMPTY_PART = Raw(b'{"answers":[],"isCompleted":false,"score":0}')
_encoder = msgspec.json.Encoder(decimal_format="number")


def to_response(row: ResultRow) -> ModuleResult:
    """Convert a row to the form that clients see."""
    return ModuleResult(
        row.module_name,
        _part_to_response(row.adaptive),
        _part_to_response(row.quiz),
        _part_to_response(row.wrong_answers),
    )


def _part_to_response(part: str | None) -> Raw:
    return EMPTY_PART if part is None else Raw(part.encode())


def with_time(part: str, recorded_at: int | None) -> Raw:
    """Make the JSON of a part with the member ``recordedAt``, if the time is known.

    Args:
        part: the part as stored.
        recorded_at: when it was recorded, in milliseconds since 1970.

    """
    text = part if recorded_at is None else f'{part[:-1]},"recordedAt":"{to_iso(recorded_at)}"}}'
    return Raw(text.encode())


def result_errors(modules: Sequence[SentModule | UnsetType] | UnsetType, field: str) -> Iterator[FieldError]:
    """Check modules for repeated names and scores out of range, skipping what is UNSET.

    Args:
        modules: the decoded list.
        field: the name of the list's member, for errors.

    """
    names: set[str] = set()
    for index, module in enumerate([] if modules is UNSET else modules):
        if module is UNSET:
            continue
        if module.module_name in names:
            yield FieldError(f"{field}[{index}].moduleName", "must differ from the other modules")
        elif isinstance(module.module_name, str):
            names.add(module.module_name)
        for name, part in (
            ("adaptive", module.adaptive),
            ("quiz", module.quiz),
            ("wrongAnswers", module.wrong_answers),
        ):
            if isinstance(part, Part) and (rule := _score_rule(part.score)):
                yield FieldError(f"{field}[{index}].{name}.score", rule)


def update_errors(modules: Sequence[ModuleUpdate | UnsetType] | UnsetType, field: str) -> Iterator[FieldError]:
    """As ``result_errors``, of modules in a request; also finds malformed times."""
    yield from result_errors(modules, field)
    for index, module in enumerate([] if modules is UNSET else modules):
        if module is not UNSET:
            yield from time_errors(module.recorded_at, f"{field}[{index}].recordedAt")


def _score_rule(score: object) -> str | None:
    """Return the rule that a score breaks, if any."""
    if score is UNSET or (type(score) is int and -scores.MAX_POINTS <= score <= scores.MAX_POINTS):
        return None
    try:
        # A float comes from the lenient parser, which is used when the text breaks other rules as well.
        scores.check(Decimal(score) if isinstance(score, float) else score)
    except ValueError as error:
        return str(error)
    return None


def parse_results(modules: Sequence[SentModule]) -> list[ResultRow]:
    """Convert modules to rows. Positions count from 0. Raises ValueError if ``result_errors`` finds an error in names or scores."""
    if len({module.module_name for module in modules}) < len(modules):
        raise ValueError("module names must differ")
    results: list[ResultRow] = []
    for index, module in enumerate(modules):
        adaptive, adaptive_score = parse_part(module.adaptive)
        quiz, quiz_score = parse_part(module.quiz)
        wrong_answers, _ = parse_part(module.wrong_answers)
        results.append(
            ResultRow(
                module_name=module.module_name,
                position=index,
                adaptive=adaptive,
                quiz=quiz,
                wrong_answers=wrong_answers,
                adaptive_score=adaptive_score,
                quiz_score=quiz_score,
            )
        )
    return results


def parse_part(part: SentPart) -> tuple[str | None, int | None]:
    """Return a part's JSON and its score in thousandths, both None if it is omitted."""
    if not isinstance(part, Part):
        return None, None
    score = scores.to_thousandths(part.score)
    if type(part.score) is not int:  # 82.0 becomes 82
        part = Part(part.answers, part.is_completed, scores.to_points(score))
    return _encoder.encode(part).decode(), score
