"""docs/security.md says what is so: its tests exist, its requirements are the standard's, its numbers the program's."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from seneca.auth import (
    login_throttle,
    password_hasher_pool,
    password_policy,
    passwords,
    sign_ins,
    signing_keys,
    token_verifier,
)
from seneca.auth.caller import ACCESS_TOKEN_TTL_SECONDS
from seneca.http import endpoint, pagination, registration
from seneca.http.limits import request_body
from seneca.settings import Settings

pytestmark = pytest.mark.no_database

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "security.md").read_text()
WORDS = " ".join(TEXT.split())
LEVELS = dict(
    line.split()
    for line in (ROOT / "tests" / "data" / "asvs-5.0.0.txt").read_text().splitlines()
    if not line.startswith("#")
)
NOT_OURS = {"10", "17"}  # OAuth and OIDC; WebRTC
DAY = 86_400_000  # milliseconds


@cache
def functions_in(name: str) -> set[str]:
    """The tests in a file of tests/."""
    path = ROOT / "tests" / name
    if not path.exists():
        return set()
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def section(heading: str) -> str:
    return TEXT.split(f"\n### {heading}\n")[1].split("\n### ")[0]


def cells(heading: str) -> list[list[str]]:
    """The rows of the table under a heading, which are about requirements."""
    rows = [row for row in section(heading).splitlines() if row.startswith("| v")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


# -- tests -------------------------------------------------------------------------------------


def test_tests_that_are_named_exist():
    named = set(re.findall(r"`(test_\w+\.py)::(\w+)`", TEXT))
    assert len(named) > 100
    assert sorted(f"{file}::{name}" for file, name in named if name not in functions_in(file)) == []
    assert all(name.startswith("test_") for _, name in named)


def test_every_name_of_a_test_has_the_form_that_is_looked_for():
    assert len(re.findall(r"test_\w+\.py", TEXT)) == len(re.findall(r"`test_\w+\.py::test_\w+`", TEXT))


# -- requirements ------------------------------------------------------------------------------


def test_every_requirement_is_the_standards_and_there_once():
    mentioned = re.findall(r"v5\S*", TEXT.replace("v5.0.0_release", ""))
    found = [re.fullmatch(r"v5\.0\.0-(\d+\.\d+\.\d+),?", text) for text in mentioned]
    assert None not in found
    numbers = [match[1] for match in found if match]
    assert [number for number in numbers if number not in LEVELS] == []
    assert sorted(set(numbers)) == sorted(numbers)
    ours = {number for number, level in LEVELS.items() if level in "12" and number.split(".")[0] not in NOT_OURS}
    assert sorted(ours - set(numbers)) == []


def test_levels_are_the_standards():
    for heading in ("Met", "Not met, and why", "Yours, where you run it", "When there are pages"):
        assert cells(heading)
        for requirement, level, *statements in cells(heading):
            assert level == LEVELS[requirement.removeprefix("v5.0.0-")], requirement
            assert all(statements), requirement


def test_whatever_is_met_is_shown_by_a_test_or_said_in_a_section():
    headings = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    for requirement, _, _, shown in cells("Met"):
        for one in shown.split(", "):
            link = re.fullmatch(r"\[[\w -]+\]\(#([\w-]+)\)", one)
            assert (link and link[1] in anchors) or re.fullmatch(r"`test_\w+\.py::test_\w+`", one), (requirement, one)


def test_links_within_the_page_lead_somewhere():
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^##+ (.+)$", TEXT, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= anchors


# -- numbers -----------------------------------------------------------------------------------


def tries_a_day() -> int:
    """How many passwords somebody who never waits longer than required can try on one name in a day."""
    now, tries = 0, 0
    while now < DAY:
        tries += 1
        if tries >= login_throttle.FREE_FAILURES:
            now += min(
                login_throttle.FIRST_WAIT_MS << (tries - login_throttle.FREE_FAILURES), login_throttle.MAX_WAIT_MS
            )
    return tries


MINUTES = login_throttle.WINDOW_MS // 60_000
BOUNDS = passwords.NewPassword.__metadata__[0]
HASHER = passwords._ARGON2
NUMBERS = [
    f"Passwords have {BOUNDS.min_length} to {BOUNDS.max_length} characters",
    f"8 characters or more ({len(password_policy.common_of_leaked_lists()):,})",
    f"an estimated 10^{signing_keys.MIN_GUESSES_LOG10} guesses",
    f"argon2id ({HASHER.memory_cost // 1024} MiB, {HASHER.time_cost} passes, {HASHER.parallelism} lane)",
    f"a multiple of {passwords.FAILURE_STEP_MS} ms",
    f"as it has cores for itself, at most {password_hasher_pool.MAX_THREADS}; at most {password_hasher_pool.MAX_WAITING} wait",
    f"An access token is good for {ACCESS_TOKEN_TTL_SECONDS // 60} minutes",
    f"it is good for {ACCESS_TOKEN_TTL_SECONDS // 60} minutes",
    f"ends {sign_ins.MAX_IDLE_MS // DAY} days after it was last refreshed, and {sign_ins.MAX_AGE_MS // DAY} days after",
    f"Within {sign_ins.REUSE_GRACE_MS // 1000} seconds of its first use",
    f"reads what ended every {token_verifier.POLL_SECONDS:.0f} seconds",
    f"could not read for {token_verifier.MAX_STALENESS_SECONDS:.0f} seconds answers 503",
    f"The first {login_throttle.FREE_FAILURES} failures cost nothing",
    f"must wait {login_throttle.FIRST_WAIT_MS // 1000} second, then twice as long each time, up to {login_throttle.MAX_WAIT_MS // 60_000} m",
    f"{login_throttle.FORGET_AFTER_MS // 3_600_000} hours without an attempt",
    f"about {round(tries_a_day(), -1)} passwords a day",
    f"has signed in within {login_throttle.FAMILIAR_FOR_MS // DAY} days",
    f"may fail {Settings().max_login_failures} times in {MINUTES} minutes (`SENECA_MAX_LOGIN_FAILURES`)",
    f"one attempt each {login_throttle.SLOW_INTERVAL_MS} ms, and more than {login_throttle.MAX_SLOW_QUEUE_MS // 1000} seconds",
    f"At most {password_hasher_pool.MAX_OF_ACCOUNT} sign-ins of one account at one address and {password_hasher_pool.MAX_OF_ADDRESS} of one",
    f"At most {password_hasher_pool.MAX_HASHES_OF_ADDRESS} new passwords of one address wait",
    f"An account may have {sign_ins.MAX_SIGN_INS} sign-ins at once",
    f"{Settings().max_registrations} in {MINUTES} minutes (`SENECA_MAX_REGISTRATIONS`)",
    f"within {registration.LOCAL_SECONDS // 60} minutes of the server's start",
    f"A body has at most {endpoint.MAX_BODY_BYTES // 1024} KiB",
    f"up to {request_body.MAX_DRAINED_BYTES // 1024**2} MiB or {request_body.DRAIN_SECONDS} seconds",
    f"has {pagination.DEFAULT_LIMIT} entries unless asked, at most {pagination.MAX_LIMIT:,}",
    f"given ones need {signing_keys.MIN_CHARACTERS} characters",
]


def test_numbers_are_those_of_the_program():
    assert [number for number in NUMBERS if number not in WORDS] == []


def test_deadlines_are_those_of_the_program():
    from seneca.http import responses
    from seneca.http.limits import concurrency
    from seneca.server import processes

    said = [
        f"(1 MiB for a course), and {request_body.BODY_SECONDS} seconds to arrive",
        f"A header has {processes.HEADER_TIMEOUT_MS // 1000} seconds and {processes.MAX_HEADER_BYTES // 1024} KiB",
        f"takes nothing for {responses.CHUNK_SECONDS} seconds is disconnected",
        f"an account has at most {concurrency.MAX_PER_ACCOUNT} in progress",
    ]
    assert [number for number in said if number not in WORDS] == []
