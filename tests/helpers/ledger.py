"""What clients were promised: their own log of acknowledged writes, and what a database must hold after a fault.

A client brings each of its sessions through states that are known by a number alone: update ``n`` adds two modules and
raises a third. One write of a session is under way at a time, and one whose answer was lost is sent again. So after any
fault the database holds the state that was acknowledged last or the one that was sent last, whole; a lost, a halved and
a doubled write each show.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Rows = list[tuple[Any, ...]]
Results = dict[str, tuple[int | None, int | None]]
"""Each module's adaptive and quiz score, in thousandths."""

SESSIONS = "SELECT id, learner_id, started_at, ended_at, points FROM sessions"
RESULTS = "SELECT session_id, module_name, adaptive_score, quiz_score FROM results"
POINTS = 2750  # thousandths that each update adds


def modules(number: int) -> list[dict[str, Any]]:
    """What the update with this number (from 1) gives."""
    return [
        {
            "moduleName": f"Module {number}",
            "adaptive": {"answers": ["A", "C"], "isCompleted": True, "score": 0.25},
            "quiz": {"answers": [f"answer {number}"], "score": 1},
        },
        {"moduleName": f"More {number}", "quiz": {"answers": ["x" * 200], "score": 0.5}},
        {"moduleName": "Shared", "quiz": {"score": number}},
    ]


def state(number: int) -> Results:
    """What a session holds after this many updates."""
    results: Results = {}
    for n in range(1, number + 1):
        results |= {f"Module {n}": (250, 1000), f"More {n}": (None, 500)}
    return results | ({"Shared": (None, 1000 * number)} if number else {})


@dataclass
class Study:
    """A session, as its client knows it."""

    id: str
    learner: str
    started: bool = False
    """The start was acknowledged."""
    sent: int = 0
    acknowledged: int = 0
    ending: bool = False
    """The end was sent."""
    ended: int | None = None
    """The end that was acknowledged, in milliseconds since 1970."""


@dataclass
class Stored:
    """A session, as a database holds it."""

    id: str
    learner: str
    started: int
    ended: int | None
    points: int
    results: Results = field(default_factory=dict)


def read(rows: Callable[[str], Rows]) -> dict[str, Stored]:
    """Every session that a database holds; ``rows`` runs a SELECT."""
    found = {row[0]: Stored(*row) for row in rows(SESSIONS)}
    for session_id, name, *scores in rows(RESULTS):
        results = found[session_id].results
        assert name not in results, "doubled"
        results[name] = (scores[0], scores[1])
    return found


class Ledger:
    """The log of acknowledged writes."""

    def __init__(self) -> None:
        self.studies: dict[str, Study] = {}
        self.nameless = 0
        """Starts without an id whose answer was lost: each may have left a session, empty, that nobody knows."""

    @property
    def written(self) -> int:
        """How many writes were acknowledged."""
        studies = list(self.studies.values())
        return sum(study.started + study.acknowledged + (study.ended is not None) for study in studies)

    def faults(self, stored: dict[str, Stored]) -> Iterator[str]:
        """What is lost, halved, or there though nobody sent it."""
        for study in list(self.studies.values()):
            if study.id in stored:
                yield from _differences(study, stored[study.id])
            elif study.started:
                yield f"lost: the session {study}"
        unknown = [session for session in stored.values() if session.id not in self.studies]
        if len(unknown) > self.nameless:
            yield f"made up: {len(unknown)} sessions, at most {self.nameless} of them started"
        yield from (f"made up: {session}" for session in unknown if session.results or session.ended)


def _differences(study: Study, stored: Stored) -> Iterator[str]:
    number = sum(name.startswith("Module ") for name in stored.results)
    if number < study.acknowledged:
        yield f"lost: {study} holds {number} updates"
    if number > study.sent or stored.learner != study.learner:
        yield f"made up: {stored} of {study}"
    if stored.results != state(number) or stored.points != POINTS * number:
        yield f"halved: {stored} after {number} updates"
    if stored.ended is None:
        if study.ended is not None:
            yield f"lost: the end of {study}"
        return
    if not study.ending or study.ended not in (None, stored.ended):
        yield f"made up: the end of {study} is {stored.ended}"
    if stored.ended < stored.started:
        yield f"negative: {stored}"
