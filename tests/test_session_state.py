"""The rules by which requests change a session, without a database: the order and repetition of a device's reports do not matter."""

from random import Random
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from seneca.accounts import Learner
from seneca.courses.topics import CourseHead
from seneca.errors import SessionEnded, SessionFull
from seneca.sessions.rows import PARTS, RecordedResult, ResultRow
from seneca.sessions.state import TOLERANCE_MS, SessionState, new_row

MINUTE = 60_000
IDLE = 5 * MINUTE
START = 1_000 * MINUTE
NOW = START + 10_000 * MINUTE
UTC = ZoneInfo("UTC")
COURSE = CourseHead("course", "Mathematics", "hash")


def new_session(started_at: int = START) -> SessionState:
    return SessionState(
        new_row(Learner("alice", 1), "session", COURSE, "Number", started_at=started_at, zone=UTC),
        {},
        IDLE,
        is_new=True,
    )


def part(score: int, *, done: bool = True) -> str:
    return msgspec.json.encode({"answers": [], "isCompleted": done, "score": score}).decode()


def result(name: str, at: int | None, **scores: int | tuple[int, bool]) -> RecordedResult:
    columns: dict[str, object] = {}
    for kind, value in scores.items():
        score, done = value if isinstance(value, tuple) else (value, True)
        columns[kind] = part(score, done=done)
        if kind != "wrong_answers":
            columns[f"{kind}_score"] = score * 1000
    return RecordedResult(ResultRow(name, 0, **columns), at)  # type: ignore[arg-type]


reports = st.lists(
    st.tuples(
        st.sampled_from("ABC"),
        st.integers(0, 20),
        st.dictionaries(st.sampled_from(PARTS), st.tuples(st.integers(0, 3), st.booleans()), min_size=1),
    ),
    min_size=1,
    max_size=8,
)


@given(reports, st.integers(0, 25), st.randoms())
def test_order_and_repetition_do_not_matter(reports, end: int, random: Random) -> None:
    """Each report and the end arrive at least once, in any order, as items of batches that say when the session ended."""
    ended_at = START + max(end, *(minute for _, minute, _ in reports)) * MINUTE
    requests = [(result(name, START + minute * MINUTE, **parts),) for name, minute, parts in reports]
    outcomes = []
    for order in (requests, random.sample(requests * 2, 2 * len(requests))):
        session = new_session()
        for updates in order:
            session.record(updates, NOW, ended_at)
            if session.row.ended_at is None or random.random() < 0.5:
                try:
                    session.end(ended_at, NOW)
                except SessionEnded:
                    assert session.row.ended_at == ended_at
        if session.row.ended_at is None:
            session.end(ended_at, NOW)
        parts = {name: msgspec.structs.replace(row, position=0) for name, row in session.results.items()}
        outcomes.append((session.row, parts))
    assert outcomes[0] == outcomes[1]
    row, parts = outcomes[0]
    assert row.points == sum(each.points for each in parts.values())
    assert row.bytes == sum(each.bytes for each in parts.values())
    assert row.results == len(parts)


def test_at_equal_times_a_completed_part_wins_then_the_score_then_the_text() -> None:
    session = new_session()
    for value in [(5, True), (9, False), (3, True), (7, True)]:
        session.record([result("A", START, quiz=value)], NOW)
    assert session.results["A"].quiz == part(7)
    assert session.results["A"].quiz_score == 7000
    for answers in ("B", "C", "A"):
        text = msgspec.json.encode({"answers": [answers], "isCompleted": True, "score": 7}).decode()
        session.record([RecordedResult(ResultRow("B", 0, quiz=text, quiz_score=7000), START)], NOW)
    assert session.results["B"].quiz == '{"answers":["C"],"isCompleted":true,"score":7}'


def test_an_older_part_never_replaces_a_newer_one_and_others_are_merged() -> None:
    session = new_session()
    session.record([result("A", START + 2, quiz=1)], NOW)
    session.record([result("A", START + 1, quiz=9, adaptive=4)], NOW)
    row = session.results["A"]
    assert (row.quiz_score, row.quiz_at) == (1000, START + 2)
    assert (row.adaptive_score, row.adaptive_at) == (4000, START + 1)
    assert session.row.points == 5000


def test_a_result_without_a_time_is_the_newest() -> None:
    session = new_session()
    session.record([result("A", None, quiz=9)], NOW + 5)
    session.record([result("A", None, quiz=1)], NOW)  # the server's clock was set back
    assert (session.results["A"].quiz_score, session.results["A"].quiz_at) == (1000, NOW + 5)


def test_a_part_of_unknown_time_counts_as_recorded_at_the_end_or_the_start() -> None:
    for ended_at, unknown_at in ((None, START), (START + MINUTE, START + MINUTE)):
        row = msgspec.structs.replace(
            new_session().row, ended_at=ended_at, ended_by=None if ended_at is None else "learner", results=1
        )
        for at, wins in ((unknown_at - 1, False), (unknown_at + 1, True)):
            session = SessionState(row, {"A": result("A", None, quiz=1).row}, IDLE)
            session.record([result("A", at, quiz=2)], NOW)
            assert session.results["A"].quiz_score == (2000 if wins or at < START else 1000)


