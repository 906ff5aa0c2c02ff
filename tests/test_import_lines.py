"""A line of a session is converted before its rules are checked one by one: both must agree."""

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seneca.common.json_decoding import decoder
from seneca.errors import FieldError, InvalidInput
from seneca.exchange.records import read
from seneca.exchange.session_lines import SessionLine, Target

pytestmark = pytest.mark.no_database

ID = "0d9e2b1c-5f3a-4c7e-8b21-9a6f4d3c2e10"
TIMES = st.sampled_from(
    ["2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00,0001+00", "2026-02-30T00:00:00Z", "2025-12-31T23:59:59Z", "today"]
)
SCORES = st.sampled_from([0, 99, 0.5, 1_000_000, -1_000_001, 1_000_000.5, True, "5", None, []])
PARTS = st.none() | st.just([]) | st.fixed_dictionaries({}, optional={"score": SCORES, "recordedAt": st.none() | TIMES})
MODULES = st.fixed_dictionaries(
    {"moduleName": st.sampled_from(["A", " A", "B", "\u00e9", "e\u0301"])},
    optional={"adaptive": PARTS, "quiz": PARTS, "wrongAnswers": PARTS},
)


LINES = st.fixed_dictionaries(
    {
        "sessionStart": TIMES,
        "sessionEnd": st.none() | TIMES,
        "isEnd": st.booleans(),
        "modulesStats": st.lists(MODULES, max_size=3),
    },
    optional={
        "endedBy": st.sampled_from([None, "learner", "timeout", "administrator"]),
        "activity": st.none() | st.lists(st.tuples(TIMES, TIMES), max_size=3),
        "idleSince": st.none() | TIMES,
    },
)
VALID = {"sessionStart": "2026-01-01T00:00:00.000Z", "sessionEnd": None, "isEnd": False, "modulesStats": []}


@given(LINES)
@example(VALID)
@example(VALID | {"isEnd": True})
@example(VALID | {"isEnd": True, "sessionEnd": "2025-12-31T23:59:59Z"})
@example(VALID | {"sessionEnd": "today"})
@example(VALID | {"sessionStart": "today"})
@example(VALID | {"endedBy": "learner"})
@example(VALID | {"idleSince": "today"})
@example(VALID | {"activity": [["2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z"]]})
@example(VALID | {"activity": [["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]] * 2})
@example(VALID | {"activity": [["today", "2026-01-01T00:00:00Z"]]})
@example(VALID | {"modulesStats": [{"moduleName": "A", "quiz": {"recordedAt": "today"}}]})
@example(VALID | {"modulesStats": [{"moduleName": "A"}, {"moduleName": " A"}]})
@example(VALID | {"modulesStats": [{"moduleName": "A", "wrongAnswers": {"score": "5"}}]})
def test_a_session_is_refused_for_exactly_the_errors_of_its_line(members: dict[str, Any]):
    line = {"kind": "session", "id": ID, "userId": ID, "courseId": ID, "topic": "T"} | members
    raw = json.dumps(line).encode()
    expected = list(decoder(SessionLine).decode(raw).find_errors())
    found: list[FieldError] = []
    try:
        read(raw, 1, Target(64, 300_000, ZoneInfo("UTC")))
    except InvalidInput as error:
        found = list(error.errors)
    assert sorted(map(str, found)) == sorted(map(str, expected))
