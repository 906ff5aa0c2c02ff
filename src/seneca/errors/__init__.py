"""Every error that Seneca reports to a client or at the command line. Each class owns its HTTP status and its stable code.

``http.problem_details`` renders an ``ApiError`` as problem details, the command line as one line and an exit status. Any
other exception is a bug. A class has a docstring where its title does not say everything.
"""

from collections.abc import Mapping
from typing import Final, Literal

from seneca.common.times import to_iso
from seneca.errors.base import MAX_ERRORS as MAX_ERRORS
from seneca.errors.base import ApiError as ApiError
from seneca.errors.base import FieldError as FieldError
from seneca.errors.base import InvalidInput as InvalidInput


class MalformedJson(ApiError):
    status, code, title = 400, "malformed-json", "The body is not valid JSON"


class TooLate(InvalidInput):
    status, code, title = 400, "too-late", "A time is too long ago"


class TooManyRows(ApiError):
    status, code, title = 400, "too-many-rows", "The XLSX file would have too many rows"


TokenProblem = Literal["token-missing", "token-invalid", "token-expired", "signed-out"]
TOKEN_PROBLEMS: Final[Mapping[TokenProblem, tuple[str, str]]] = {
    "token-missing": ("A bearer token is required", "Send a bearer token in the header Authorization: Bearer TOKEN."),
    "token-invalid": ("The token is not valid", "The token is not valid. Sign in again."),
    "token-expired": ("The token has expired", "The token has expired. Refresh it, or sign in again."),
    "signed-out": ("This sign-in has ended", "This sign-in has ended. Sign in again."),
}
"""The title and the default detail of each code."""


class Unauthenticated(ApiError):
    """The token is missing or not valid. ``code`` says why; ``account`` is the account of a genuine token."""

    status, code, title = 401, "token-invalid", "The token is not valid"

    def __init__(self, code: TokenProblem, detail: str | None = None, *, account: str | None = None) -> None:
        self.code = code
        self.title, default_detail = TOKEN_PROBLEMS[code]
        self.account = account
        challenge = 'Bearer realm="seneca"' + ("" if code == "token-missing" else ', error="invalid_token"')
        super().__init__(detail or default_detail, headers={"WWW-Authenticate": challenge})

    @classmethod
    def titles(cls) -> Mapping[str, str]:
        """Map each code that this class can have to its title."""
        return {code: title for code, (title, _) in TOKEN_PROBLEMS.items()}


class InvalidCredentials(ApiError):
    """The name is unknown or the password is wrong. The response never says which."""

    status, code, title = 401, "invalid-credentials", "Invalid credentials"

    def __init__(self, *, account: str | None = None) -> None:
        self.account = account
        super().__init__("Invalid credentials", headers={"WWW-Authenticate": 'Bearer realm="seneca"'})


class Forbidden(ApiError):
    status, code, title = 403, "forbidden", "Your role does not permit this"


class RegistrationClosed(ApiError):
    status, code, title = 403, "registration-closed", "Only an administrator may register this account"


class RouteNotFound(ApiError):
    status, code, title = 404, "route-not-found", "There is no resource at this path"


class CourseNotFound(ApiError):
    status, code, title = 404, "course-not-found", "There is no such course"


class TopicNotFound(ApiError):
    status, code, title = 404, "topic-not-found", "The course has no such topic"


class SessionNotFound(ApiError):
    """No session has this id, or it belongs to another learner. The two look alike."""

    status, code, title = 404, "session-not-found", "There is no such session"


class AccountNotFound(ApiError):
    status, code, title = 404, "account-not-found", "There is no such account"


class MethodNotAllowed(ApiError):
    status, code, title = 405, "method-not-allowed", "The path does not support this method"


class RequestTimeout(ApiError):
    status, code, title = 408, "request-timeout", "The body did not arrive in time"


