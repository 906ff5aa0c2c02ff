"""The policy for new passwords: none that an attacker tries first (NIST SP 800-63B, 3.1.1.2; OWASP ASVS 5.0, 6.2)."""

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Final

from seneca.common import text_types
from seneca.errors import ConfigurationError, InvalidInput

SCHOOL_WORDS: Final = """
seneca school schule ecole escuela scuola college university student schueler schüler eleve alumno teacher lehrer
spring summer autumn winter frühling fruehling sommer herbst printemps automne hiver primavera verano otoño invierno estate
"""
"""The product's name, and words that pupils commonly combine with a year."""
MIN_SCORE: Final = 2  # of zxcvbn: at least a million guesses
MAX_ESTIMATED_CHARACTERS: Final = 20  # zxcvbn's time grows faster than the length: 5 ms for 20, 33 ms for 32
MAX_SUBSTITUTIONS: Final = 32  # and with the number of ways to read symbols as letters: 576 take 0.3 s
MIN_WORD_CHARACTERS: Final = 3
MIN_PART_CHARACTERS: Final = 4  # of a name that has several parts
MIN_COMMON_CHARACTERS: Final = 5
MAX_WORDS: Final = 1000

_MARKS = re.compile(r"[@._+-]")

COMMON: Final = "is among the most common passwords, or one of them with digits or marks around it"
KNOWN_WORD: Final = "must not be built from the username, the email address or a word that is common here"
WEAK: Final = "is easily guessed: use a longer one, or several unrelated words"


class PasswordPolicy:
    """The rules for a new password, except for its length.

    Args:
        words: local words (the school's name, its town) that passwords must not be built from.

    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._words = sorted(text_types.key(word) for word in {*SCHOOL_WORDS.split(), *words})

    @classmethod
    def load(cls, path: str) -> "PasswordPolicy":
        """Load the policy with the words of a file, one per line. An empty path gives ``DEFAULT``.

        Raises:
            ConfigurationError: the file cannot be read, or has too many words.

        """
        if not path:
            return DEFAULT
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigurationError(f"SENECA_PASSWORD_WORDS: {path} cannot be read: {reason}.") from error
        words = [word for line in lines if len(word := line.strip()) >= MIN_WORD_CHARACTERS]
        if len(words) > MAX_WORDS:
            raise ConfigurationError(f"SENECA_PASSWORD_WORDS: {path} has more than {MAX_WORDS:,} words.")
        return cls(words)

    def check(self, password: str, *names: str, field: str = "password") -> None:
        """Check that a password is not easily guessed.

        Args:
            password: the new password.
            names: the account's username and e-mail address, as far as known.
            field: the name of the password's member, for the error.

        Raises:
            InvalidInput: it is common, is a name or a local word, or has a low score.

        """
        forms = {text_types.key(password), _letters(password)} - {""}
        words = [*_parts(names), *self._words]
        if forms & {*words, *map(_letters, words)}:
            raise InvalidInput.field(field, KNOWN_WORD)
        if forms & common_passwords():
            raise InvalidInput.field(field, COMMON)
        if not is_strong(password, words):
            raise InvalidInput.field(field, WEAK)


DEFAULT: Final = PasswordPolicy()
"""The policy without local words."""


def load_lists() -> None:
    """Load the word lists, which would otherwise delay the first check by 0.7 s."""
    DEFAULT.check("correct-horse-battery-staple")


@cache
def common_passwords() -> frozenset[str]:
    """Return the keys of common passwords, from two lists.

    The first has those of 8 or more characters among the 20,000 most frequent leaked passwords, collected by Royce Williams
    from Have I Been Pwned. The second is zxcvbn's list of 30,000, without those of fewer than 5 characters.
    """
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    of_zxcvbn = (word for word in FREQUENCY_LISTS["passwords"] if len(word) >= MIN_COMMON_CHARACTERS)
    return frozenset(text_types.key(word) for word in (*common_of_leaked_lists(), *of_zxcvbn))


def common_of_leaked_lists() -> list[str]:
    """Read the common leaked passwords, most frequent first."""
    return files("seneca.auth").joinpath("common_passwords.txt").read_text(encoding="utf-8").splitlines()


def is_strong(password: str, words: list[str]) -> bool:
    """Whether zxcvbn estimates that a password takes a million guesses or more.

    Of a long password only the first and the last characters are estimated: one strong end is enough. A password with many
    symbols that can stand for letters counts as strong without an estimate, which would take too long: an attacker would not
    start with the words behind it.
    """
    from zxcvbn import zxcvbn  # takes 50 ms, which would delay the start
    from zxcvbn.matching import L33T_TABLE, relevant_l33t_subtable

    for end in {password[:MAX_ESTIMATED_CHARACTERS], password[-MAX_ESTIMATED_CHARACTERS:]}:
        if prod(map(len, relevant_l33t_subtable(end, L33T_TABLE).values())) > MAX_SUBSTITUTIONS:
            return True
        if zxcvbn(end, user_inputs=words)["score"] >= MIN_SCORE:
            return True
    return False


def _parts(names: Iterable[str]) -> list[str]:
    """Split names: the whole keys, the two sides of addresses, and the parts between marks."""
    keys = [text_types.key(name) for name in names]
    sides = [side for key in keys if "@" in key for side in key.split("@")]
    parts = [part for key in keys for part in _MARKS.split(key) if len(part) >= MIN_PART_CHARACTERS]
    return [*keys, *sides, *parts]


def _letters(word: str) -> str:
    """Strip the digits and marks around a word."""
    key = text_types.key(word)
    letters = [index for index, character in enumerate(key) if character.isalpha()]
    return key[letters[0] : letters[-1] + 1] if letters else ""
