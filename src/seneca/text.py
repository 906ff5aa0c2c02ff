"""The kinds of text that input is made of, and the rule of each, as types that check themselves.

The patterns mean the same to Python and to JSON Schema. ``RULES`` says each in words.
"""

import unicodedata
from typing import Annotated, Final

from msgspec import Meta

from seneca.errors import Invalid

_CONTROL: Final = r"\u0000-\u001f\u007f-\u009f"
NO_NUL: Final = r"^[^\u0000]*$"
NO_CONTROL: Final = rf"^[^{_CONTROL}]*$(?!\n)"
NO_SPACE: Final = rf"^[^\s{_CONTROL}]*$(?!\n)"
TITLE: Final = rf"^(?!create$|[0-9a-fA-F]{{8}}(-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}$)[^/{_CONTROL}]*$(?!\n)"

MAX_PRINTED: Final = 1000  # characters of a message on a terminal

RULES: Final = {
    NO_NUL: "must not contain the character NUL",
    NO_CONTROL: "must not contain control characters",
    NO_SPACE: "must not contain white space or control characters",
    TITLE: "must not contain control characters or '/', be 'create', or have the form of a UUID",
}

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_NUL)]
Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_CONTROL)]
Title = Annotated[str, Meta(min_length=1, max_length=200, pattern=TITLE)]
Answer = Annotated[str, Meta(max_length=1000, pattern=NO_NUL)]
Username = Annotated[str, Meta(min_length=1, max_length=64, pattern=NO_SPACE)]
Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=254,
        pattern=NO_SPACE,
        extra_json_schema={"format": "email"},
    ),
]


def key(text: str) -> str:
    """The form in which names are compared: NFKC, case-folded, and NFKC again (UAX 15, UAX 31)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def check_email(email: str) -> None:
    """Check an address's syntax (RFC 5321, 5322, 6531); nothing is looked up.

    Raises:
        Invalid: it is not an address.

    """
    import email_validator  # 30 ms that a start need not wait for

    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()  # schools use .local and .test; nothing is ever sent
    try:
        # globally_deliverable=False: a school may use names that the public DNS does not know
        email_validator.validate_email(
            email, check_deliverability=False, test_environment=True, globally_deliverable=False
        )
    except email_validator.EmailNotValidError as error:
        raise Invalid.field("email", f"must be an email address: {error}") from None


def like(fragment: str) -> str:
    r"""A LIKE pattern, with ``\`` as its escape, for keys that contain the fragment's key."""
    escaped = key(fragment).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def printable(text: str, max_length: int = MAX_PRINTED) -> str:
    """Text that is safe to print on a terminal, in one line: what could control it is escaped, what is too long is cut.

    Escaped are control characters (ESC and line ends among them), formatting ones (bidirectional overrides), lone
    surrogates, and every space but the usual one.
    """
    if len(text) > max_length:
        text = f"{text[:max_length]}…"
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
