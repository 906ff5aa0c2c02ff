"""The clients' log notices what it is there for."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.helpers import ledger
from tests.helpers.ledger import Ledger, Stored, Study

pytestmark = pytest.mark.no_database  # it asks none

KNOWN = Study("s", "alice", started=True, sent=3, acknowledged=2, ending=False)
ENDED = replace(KNOWN, sent=2, ending=True, ended=20)


def holding(number: int, **members: object) -> Stored:
    whole = Stored("s", "alice", 10, None, ledger.POINTS * number, ledger.state(number))
    return replace(whole, **members)


def faults(study: Study, *stored: Stored) -> list[str]:
    log = Ledger()
    log.studies[study.id] = study
    return [fault.split(":")[0] for fault in log.faults({session.id: session for session in stored})]


@pytest.mark.parametrize("number", [2, 3])
def test_what_was_acknowledged_last_or_sent_last_is_right(number: int):
    assert faults(KNOWN, holding(number)) == []


def test_an_unacknowledged_end_may_be_there_or_not():
    ending = replace(ENDED, ended=None)
    assert faults(ending, holding(2)) == faults(ending, holding(2, ended=20)) == []


def test_an_unacknowledged_start_may_be_there_or_not():
    session = Study("s", "alice")
    assert faults(session) == faults(session, holding(0)) == []


def without(name: str) -> Callable[[Stored], Stored]:
    return lambda stored: replace(stored, results={k: v for k, v in stored.results.items() if k != name})


@pytest.mark.parametrize(
    ("study", "stored", "kind"),
    [
        (KNOWN, [], "lost"),
        (KNOWN, [holding(1)], "lost"),
        (ENDED, [holding(2)], "lost"),
        (KNOWN, [without("More 2")(holding(2))], "halved"),
        (KNOWN, [without("More 3")(holding(3))], "halved"),
        (KNOWN, [holding(2, results=ledger.state(2) | {"Shared": (None, 1000)})], "halved"),
        (KNOWN, [holding(3, points=4 * ledger.POINTS)], "halved"),
        (KNOWN, [holding(4)], "made up"),
        (KNOWN, [holding(2, learner="charlie")], "made up"),
        (KNOWN, [holding(2, ended=20)], "made up"),
        (ENDED, [holding(2, ended=21)], "made up"),
        (KNOWN, [holding(2), holding(0, id="another")], "made up"),
        (ENDED, [holding(2, started=30, ended=20)], "negative"),
    ],
)
def test_notices(study: Study, stored: list[Stored], kind: str):
    assert faults(study, *stored) == [kind]


def test_a_row_that_is_there_twice_is_noticed():
    rows = {
        ledger.SESSIONS: [("s", "alice", 10, None, 0)],
        ledger.RESULTS: [("s", "Shared", None, 1000)] * 2,
    }
    with pytest.raises(AssertionError, match="doubled"):
        ledger.read(rows.__getitem__)
