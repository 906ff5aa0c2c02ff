"""Demo data for an empty database: ten courses, some learners, and months of their sessions."""

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
from seneca.common.times import to_iso
from seneca.database import Database
from seneca.errors import CommandError
from seneca.exchange.importer import Source, import_source

LEARNERS: Final = ("amara", "bruno", "chidi", "dilnoza", "elif", "farid", "greta", "hana", "ivo", "jun", "kofi", "lena")
DAYS: Final = 120
DAY: Final = 86_400_000  # milliseconds
MINUTE: Final = 60_000
EVENINGS: Final = 0.4  # of all
QUIZZES: Final = 0.8
ANSWERS: Final = "ABCD"

Line = dict[str, Any]


class Demo(Struct, frozen=True):
    """What was made, and the learner as whom one may sign in."""

    username: str
    password: str
    courses: int
    learners: int
    sessions: int


NOTHING = """
SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM courses) AND NOT EXISTS (SELECT 1 FROM accounts)
"""


def is_empty(database: Database) -> bool:
    """Whether there is neither a course nor an account."""
    with database.read_transaction() as tx:
        return tx.fetch_one(NOTHING) is not None


def fill(database: Database, now: int) -> Demo:
    """Fill an empty database. The same every time, but for one learner's password; no administrator is made.

    Args:
        database: the empty database.
        now: when the newest session has ended, in milliseconds since 1970.

    Raises:
        CommandError: there are courses or accounts already.

    """
    if not is_empty(database):
        raise CommandError("Demo data goes into an empty database only; this one has courses or accounts.")
    password = secrets.token_urlsafe(12)
    lines = b"\n".join(map(msgspec.json.encode, story(now, passwords.hash_password(password))))
    report = import_source(
        database,
        Source(io.BytesIO(lines), lambda: 0, None),
        skip_bad=False,
        now=now,
        progress=lambda _doing, _done, _total: None,
    )
    return Demo(LEARNERS[0], password, report.courses.stored, report.users.stored, report.sessions.stored)


def story(now: int, password_hash: str) -> Iterator[Line]:
    """The demo's lines: courses, learners, of whom the first can sign in, and what they studied until now."""
    chance = random.Random(2026)  # noqa: S311 - the same story every time
    courses = json.loads(files("seneca.demo").joinpath("reference.json").read_text(encoding="utf-8"))["courses"]
    since = to_iso(now - (DAYS + 1) * DAY)
    for course in courses:
        yield {"kind": "course", **course, "createdAt": since}
    for name in LEARNERS:
        learner = identifier(chance)
        line = {"kind": "user", "id": learner, "username": name, "email": f"{name}@example.org", "role": "user"}
        yield line | {"createdAt": since} | ({"passwordHash": password_hash} if name == LEARNERS[0] else {})
        yield from studies(chance, learner, courses, now)


def studies(chance: random.Random, learner: str, courses: list[Line], now: int) -> Iterator[Line]:
    """One learner's sessions: a few courses, some evenings of each week, better with time."""
    taken = chance.sample(courses, chance.randint(2, 4))
    talent = chance.uniform(45, 75)
    for day in range(DAYS, 0, -1):
        if chance.random() < EVENINGS:
            start = now - day * DAY - chance.randrange(180) * MINUTE
            skill = talent + 15 * (DAYS - day) / DAYS
            yield session(chance, learner, chance.choice(taken), start, skill)


def session(chance: random.Random, learner: str, course: Line, start: int, skill: float) -> Line:
    """A session on one topic: some of its modules, twenty minutes or more for each."""
    topic = chance.choice(course["topicsAndModules"])
    modules = chance.sample(topic["modules"], chance.randint(1, len(topic["modules"])))
    minutes = sum(chance.randint(20, 45) for _ in modules)
    return {
        "kind": "session",
        "id": identifier(chance),
        "userId": learner,
        "courseId": course["id"],
        "courseTitle": course["courseTitle"],
        "topic": topic["topic"],
        "sessionStart": to_iso(start),
        "sessionEnd": to_iso(start + minutes * MINUTE),
        "isEnd": True,
        "modulesStats": [result(chance, name, skill) for name in modules],
    }


def result(chance: random.Random, module: str, skill: float) -> Line:
    """A module's results: an adaptive test, mostly a quiz, and which answers were wrong."""
    parts = {"adaptive": test(chance, skill), "quiz": test(chance, skill) if chance.random() < QUIZZES else None}
    wrong = [
        f"{name}: {number + 1}"
        for name, part in parts.items()
        for number in range(len(part["answers"]) if part else 0)
        if chance.uniform(0, 100) > skill
    ]
    return {
        "moduleName": module,
        **parts,
        "wrongAnswers": {"answers": wrong, "isCompleted": False, "score": 0} if wrong else None,
    }


def test(chance: random.Random, skill: float) -> Line:
    """The answers to a test and its score, from 0 to 100 in halves."""
    score = min(100.0, max(0.0, chance.gauss(skill, 12)))
    answers = [chance.choice(ANSWERS) for _ in range(chance.randint(5, 8))]
    return {"answers": answers, "isCompleted": True, "score": round(score * 2) / 2}


def identifier(chance: random.Random) -> str:
    """A random UUID."""
    return str(UUID(int=chance.getrandbits(128), version=4))
