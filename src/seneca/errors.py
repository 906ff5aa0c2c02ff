"""Every refusal that Seneca can utter. Each owns its status and its stable code.

A refusal is an answer, not a fault: the doors render it (``api.problems`` as problem details,
the shell as one line and an exit status). Anything else that is raised is a bug.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal

import msgspec

from seneca.common import units

MAX_ERRORS = 20  # a body of repeated names would get an answer fifty times its size
MAX_FIELD_CHARACTERS = 200  # a field may end with a member name of the client's
MAX_RULE_CHARACTERS = 500


class FieldError(msgspec.Struct, frozen=True):
    """One thing wrong with the input: the field's path (``moduleStats[2].quiz.score``) and the rule."""

    field: str
    message: str


class ApiError(Exception):
    """Something that was asked for and is not done. Subclasses say what and why.

    Args:
        detail: one sentence for people, which may say how to go on.
        members: further facts, added to the answer as they are.
        headers: HTTP headers that belong to the answer.

    """

    status: ClassVar[int]
    code: str
    title: str
    account: str | None = None
    """The id of the account that it concerns, where that is known: for the log only, never in the answer."""

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
        """Every code that it can have, with its title."""
        return {cls.code: cls.title}


# -- 400 ---------------------------------------------------------------------------------------


class MalformedJson(ApiError):
    """The body is not JSON text that can be read."""

    status, code, title = 400, "malformed-json", "The body is not valid JSON"


class InvalidInput(ApiError):
    """The input breaks rules; every entry of ``errors`` names a field and a rule (the first twenty of them)."""

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
        """The refusal of one field."""
        return cls([FieldError(field, message)])


def _excerpt(text: str, characters: int) -> str:
    """The beginning of a text that a client may have sent, as valid Unicode."""
    if len(text) > characters:
        text = text[: characters - 1] + "…"
    return text.encode(errors="replace").decode()


# -- 401, 403 ----------------------------------------------------------------------------------


TokenProblem = Literal["token-missing", "token-invalid", "token-expired", "signed-out"]
TOKEN_PROBLEMS: Final[Mapping[TokenProblem, tuple[str, str]]] = {
    "token-missing": ("A bearer token is needed", "Send a bearer token in the header Authorization: Bearer TOKEN."),
    "token-invalid": ("The token is not valid", "The token is not valid. Sign in again."),
    "token-expired": ("The token has expired", "The token has expired. Refresh it, or sign in again."),
    "signed-out": ("This sign-in has ended", "This sign-in has ended. Sign in again."),
}
"""The title and the usual detail of each code."""


class Unauthenticated(ApiError):
    """No token, or one that is not good (any more); the code says what to do. The account: whose genuine token it is."""

    status, code, title = 401, "token-invalid", "The token is not valid"

    def __init__(self, code: TokenProblem, detail: str | None = None, *, account: str | None = None) -> None:
        self.code = code
        self.title, usual_detail = TOKEN_PROBLEMS[code]
        self.account = account
        challenge = 'Bearer realm="seneca"' + ("" if code == "token-missing" else ', error="invalid_token"')
        super().__init__(detail or usual_detail, headers={"WWW-Authenticate": challenge})

    @classmethod
    def titles(cls) -> Mapping[str, str]:
        """The four codes."""
        return {code: title for code, (title, _) in TOKEN_PROBLEMS.items()}


class InvalidCredentials(ApiError):
    """No such name, or not its password: which of the two is never said."""

    status, code, title = 401, "invalid-credentials", "Invalid credentials"

    def __init__(self, *, account: str | None = None) -> None:
        self.account = account
        super().__init__("Invalid credentials", headers={"WWW-Authenticate": 'Bearer realm="seneca"'})


class Forbidden(ApiError):
    """The caller's role may not do this."""

    status, code, title = 403, "forbidden", "This role may not do that"


class RegistrationClosed(ApiError):
    """Only an administrator may register this account."""

    status, code, title = 403, "registration-closed", "Only an administrator may register this account"


# -- 404, 405 ----------------------------------------------------------------------------------


class RouteNotFound(ApiError):
    """Nothing lives at this path."""

    status, code, title = 404, "route-not-found", "There is nothing at this path"


class CourseNotFound(ApiError):
    """No course has this id or title."""

    status, code, title = 404, "course-not-found", "There is no such course"


class TopicNotFound(ApiError):
    """The course has no topic of this name."""

    status, code, title = 404, "topic-not-found", "The course has no such topic"


class SessionNotFound(ApiError):
    """No session has this id, or it is another learner's: the two look alike."""

    status, code, title = 404, "session-not-found", "There is no such session"


class AccountNotFound(ApiError):
    """No account has this id."""

    status, code, title = 404, "account-not-found", "There is no such account"


class MethodNotAllowed(ApiError):
    """The path exists, but not with this method."""

    status, code, title = 405, "method-not-allowed", "This path does not take that method"


