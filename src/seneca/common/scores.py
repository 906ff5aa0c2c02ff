"""Scores: stored as whole thousandths, written as plain numbers."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final, cast

MAX_POINTS: Final = 1_000_000
_THOUSANDTH: Final = Decimal("0.001")
_HALF_EVEN: Final = Context(prec=20, rounding=ROUND_HALF_EVEN)


def check(score: object) -> None:
    """Check a decoded score: an ``int``, or a ``Decimal`` where the JSON number had a fraction or an exponent.

    Raises:
        ValueError: the broken rule, as a client may see it.

    """
    if type(score) is not int and not isinstance(score, Decimal):
        raise ValueError("must be a number")
    if not -MAX_POINTS <= score <= MAX_POINTS:
        raise ValueError("must be from -1,000,000 to 1,000,000")


def to_thousandths(score: object) -> int:
    """Convert a score to whole thousandths, rounding its exact decimals half to even. Raises as ``check`` does."""
    if type(score) is int and -MAX_POINTS <= score <= MAX_POINTS:
        return score * 1000
    check(score)
    return int(_HALF_EVEN.quantize(cast("Decimal", score), _THOUSANDTH).scaleb(3))


def to_points(thousandths: int) -> int | Decimal:
    """Convert thousandths to the exact number that clients see: an ``int`` where it is whole."""
    whole, rest = divmod(thousandths, 1000)
    return whole if rest == 0 else Decimal(thousandths).scaleb(-3).normalize()


def mean(thousandths: int, results: int) -> int | float:
    """Compute the mean of (adaptive + quiz) / 2 over module results, from the sum of their points in thousandths.

    Python rounds the quotient of two integers to the nearest double, so it is rounded only once.
    """
    if results == 0:
        return 0
    value = thousandths / (2000 * results)
    return int(value) if value.is_integer() else value


def average(thousandths: int, scores: int) -> int | float | None:
    """Compute the mean of a number of scores from their sum in thousandths, rounded once, as ``mean``; None if there are none."""
    if scores == 0:
        return None
    value = thousandths / (1000 * scores)
    return int(value) if value.is_integer() else value
