"""Demo data for an empty database: ten courses, some learners and months of their sessions."""

import io
import json
import random
import secrets
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from seneca.auth import passwords
from seneca.common.times import DAY_MS, MINUTE_MS, to_iso
from seneca.database import Database
from seneca.errors import CommandError
from seneca.exchange.importer import Source, import_source

LEARNERS: Final = ("amara", "bruno", "chidi", "dilnoza", "elif", "farid", "greta", "hana", "ivo", "jun", "kofi", "lena")
DAYS: Final = 120
STUDY_DAY_PROBABILITY: Final = 0.4
QUIZ_PROBABILITY: Final = 0.8
ANSWERS: Final = "ABCD"

Line = dict[str, Any]


class Demo(Struct, frozen=True):
    """The numbers of created rows, and the credentials of one learner."""

    username: str
    password: str
    courses: int
    learners: int
    sessions: int


IS_EMPTY = """
SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM courses) AND NOT EXISTS (SELECT 1 FROM accounts)
"""


def is_empty(database: Database) -> bool:
    """Whether the database has no courses and no accounts."""
    with database.read_transaction() as tx:
        return tx.fetch_one(IS_EMPTY) is not None


def fill(database: Database, now: int) -> Demo:
    """Fill an empty database with data that is always the same, except for one learner's password. Creates no administrator.

    Args:
        database: the empty database.
        now: the end of the time range of sessions, in milliseconds since 1970.

    Raises:
        CommandError: the database has courses or accounts.

    """
    if not is_empty(database):
        raise CommandError("Demo data needs an empty database; this one has courses or accounts.")
    password = secrets.token_urlsafe(12)
    lines = b"\n".join(map(msgspec.json.encode, generate_lines(now, passwords.hash_password(password))))
    report = import_source(
        database,
        Source(io.BytesIO(lines), lambda: 0, None),
        skip_bad=False,
        now=now,
        progress=lambda _step, _done, _total: None,
    )
    return Demo(LEARNERS[0], password, report.courses.stored, report.users.stored, report.sessions.stored)


def generate_lines(now: int, password_hash: str) -> Iterator[Line]:
    """Generate courses, learners and their sessions. Only the first learner has a password."""
    rng = random.Random(2026)  # noqa: S311 - always the same data
    courses = json.loads(files("seneca.demo").joinpath("reference.json").read_text(encoding="utf-8"))["courses"]
    created_at = to_iso(now - (DAYS + 1) * DAY_MS)
    for course in courses:
        yield {"kind": "course", **course, "createdAt": created_at}
    for name in LEARNERS:
        learner_id = random_id(rng)
        line = {"kind": "user", "id": learner_id, "username": name, "email": f"{name}@example.org", "role": "user"}
        yield line | {"createdAt": created_at} | ({"passwordHash": password_hash} if name == LEARNERS[0] else {})
        yield from generate_sessions(rng, learner_id, courses, now)


def generate_sessions(rng: random.Random, learner_id: str, courses: list[Line], now: int) -> Iterator[Line]:
    """Generate a learner's sessions: a few courses, some days of each week, with rising scores."""
    chosen = rng.sample(courses, rng.randint(2, 4))
    talent = rng.uniform(45, 75)
    for day in range(DAYS, 0, -1):
        if rng.random() < STUDY_DAY_PROBABILITY:
            start = now - day * DAY_MS - rng.randrange(180) * MINUTE_MS
            skill = talent + 15 * (DAYS - day) / DAYS
            yield make_session(rng, learner_id, rng.choice(chosen), start, skill)


def make_session(rng: random.Random, learner_id: str, course: Line, start: int, skill: float) -> Line:
    """A session on some modules of one topic, with at least twenty minutes for each."""
    topic = rng.choice(course["topicsAndModules"])
    modules = rng.sample(topic["modules"], rng.randint(1, len(topic["modules"])))
    minutes = sum(rng.randint(20, 45) for _ in modules)
    return {
        "kind": "session",
        "id": random_id(rng),
        "userId": learner_id,
        "courseId": course["id"],
        "courseTitle": course["courseTitle"],
        "topic": topic["topic"],
        "sessionStart": to_iso(start),
        "sessionEnd": to_iso(start + minutes * MINUTE_MS),
        "isEnd": True,
        "modulesStats": [make_result(rng, name, skill) for name in modules],
    }


def make_result(rng: random.Random, module: str, skill: float) -> Line:
    """A module's results: an adaptive test, usually a quiz, and the wrong answers."""
    parts = {
        "adaptive": make_test(rng, skill),
        "quiz": make_test(rng, skill) if rng.random() < QUIZ_PROBABILITY else None,
    }
    wrong = [
        f"{name}: {number + 1}"
        for name, part in parts.items()
        for number in range(len(part["answers"]) if part else 0)
        if rng.uniform(0, 100) > skill
    ]
    return {
        "moduleName": module,
        **parts,
        "wrongAnswers": {"answers": wrong, "isCompleted": False, "score": 0} if wrong else None,
    }


def make_test(rng: random.Random, skill: float) -> Line:
    """The answers to a test and its score, from 0 to 100 in steps of 0.5."""
    score = min(100.0, max(0.0, rng.gauss(skill, 12)))
    answers = [rng.choice(ANSWERS) for _ in range(rng.randint(5, 8))]
    return {"answers": answers, "isCompleted": True, "score": round(score * 2) / 2}


def random_id(rng: random.Random) -> str:
    """A random UUID."""
    return str(UUID(int=rng.getrandbits(128), version=4))
