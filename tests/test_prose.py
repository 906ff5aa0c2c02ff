"""Documents, docstrings, comments and messages are in plain English: words that readers stumbled over stay out."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.no_database

ROOT = Path(__file__).parent.parent

PLAIN_WORDS = {
    r"anew": "again, new",
    r"who(?:so)?ever": "anyone who, the person who",
    r"so many": "a number, or 'this many'",
    r"(?:is|are) told": "gets, receives, has the setting",
    r"for ?ever": "without limit, permanently",
    r"mend(?:s|ed|ing)?": "fix, correct, repair",
    r"meanwhile": "while, in the meantime; often nothing",
    r"doors?": "interface, API, command line, page",
    r"figures?(?!\.rebuilt)": "total, statistic, number",  # `figures.rebuilt` is an action of the audit log
    r"concepts?": "domain module, domain function",
    r"refusals?": "error, rejection",
    r"scour(?:s|ed)?": "vacuum",
    r"aftermath": "erasure worker",
    r"hashery": "password hasher pool",
    r"in capitals or not": "case-insensitive",
}
"""Words that must not be used, as regular expressions, and what to write instead."""

BANNED = re.compile("|".join(rf"\b(?P<w{n}>{word})\b" for n, word in enumerate(PLAIN_WORDS)), re.IGNORECASE)

DOCUMENTS = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs"]
SOURCE = ["src", "tests", "bench"]
"""Directories and files of the source that keep to it."""


def files() -> Iterator[Path]:
    for name in [*DOCUMENTS, *SOURCE]:
        path = ROOT / name
        assert path.exists(), name
        found = [path] if path.is_file() else path.rglob("*")
        yield from sorted(
            file for file in found if file.suffix in (".md", ".py", ".sql", ".html", ".css") and file != Path(__file__)
        )


def prose(path: Path) -> list[str]:
    """The lines of a file. Of a document, code is blanked: old names in the changelog, values of the database. Names of tests are read as words."""
    text = path.read_text()
    if path.suffix == ".md":
        text = re.sub(r"`[^`\n]+`", "`…`", text)
    else:
        text = re.sub(r"\bdef test_\w+", lambda name: name[0].replace("_", " "), text)
    return text.splitlines()


def banned_words(path: Path) -> list[str]:
    """Each use of a banned word: file, line, the word and the plain one."""
    plain = list(PLAIN_WORDS.values())
    return [
        f"{path.relative_to(ROOT)}:{number}: {match[0]!r}: write {plain[int((match.lastgroup or '')[1:])]}"
        for number, line in enumerate(prose(path), 1)
        for match in BANNED.finditer(line)
    ]


def test_plain_words():
    if problems := [problem for path in files() for problem in banned_words(path)]:
        pytest.fail("\n".join(problems), pytrace=False)


def test_a_banned_word_is_found_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.test_prose.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("Nothing here: `for ever`, doorstep, figurehead.\nIt starts Anew.\n")
    assert banned_words(page) == ["page.md:2: 'Anew': write again, new"]
    tests = tmp_path / "test_it.py"
    tests.write_text("def test_it_starts_anew(anew_):\n    pass\n")
    assert banned_words(tests) == ["test_it.py:1: 'anew': write again, new"]


MAX_LINES = 300


def test_modules_are_short():
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "src").rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}
