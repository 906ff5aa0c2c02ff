"""Types of text in the input, with their rules.

The patterns mean the same in Python and in JSON Schema. ``RULES`` describes each in words.
"""

import re
import unicodedata
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from seneca.common.unicode_names import is_visible, mixes_scripts, nfkc_casefold

MAX_NAME_CHARACTERS: Final = 200
MAX_ANSWER_CHARACTERS: Final = 10_000

_CONTROL: Final = r"\u0000-\u001f\u007f-\u009f"
_BIDI: Final = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_NOT_BLANK: Final = r"(?=\s*[^\s\u001c-\u001f\u0085\ufeff])"
_UUID: Final = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
NO_NUL: Final = r"^[^\u0000]*$"
NAME: Final = rf"^{_NOT_BLANK}[^\u0000]*$"  # for JSON Schema
NO_CONTROL: Final = rf"^[^{_CONTROL}]*$(?!\n)"
NO_SPACE: Final = rf"^[^\s{_CONTROL}]*$(?!\n)"
USERNAME: Final = rf"^[^\s{_CONTROL}{_BIDI}]*$(?!\n)"
TITLE: Final = rf"^{_NOT_BLANK}(?!\s*(create|\.\.?|{_UUID})\s*$)[^/{_CONTROL}]*$(?!\n)"
UUID: Final = rf"^{_UUID}$(?!\n)"

MAX_PRINTED_CHARACTERS: Final = 1000  # of a message on a terminal

RULES: Final = {
    NO_NUL: "must not contain the character NUL",
    NO_CONTROL: "must not contain control characters",
    NO_SPACE: "must not contain white space or control characters",
    USERNAME: "must not contain white space, control characters or bidirectional formatting characters",
    TITLE: "must not be blank, contain control characters or '/', be 'create', '.' or '..', or have the form of a UUID",
    UUID: "must be a UUID",
}

# Names and answers are decoded without a pattern, because matching one would dominate the cost of a request: structs check for
# blank names when they normalise them, and the decoder searches the whole text for NUL once.
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARACTERS, extra_json_schema={"pattern": NAME})]
CursorText = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=NO_NUL)]
Line = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=NO_CONTROL)]
Title = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=TITLE)]
Answer = Annotated[str, Meta(max_length=MAX_ANSWER_CHARACTERS, extra_json_schema={"pattern": NO_NUL})]
Username = Annotated[str, Meta(min_length=1, max_length=64, pattern=USERNAME)]
Id = Annotated[str, Meta(pattern=UUID, extra_json_schema={"format": "uuid"})]
"""A UUID in its 36-character form, case-insensitive."""
Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=254,
        pattern=NO_SPACE,
        extra_json_schema={"format": "email"},
    ),
]


class FieldRuleError(ValueError):
    """A field breaks a rule that its type cannot express. Raised while a struct is constructed."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field} {rule}")
        self.field = field
        self.rule = rule


def normalise_name(name: str) -> str:
    """Return the form in which titles, topics and module names are stored and compared: trimmed, in NFC."""
    return unicodedata.normalize("NFC", name.strip())


def normalise_member(struct: Struct, attribute: str, field: str) -> None:
    """Normalise a name of a struct that is being constructed. Values that are not text stay unchanged.

    Raises:
        FieldRuleError: the name is blank, or too long once normalised.

    """
    name = getattr(struct, attribute)
    if not isinstance(name, str) or (name.isascii() and name and name.strip() == name):
        return
    if (normal := normalise_name(name)) != name or not normal:
        check_normalised(normal, field)
        force_setattr(struct, attribute, normal)


def normalise_members(struct: Struct, attribute: str) -> None:
    """Normalise a list of names of a struct that is being constructed, if all are text. Raises FieldRuleError."""
    names = getattr(struct, attribute)
    try:
        normal = [unicodedata.normalize("NFC", name.strip()) for name in names]
    except (AttributeError, TypeError):  # a value is UNSET, because its type was wrong
        return
    if normal != names or "" in normal:
        for index, name in enumerate(normal):
            check_normalised(name, f"{attribute}[{index}]")
        force_setattr(struct, attribute, normal)


def check_normalised(name: str, field: str) -> None:
    """Check a normalised name. Raises FieldRuleError."""
    if not name:
        raise FieldRuleError(field, "must not be blank")
    if len(name) > MAX_NAME_CHARACTERS:
        raise FieldRuleError(field, f"must have at most {MAX_NAME_CHARACTERS} characters in Unicode's form NFC")


def key(text: str) -> str:
    """Return the case-insensitive form in which usernames, addresses and searches are compared."""
    return nfkc_casefold(text)


def username_rule(username: str, email: str | None) -> str | None:
    """Return the rule that a username breaks and its type cannot express. None: it is valid.

    Args:
        username: a valid ``Username``.
        email: the account's address; None if it is not known.

    """
    if not is_visible(username):
        return "must have at least one visible character"
    if mixes_scripts(username):
        return "must not mix Latin, Greek and Cyrillic letters in one word"
    if email is not None and _ADDRESS_LIKE.search(key(username)) and key(username) != key(email):
        return "must not be an email address, unless it is the account's own"
    return None


_ADDRESS_LIKE: Final = re.compile(r"[^@]@[^@]")


def email_rule(email: str) -> str | None:
    """Return the rule of the syntax (RFC 5321, 5322, 6531) that an address breaks. None: it is valid. There is no DNS lookup."""
    import email_validator  # takes 30 ms, which would delay the start

    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()  # schools use .local and .test, and no mail is ever sent
    try:
        # globally_deliverable=False: a school may use names that the public DNS does not know
        email_validator.validate_email(
            email, check_deliverability=False, test_environment=True, globally_deliverable=False
        )
    except email_validator.EmailNotValidError as error:
        return f"must be an email address: {error}"
    return None


def like(fragment: str) -> str:
    r"""Make a LIKE pattern, escaped with ``\``, for keys that contain the fragment's key."""
    escaped = key(fragment).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def printable(text: str, max_length: int = MAX_PRINTED_CHARACTERS) -> str:
    """Make a text safe to print on one line of a terminal: escape special characters, truncate what is too long.

    Escaped are control characters (also ESC and line ends), format characters (bidirectional overrides), lone surrogates, and
    all kinds of space except U+0020.
    """
    if len(text) > max_length:
        text = f"{text[:max_length]}…"
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
