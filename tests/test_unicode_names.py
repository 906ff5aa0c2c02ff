"""How names are compared (Unicode, section 3.13, D147), and what a name may look like."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seneca.common import text_types
from seneca.common.unicode_names import is_default_ignorable, is_visible, mixes_scripts, nfkc_casefold

pytestmark = pytest.mark.no_database


def characters() -> list[str]:
    return [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]


def test_every_character_is_mapped_as_the_standard_derives_it():
    for character in characters():
        mapped = nfkc_casefold(character)
        assert nfkc_casefold(mapped) == mapped
        assert unicodedata.is_normalized("NFKC", mapped)
        if is_default_ignorable(character):
            assert mapped == ""
        else:
            assert mapped == nfkc_casefold(unicodedata.normalize("NFKC", character.casefold()))


@given(st.text(), st.text())
def test_texts_that_are_caseless_matches_are_equal(first: str, second: str):
    assert nfkc_casefold(unicodedata.normalize("NFD", first)) == nfkc_casefold(first)
    assert nfkc_casefold(nfkc_casefold(first)) == nfkc_casefold(first)
    joined = nfkc_casefold(first + "\u200b" + second)
    assert joined == nfkc_casefold(first + second)


@pytest.mark.parametrize(
    "alike",
    [
        (
            "alice",
            "ali\u200bce",
            "\u200dalice",
            "al\u00adice",
            "alice\ufe0f",
            "ALICE\U000e0041",
            "alic\u2060e",
            "Ａlice",
        ),
        ("ﬀi", "ffi", "FFI", "ﬃ"),
        ("ᾳ", "α\u0345", "αι"),  # U+0345, for which D147 decomposes first
        ("ᾴ", "α\u0301\u0345", "α\u0345\u0301"),
        ("ǰ", "j\u030c", "ǰ".upper()),
        ("\u3164가", "가", "\u1100\u1161"),
    ],
)
def test_names_that_are_one(alike: tuple[str, ...]):
    assert {text_types.key(name) for name in alike} == {text_types.key(alike[0])}


@pytest.mark.parametrize(
    "name",
    [
        "\u2800",
        "\u3164",
        "\u115f",
        "\u1160",
        "\uffa0",
        "\u200b",
        "\u200e",
        "\ufe0f",
        "\U000e0041\U000e007f",
        "\u2800\u3164",
        "\ufff9\ufffb",
        "\U00013430",
        "\U00016fe4",
        "\U0001d159",
        "",
    ],
)
def test_names_without_a_visible_character(name: str):
    assert not is_visible(name)
    assert text_types.username_rule(name, "zoe@example.org") == "must have at least one visible character"
    assert is_visible(f"{name}a{name}")


@pytest.mark.parametrize("name", ["аlice", "alicе", "Ｐа", "pаypal-1", "Αlpha", "x1аb", "e\u0301а"])
def test_words_of_mixed_scripts(name: str):
    assert mixes_scripts(name)


@pytest.mark.parametrize(
    "name",
    ["alice", "алиса", "άλφα", "иванов-7A", "иванов7a", "田中taro", "m²", "Ωmega"[:1], "zoë", "łódź", "ali🎓ce", "a_б"],
)
def test_words_of_one_script(name: str):
    assert not mixes_scripts(name)
