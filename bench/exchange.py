"""Files in the exchange format, of any size: one course, its learners, their sessions of three modules each."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.stage import LEARNERS, MODULES, PART, PASSWORD, Learner, scored
from seneca.auth.passwords import hash_password
from seneca.common.ids import bucket_of
from seneca.common.times import to_iso

FEWEST_LEARNERS = 100
SESSIONS_EACH = 20
BUCKETS = 64
BEGINNING = 1_767_225_600_000  # 2026-01-01, in milliseconds since 1970
SECOND = 1000
ADMIN_ID = "00000000-0000-4000-a000-000000000001"


@dataclass(frozen=True)
class Contents:
    """What a written file holds that a benchmark asks for: learners yet without a token, each with an open session."""

    course_id: str
    admin: str
    admin_id: str
    learners: Sequence[Learner]
    sessions: int


class Ids:
    """Random UUIDs, the same in every run: the hardest order to insert in."""

    def __init__(self) -> None:
        self._random = random.Random(1)

    def new(self) -> str:
        """One more."""
        text = f"{self._random.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def write_sessions(path: Path, sessions: int, writers: int = LEARNERS) -> Contents:
    """Write this many sessions of one course, by 100 learners or one learner to each 20 sessions, taking turns.

    The first writers, this many, have a session that goes on.
    """
    ids = Ids()
    course_id, learners = ids.new(), [ids.new() for _ in range(max(FEWEST_LEARNERS, sessions // SESSIONS_EACH))]
    hash_ = hash_password(PASSWORD)
    open_sessions: dict[str, str] = {}
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_line(record) for record in _people(course_id, learners, hash_))
        for number in range(sessions):
            learner, id_ = learners[number % len(learners)], ids.new()
            is_open = number < writers
            if is_open:
                open_sessions[learner] = id_
            file.write(_line(_session(id_, learner, course_id, number, MODULES, is_open=is_open)))
    signing_in = [Learner(f"learner-{n}", learners[n], "", open_sessions[learners[n]]) for n in range(writers)]
    return Contents(course_id, "tara", ADMIN_ID, signing_in, sessions)


def write_learners(path: Path, learners: int) -> Contents:
    """Write this many learners, each with a password, of whom none has studied yet."""
    ids = Ids()
    course_id, made = ids.new(), [ids.new() for _ in range(learners)]
    hash_ = hash_password(PASSWORD)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(
            _line(record | {"passwordHash": hash_} if record["kind"] == "user" else record)
            for record in _people(course_id, made, hash_)
        )
    return Contents(course_id, "tara", ADMIN_ID, [], 0)


def write_names(path: Path, names: int) -> Contents:
    """Write results under this many module names of one course, each name in every one of the 64 buckets."""
    ids = Ids()
    course_id = ids.new()
    together = min(names, 1000)  # a session holds no more
    shares = [[f"Module {n}" for n in range(first, first + together)] for first in range(0, names, together)]
    learners = _learners_of_every_bucket(ids, -(-len(shares) // 2))  # a learner has at most 2,000 names
    hash_ = hash_password(PASSWORD)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_line(record) for record in _people(course_id, [x for y in learners for x in y], hash_))
        count = 0
        for of_bucket in learners:
            for number, share in enumerate(shares):
                learner = of_bucket[number // 2]
                file.write(_line(_session(ids.new(), learner, course_id, count, share, is_open=False)))
                count += 1
    return Contents(course_id, "tara", ADMIN_ID, [], count)


def _learners_of_every_bucket(ids: Ids, each: int) -> list[list[str]]:
    learners: list[list[str]] = [[] for _ in range(BUCKETS)]
    while any(len(of_bucket) < each for of_bucket in learners):
        id_ = ids.new()
        of_bucket = learners[bucket_of(id_, BUCKETS)]
        if len(of_bucket) < each:
            of_bucket.append(id_)
    return learners


def _people(course_id: str, learners: Sequence[str], hash_: str) -> Iterator[dict[str, Any]]:
    """The course, the administrator, and learners, of whom the first ``LEARNERS`` can sign in."""
    yield {
        "kind": "course",
        "id": course_id,
        "courseTitle": "Mathematics - GCSE",
        "qualification": "GCSE",
        "topicsAndModules": [{"topic": topic, "modules": MODULES} for topic in ("Number", "Starting")],
    }
    yield _user("tara", ADMIN_ID, "admin") | {"passwordHash": hash_}
    for number, id_ in enumerate(learners):
        user = _user(f"learner-{number}", id_, "user")
        yield user | {"passwordHash": hash_} if number < LEARNERS else user


def _user(name: str, id_: str, role: str) -> dict[str, Any]:
    return {"kind": "user", "id": id_, "username": name, "email": f"{name}@example.org", "role": role}


def _session(
    id_: str, learner: str, course_id: str, number: int, names: Sequence[str], *, is_open: bool
) -> dict[str, Any]:
    """The session of this number: each starts a second after the one before, and takes 25 minutes."""
    start = BEGINNING + number * SECOND
    part = scored(PART, number % 100)
    return {
        "kind": "session",
        "id": id_,
        "userId": learner,
        "courseId": course_id,
        "courseTitle": "Mathematics - GCSE",
        "topic": "Number",
        "sessionStart": to_iso(start),
        "sessionEnd": None if is_open else to_iso(start + 1500 * SECOND),
        "isEnd": not is_open,
        "modulesStats": [{"moduleName": name, "adaptive": part, "quiz": part, "wrongAnswers": None} for name in names],
    }


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":")) + "\n"
