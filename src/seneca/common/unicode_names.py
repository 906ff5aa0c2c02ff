"""How names are compared, and what a name may not look like: what Python's own Unicode tables do not say."""

import unicodedata
from functools import lru_cache
from typing import Final

# Default_Ignorable_Code_Point, of Unicode 16.0's DerivedCoreProperties.txt; unassigned ones are reserved as such, so that the
# ranges have been the same since Unicode 9.
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
    "\u2800\U00016fe4\U0001d159"  # a Braille pattern, a Khitan filler, a note without a head: they leave no ink
)
INVISIBLE: Final = ("Cc", "Cf")
"""Categories of controls and format characters. A few of the latter can be seen, but say nothing alone."""
SCRIPTS: Final = {"LATIN", "GREEK", "CYRILLIC"}
"""Scripts that share the shapes of many letters."""


def is_default_ignorable(character: str) -> bool:
    """Whether a character is not shown, unless a font knows better."""
    return any(first <= ord(character) <= last for first, last in DEFAULT_IGNORABLE)


def nfkc_casefold(text: str) -> str:
    """Text in the form in which identifiers are compared: toNFKC_Casefold(NFD(text)) (Unicode 16.0, section 3.13, D147).

    Compatibility variants, upper and lower case, and default-ignorable characters make no difference.
    """
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(map(_nfkc_casefold_of_one, decomposed)))


@lru_cache(2048)
def _nfkc_casefold_of_one(character: str) -> str:
    """The property NFKC_Casefold: case folding, NFKC and the removal of ignorable characters, until nothing changes.

    As DerivedNormalizationProps.txt derives it.
    """
    text = character
    while True:
        shown = "".join(each for each in text.casefold() if not is_default_ignorable(each))
        mapped = unicodedata.normalize("NFKC", shown)
        if mapped == text:
            return mapped
        text = mapped


def is_visible(text: str) -> bool:
    """Whether something of a text can be seen."""
    return any(
        not (each.isspace() or each in BLANK or is_default_ignorable(each) or unicodedata.category(each) in INVISIBLE)
        for each in text
    )


def mixes_scripts(text: str) -> bool:
    """Whether letters of Latin, Greek and Cyrillic stand in one word, as in «pаypal» with a Cyrillic «а».

    A cheap defence. Whole words of another script that look alike, and look-alikes of other scripts, pass.
    """
    script = None
    for character in unicodedata.normalize("NFKC", text):
        if unicodedata.combining(character):
            continue
        if not character.isalpha():
            script = None
            continue
        found = unicodedata.name(character, "").partition(" ")[0]
        if found in SCRIPTS:
            if script not in (None, found):
                return True
            script = found
    return False
