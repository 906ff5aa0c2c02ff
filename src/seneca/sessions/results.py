"""The results of modules: as they are given, as they are stored, as they are shown."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from seneca import units
from seneca.errors import FieldError, Invalid
from seneca.text import Answer, Name

MOST_MODULES_AT_ONCE = 200
MOST_ANSWERS = 500

# A JSON number, decoded by ``units.thousandths``: msgspec's Decimal would take strings and NaN too.
Score = Annotated[
    Any,
    Meta(
        description="At most three decimals.",
        extra_json_schema={
            "type": "number",
            "minimum": -units.MOST_POINTS,
            "maximum": units.MOST_POINTS,
            "multipleOf": 0.001,
        },
    ),
]


class Part(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One part of a module's results."""

    answers: Annotated[list[Answer], Meta(max_length=MOST_ANSWERS)] = []
    is_completed: bool = False
    score: Score = 0


GivenPart = Part | Annotated[list[Any], Meta(max_length=0)] | None
"""A part in a request: ``null`` and ``[]`` mean that it is left out."""


class ModuleUpdate(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The parts of one module's results that are given; the others stay as they are."""

    module_name: Name
    adaptive: GivenPart = None
    quiz: GivenPart = None
    wrong_answers: GivenPart = None
    id: str | int | None = None
    """The reference service has one. Ignored."""


ModuleUpdates = Annotated[
    list[ModuleUpdate],
    Meta(
        min_length=1,
        max_length=MOST_MODULES_AT_ONCE,
        description="Modules with distinct names.",
    ),
]


class ModuleResult(Struct, frozen=True, rename="camel"):
    """One module's results, as they are shown. The parts are JSON, as stored."""

    module_name: str
    adaptive: Raw
    quiz: Raw
    wrong_answers: Raw


NEVER_GIVEN = Raw(b'{"answers":[],"isCompleted":false,"score":0}')
_encoder = msgspec.json.Encoder(decimal_format="number")


class Stored(Struct):
    """A row of results: the parts as JSON text, None where never given, and the scores in thousandths."""

    module_name: str
    position: int
    adaptive: str | None = None
    quiz: str | None = None
    wrong_answers: str | None = None
    adaptive_score: int | None = None
    quiz_score: int | None = None

    @property
    def points(self) -> int:
        """Adaptive plus quiz score, in thousandths."""
        return (self.adaptive_score or 0) + (self.quiz_score or 0)

    @property
    def bytes(self) -> int:
        """What it counts towards the most that a session holds: bytes of its name and its parts."""
        return _size(self.module_name) + _size(self.adaptive) + _size(self.quiz) + _size(self.wrong_answers)

    def merge(self, given: "Stored") -> None:
        """Take over each part that is given."""
        if given.adaptive is not None:
            self.adaptive, self.adaptive_score = given.adaptive, given.adaptive_score
        if given.quiz is not None:
            self.quiz, self.quiz_score = given.quiz, given.quiz_score
        if given.wrong_answers is not None:
            self.wrong_answers = given.wrong_answers

    def shown(self) -> ModuleResult:
        """As it is shown."""
        return ModuleResult(
            self.module_name,
            _shown(self.adaptive),
            _shown(self.quiz),
            _shown(self.wrong_answers),
        )


def _size(text: str | None) -> int:
    if text is None:
        return 0
    return len(text) if text.isascii() else len(text.encode())  # of most texts both are known without a look at them


def _shown(part: str | None) -> Raw:
    return NEVER_GIVEN if part is None else Raw(part.encode())


def read_results(modules: Sequence[ModuleUpdate], field: str = "moduleStats") -> list[Stored]:
    """Check modules beyond their types, and bring them into the form in which they are stored.

    Args:
        modules: as decoded; positions count from 0.
        field: what the list is called where it was given.

    Raises:
        Invalid: two have one name, or a score is not one; naming each field.

    """
    errors: list[FieldError] = []
    results: list[Stored] = []
    names: set[str] = set()
    for index, module in enumerate(modules):
        if module.module_name in names:
            errors.append(FieldError(f"{field}[{index}].moduleName", "must differ from the other modules"))
        names.add(module.module_name)
        parts = []
        for name, part in (
            ("adaptive", module.adaptive),
            ("quiz", module.quiz),
            ("wrongAnswers", module.wrong_answers),
        ):
            try:
                parts.append(_read_part(part))
            except ValueError as error:
                errors.append(FieldError(f"{field}[{index}].{name}.score", str(error)))
        if not errors:
            (adaptive, adaptive_score), (quiz, quiz_score), (wrong_answers, _) = parts
            results.append(
                Stored(
                    module.module_name,
                    index,
                    adaptive,
                    quiz,
                    wrong_answers,
                    adaptive_score,
                    quiz_score,
                )
            )
    if errors:
        raise Invalid(errors)
    return results


def _read_part(part: GivenPart) -> tuple[str | None, int | None]:
    """A part's JSON and its score in thousandths, both None if it was left out."""
    if not isinstance(part, Part):
        return None, None
    score = units.thousandths(part.score)
    if type(part.score) is not int:  # 82.0 is shown as 82
        part = Part(part.answers, part.is_completed, units.points(score))
    return _encoder.encode(part).decode(), score