# -- 408 ---------------------------------------------------------------------------------------


class RequestTimeout(ApiError):
    """The body did not arrive in time; nothing of it was stored."""

    status, code, title = 408, "request-timeout", "The body did not arrive in time"


# -- 409 ---------------------------------------------------------------------------------------


class NameTaken(ApiError):
    """A username or an address is in use; which, is never said."""

    status, code, title = 409, "name-taken", "Username or email already in use"

    def __init__(self) -> None:
        super().__init__("Username or email already in use")


class TitleTaken(ApiError):
    """Another course has this title."""

    status, code, title = 409, "title-taken", "A course with this title exists already"


class CourseInUse(ApiError):
    """Sessions refer to the course."""

    status, code, title = 409, "course-in-use", "Study sessions refer to this course"


class SessionIdTaken(ApiError):
    """The id that the client brought names something else already."""

    status, code, title = 409, "session-id-taken", "This session id is in use for something else"


class SessionEnded(ApiError):
    """The session has ended; nothing can be added to it."""

    status, code, title = 409, "session-ended", "The session has ended"

    def __init__(self, ended_at: int) -> None:
        self.ended_at = ended_at
        end = units.iso(ended_at)
        super().__init__(f"The session ended at {end}.", members={"sessionEnd": end})


class SessionFull(ApiError):
    """The session would hold more than a session may."""

    status, code, title = 409, "session-full", "The session is full"


class TooManyLearnerNames(ApiError):
    """One learner would have results under more module names than they may have in one course."""

    status, code, title = 409, "too-many-learner-names", "Too many module names of one learner in one course"


class TooManyNames(ApiError):
    """The learners of a course would together have results under more module names than it may have."""

    status, code, title = 409, "too-many-names", "Too many module names in one course"


class OwnAccount(ApiError):
    """An administrator's own account changes only by routes that ask for the current password."""

    status, code, title = 409, "own-account", "This is your own account"


class LastAdministrator(ApiError):
    """The last administrator can be neither demoted nor erased."""

    status, code, title = 409, "last-administrator", "This is the last administrator"


# -- 412, 413, 415 -----------------------------------------------------------------------------


class PreconditionFailed(ApiError):
    """``If-Match`` names a version that is not the stored one."""

    status, code, title = 412, "precondition-failed", "It has changed since you read it"


class PayloadTooLarge(ApiError):
    """The body is larger than this request may be."""

    status, code, title = 413, "payload-too-large", "The body is too large"


class UnsupportedMediaType(ApiError):
    """The body is announced as something other than JSON."""

    status, code, title = 415, "unsupported-media-type", "The body must be application/json"


# -- 429 ---------------------------------------------------------------------------------------


class TooManyRequests(ApiError):
    """Too many tries have failed, or too many accounts were registered, to try again at once."""

    status, code, title = 429, "too-many-requests", "Too many tries: wait before the next"

    def __init__(self, milliseconds: int) -> None:
        super().__init__(headers={"Retry-After": str(-(-milliseconds // 1000))})


class QuotaExceeded(ApiError):
    """The learner has stored as much as one learner may in an hour."""

    status, code, title = 429, "quota-exceeded", "Too much was stored in this hour"

    def __init__(self, rule: str, milliseconds: int) -> None:
        seconds = -(-milliseconds // 1000)
        super().__init__(f"{rule} Try again in {seconds:,} seconds.", headers={"Retry-After": str(seconds)})


# -- 503 ---------------------------------------------------------------------------------------


class ServiceUnavailable(ApiError):
    """It cannot be done now; the same request may be sent again.

    Nothing of it was stored, unless the connection to the database broke at COMMIT: then all of it was, or nothing, and
    nobody knows which (docs/reliability.md says what may be sent again without counting twice).
    """

    status, code, title = 503, "service-unavailable", "The service cannot do this right now"

    def __init__(self, detail: str | None = None, *, retry_after: int = 1, account: str | None = None) -> None:
        self.account = account
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class Busy(ServiceUnavailable):
    """Another transaction holds what this one needs; nothing of it was stored."""

    def __init__(self) -> None:
        super().__init__("The database is busy with another write. Try again.", retry_after=5)


# -- what only the shell meets (the status is never sent) --------------------------------------


class CommandError(ApiError):
    """A setting, file or database that Seneca cannot work with. Met in the shell only."""

    status, code, title = 500, "command-failed", "Seneca cannot work with this"


class ConfigurationError(CommandError):
    """A setting, a key file or a database URL is not valid."""


def reason(error: Exception) -> str:
    """What an error says, without the number and the file name that Python puts around what the system says."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


class TotalsMismatch(ApiError):
    """Kept figures are not what the recorded rows say."""

    status, code, title = 500, "totals-differ", "Figures differ from the recorded rows"