class NameTaken(ApiError):
    """The username or the e-mail address is in use. The response never says which."""

    status, code, title = 409, "name-taken", "Username or email already in use"

    def __init__(self) -> None:
        super().__init__("Username or email already in use")


class TitleTaken(ApiError):
    status, code, title = 409, "title-taken", "A course with this title already exists"


class TimeZoneInUse(ApiError):
    status, code, title = 409, "time-zone-in-use", "There are sessions, whose study days depend on the time zone"


class CourseInUse(ApiError):
    status, code, title = 409, "course-in-use", "Study sessions refer to this course"


class SessionIdTaken(ApiError):
    status, code, title = 409, "session-id-taken", "This session id is in use for something else"


class SessionEnded(ApiError):
    status, code, title = 409, "session-ended", "The session has ended"

    def __init__(self, ended_at: int) -> None:
        self.ended_at = ended_at
        end = to_iso(ended_at)
        super().__init__(f"The session ended at {end}.", members={"sessionEnd": end})


class Ambiguous(ApiError):
    status, code, title = 409, "ambiguous", "Several learners have a session with this id"


class SessionVoided(ApiError):
    status, code, title = 409, "session-voided", "An administrator deleted this session"


class SessionFull(ApiError):
    status, code, title = 409, "session-full", "The session is full"


class TooManyLearnerNames(ApiError):
    status, code, title = 409, "too-many-learner-names", "Too many module names of one learner in one course"


class TooManyNames(ApiError):
    status, code, title = 409, "too-many-names", "Too many module names in one course"


class OwnAccount(ApiError):
    """Administrators change their own account only by routes that ask for the current password."""

    status, code, title = 409, "own-account", "This is your own account"


class LastAdministrator(ApiError):
    status, code, title = 409, "last-administrator", "This is the last administrator"


class PreconditionFailed(ApiError):
    """``If-Match`` names another version than the stored one."""

    status, code, title = 412, "precondition-failed", "It has changed since you read it"


class PayloadTooLarge(ApiError):
    status, code, title = 413, "payload-too-large", "The body is too large"


class UnsupportedMediaType(ApiError):
    status, code, title = 415, "unsupported-media-type", "The body must be application/json"


class TooManyRequests(ApiError):
    """Too many sign-ins or registrations from one address, or sign-ins to one account. ``Retry-After`` says how long to wait."""

    status, code, title = 429, "too-many-requests", "Too many attempts: wait before the next one"

    def __init__(self, milliseconds: int) -> None:
        super().__init__(headers={"Retry-After": str(-(-milliseconds // 1000))})  # rounded up: never too early


class QuotaExceeded(ApiError):
    status, code, title = 429, "quota-exceeded", "The hourly quota is used up"

    def __init__(self, rule: str, milliseconds: int) -> None:
        seconds = -(-milliseconds // 1000)
        super().__init__(f"{rule} Try again in {seconds:,} seconds.", headers={"Retry-After": str(seconds)})


class ServiceUnavailable(ApiError):
    """A temporary failure: the client may retry the same request.

    Nothing was stored, with one exception: if the connection to the database broke during COMMIT, either everything or
    nothing was stored, and the server cannot tell which (docs/reliability.md says which requests are safe to retry).
    """

    status, code, title = 503, "service-unavailable", "The service is temporarily unavailable"

    def __init__(self, detail: str | None = None, *, retry_after: int = 1, account: str | None = None) -> None:
        self.account = account
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class Busy(ServiceUnavailable):
    """Another transaction holds a required lock. Nothing was stored."""

    def __init__(self) -> None:
        super().__init__("The database is busy with another write. Try again.", retry_after=5)


class CommandError(ApiError):
    """A setting, file or database cannot be used. Raised only at start and by commands; its status is never sent."""

    status, code, title = 500, "command-failed", "The command failed"


class ConfigurationError(CommandError):
    """A setting, a key file or a database URL is not valid."""


def reason(error: Exception) -> str:
    """Return an error's message, of an OSError without the number and the file name."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