def test_a_result_before_the_start_is_recorded_at_the_start() -> None:
    session = new_session()
    session.record([result("A", START - MINUTE, quiz=1)], NOW)
    assert session.results["A"].quiz_at == START
    assert session.row.last_activity_at == START


# -- after the end -----------------------------------------------------------------------------


def ended(by: str = "learner") -> SessionState:
    session = new_session()
    session.row = msgspec.structs.replace(session.row, ended_at=START + MINUTE, ended_by=by)
    return session


def test_a_late_result_is_recorded_and_a_later_one_is_refused_whole() -> None:
    session = ended()
    late = START + MINUTE + TOLERANCE_MS
    session.record([result("A", late, quiz=1)], NOW)
    before = session.row
    for updates in ([result("A", late, quiz=2), result("B", late + 1, quiz=1)], [result("A", None, quiz=2)]):
        with pytest.raises(SessionEnded):
            session.record(updates, NOW)
    assert session.row is before
    assert set(session.results) == {"A"}


def test_an_item_is_compared_with_its_own_end() -> None:
    session = ended()
    session.record([result("A", START + 9 * MINUTE, quiz=1)], NOW, START + 9 * MINUTE)
    assert session.row.points == 1000


def test_a_part_after_the_end_of_its_item_is_refused_whatever_is_known() -> None:
    """So that the repetition of an item has the outcome of its first time."""
    parts = [result("A", START + 3 * MINUTE, quiz=1)]
    for session in (new_session(), ended(), ended("administrator"), ended("timeout")):
        with pytest.raises(SessionEnded):
            session.record(parts, NOW, START + MINUTE)
        session.record(parts, NOW, START + 2 * MINUTE)
        assert session.row.points == 1000
    early = new_session()
    early.record([result("A", START - MINUTE, quiz=1)], NOW, START - 9 * MINUTE)  # both are the start
    assert early.results["A"].quiz_at == START


def test_a_known_end_stays_unless_the_new_one_is_a_minute_later() -> None:
    session = ended()
    for end in (START, START + MINUTE + TOLERANCE_MS, None):
        with pytest.raises(SessionEnded):
            session.end(end, NOW)
    assert session.end(START + MINUTE + TOLERANCE_MS + 1, NOW) == START + MINUTE + TOLERANCE_MS + 1


def test_an_end_before_the_start_is_the_start() -> None:
    session = new_session()
    assert session.end(START - MINUTE, NOW) == START


def test_an_end_that_an_administrator_set_stays() -> None:
    session = new_session()
    session.correct(START, START + 5 * MINUTE, now=NOW, zone=UTC)
    with pytest.raises(SessionEnded):
        session.end(START + 60 * MINUTE, NOW)
    with pytest.raises(SessionEnded):
        session.record([result("A", None, quiz=1)], NOW)
    assert (session.row.ended_at, session.row.ended_by) == (START + 5 * MINUTE, "administrator")
    session.correct(START + MINUTE, UNSET, now=NOW, zone=UTC)
    assert (session.row.started_at, session.row.ended_by) == (START + MINUTE, "administrator")
    session.correct(START, None, now=NOW, zone=UTC)
    assert (session.row.ended_at, session.row.ended_by, session.row.idle_since) == (None, None, NOW)
    assert session.end(START + 7 * MINUTE, NOW) == START + 7 * MINUTE


# -- forgotten sessions ------------------------------------------------------------------------


def test_a_forgotten_session_ends_at_its_last_event_and_a_result_or_an_end_reopens_it() -> None:
    session = new_session()
    session.record([result("A", START + 3 * MINUTE, quiz=1)], NOW)
    session.end_forgotten(START + 3 * MINUTE)
    assert (session.row.ended_at, session.row.idle_since) == (None, START + 3 * MINUTE)
    session.end_forgotten(START + 3 * MINUTE + 1)
    assert (session.row.ended_at, session.row.ended_by) == (START + 3 * MINUTE, "timeout")
    assert session.row.active_milliseconds == 3 * MINUTE
    again = session.copy()
    session.record([result("A", None, quiz=2)], NOW)
    assert (session.row.ended_at, session.row.ended_by, session.row.idle_since) == (None, None, NOW)
    session.end_forgotten(NOW)
    assert session.row.ended_at is None
    assert again.end(None, NOW) == NOW
    assert again.row.ended_by == "learner"


def test_activity_does_not_reopen_a_session() -> None:
    session = ended("timeout")
    with pytest.raises(SessionEnded):
        session.note_activity(None, NOW)
    session.note_activity(START + MINUTE, NOW)
    assert session.row.ended_by == "timeout"


# -- limits ------------------------------------------------------------------------------------


def test_a_refused_update_changes_nothing() -> None:
    session = new_session()
    session.record([result(f"M{number}", START, quiz=1) for number in range(1000)], NOW)
    before = session.row
    with pytest.raises(SessionFull):
        session.record([result("one more", START, quiz=1)], NOW)
    assert session.row is before
    assert len(session.added) == len(session.results) == 1000
