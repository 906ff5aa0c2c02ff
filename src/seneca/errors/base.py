"""The base class of errors, and the error of invalid input."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import msgspec

MAX_ERRORS: Final = 20  # the errors of a body of repeated names would be fifty times its size
MAX_FIELD_CHARACTERS: Final = 200  # a field may end with a member name from the client
MAX_RULE_CHARACTERS: Final = 500


class FieldError(msgspec.Struct, frozen=True):
    """One error in the input: the path of the field (``moduleStats[2].quiz.score``) and the rule that it breaks."""

    field: str
    message: str


class ApiError(Exception):
    """Base class of all errors that are reported rather than logged as bugs.

    Args:
        detail: one sentence for people, which may say what to do.
        members: additional members of the response body.
        headers: HTTP headers of the response.

    """

    status: ClassVar[int]
    code: str
    title: str
    account: str | None = None
    """The id of the account concerned, if known. It is logged, but never sent."""

    def __init__(
        self,
        detail: str | None = None,
        *,
        members: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or f"{self.title}."
        self.members = dict(members or {})
        self.headers = dict(headers or {})
        super().__init__(self.detail)

    @classmethod
    def titles(cls) -> Mapping[str, str]:
        """Map each code that this class can have to its title."""
        return {cls.code: cls.title}


class InvalidInput(ApiError):
    """The input breaks rules. ``errors`` holds the first ``MAX_ERRORS`` of them."""

    status, code, title = 400, "invalid-input", "The input is not valid"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(
            FieldError(_excerpt(error.field, MAX_FIELD_CHARACTERS), _excerpt(error.message, MAX_RULE_CHARACTERS))
            for error in errors[:MAX_ERRORS]
        )
        super().__init__(
            "; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in self.errors),
            members={"errors": self.errors},
        )

    @classmethod
    def field(cls, field: str, message: str) -> "InvalidInput":
        """Make the error of a single field."""
        return cls([FieldError(field, message)])


def _excerpt(text: str, characters: int) -> str:
    """Truncate a text that may come from a client, and make it valid Unicode."""
    if len(text) > characters:
        text = text[: characters - 1] + "…"
    return text.encode(errors="replace").decode()
