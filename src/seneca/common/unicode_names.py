"""Unicode rules for names that Python's own tables lack: how names are compared, and which look misleading."""

import unicodedata
from functools import lru_cache
from typing import Final

# Default_Ignorable_Code_Point in DerivedCoreProperties.txt of Unicode 16.0. It includes reserved code points, so the ranges
# have not changed since Unicode 9.
DEFAULT_IGNORABLE: Final = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x061C, 0x061C),  # Arabic letter mark
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors and vowel separator
    (0x200B, 0x200F),  # zero-width space, joiners, directional marks
    (0x202A, 0x202E),  # bidirectional embeddings and overrides
    (0x2060, 0x206F),  # word joiner, invisible operators, bidirectional isolates
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFEFF, 0xFEFF),  # zero-width no-break space
    (0xFFA0, 0xFFA0),  # halfwidth Hangul filler
    (0xFFF0, 0xFFF8),  # reserved
    (0x1BCA0, 0x1BCA3),  # shorthand format controls
    (0x1D173, 0x1D17A),  # musical format controls
    (0xE0000, 0xE0FFF),  # tags, variation selectors, reserved
)
BLANK: Final = (
    "\u2800\U00016fe4\U0001d159"  # a Braille pattern, a Khitan filler, a note without a head: all render blank
)
INVISIBLE: Final = ("Cc", "Cf")
"""The categories of control and format characters. A few of the latter are visible, but mean nothing alone."""
SCRIPTS: Final = {"LATIN", "GREEK", "CYRILLIC"}
"""Scripts with many letters that look the same."""


def is_default_ignorable(character: str) -> bool:
    """Whether fonts normally do not display a character."""
    return not character.isascii() and any(first <= ord(character) <= last for first, last in DEFAULT_IGNORABLE)


def nfkc_casefold(text: str) -> str:
    """Return the form in which identifiers are compared: toNFKC_Casefold(NFD(text)) (Unicode 16.0, section 3.13, D147).

    It ignores case, compatibility variants and default-ignorable characters.
    """
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(map(_nfkc_casefold_of_one, decomposed)))


@lru_cache(2048)
def _nfkc_casefold_of_one(character: str) -> str:
    """Compute the property NFKC_Casefold: fold case, remove ignorable characters and apply NFKC until nothing changes.

    This is how DerivedNormalizationProps.txt derives it.
    """
    text = character
    while True:
        visible = "".join(character for character in text.casefold() if not is_default_ignorable(character))
        mapped = unicodedata.normalize("NFKC", visible)
        if mapped == text:
            return mapped
        text = mapped


def is_visible(text: str) -> bool:
    """Whether a text has at least one visible character."""
    return any(
        not (c.isspace() or c in BLANK or is_default_ignorable(c) or unicodedata.category(c) in INVISIBLE) for c in text
    )


def mixes_scripts(text: str) -> bool:
    """Whether one word mixes Latin, Greek and Cyrillic letters, as in «pаypal» with a Cyrillic «а».

    This is only a simple defence: it accepts look-alike words that are entirely in one script, and look-alikes of other scripts.
    """
    if text.isascii():
        return False
    script = None
    for character in unicodedata.normalize("NFKC", text):
        if unicodedata.combining(character):
            continue
        if not character.isalpha():
            script = None
            continue
        name = unicodedata.name(character, "").partition(" ")[0]
        if name in SCRIPTS:
            if script not in (None, name):
                return True
            script = name
    return False
