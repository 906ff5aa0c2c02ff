"""Courses, their topics, and the modules of each topic."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from seneca.common import text_types
from seneca.common.ids import new_id, parse_uuid
from seneca.common.pages import MAX_PAGE_BYTES, Page
from seneca.common.text_types import Line, Name, Title
from seneca.common.times import to_iso
from seneca.database import PendingResult, Row, Transaction
from seneca.errors import CourseNotFound, FieldError, TitleTaken

MAX_TOPICS = 200
MAX_MODULES = 500


class Topic(Struct, frozen=True, forbid_unknown_fields=True):
    """A topic of a course and the names of its modules."""

    topic: Name
    modules: Annotated[
        list[Name],
        Meta(max_length=MAX_MODULES, description="Distinct names.", extra_json_schema={"uniqueItems": True}),
    ]

    def __post_init__(self) -> None:
        """Normalise the names."""
        text_types.normalise_member(self, "topic", "topic")
        text_types.normalise_members(self, "modules")


Topics = Annotated[list[Topic], Meta(max_length=MAX_TOPICS, description="Topics with distinct names.")]


class NewCourse(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of a request to create a course."""

    course_title: Title
    qualification: Line
    topics_and_modules: Topics

    def __post_init__(self) -> None:
        """Normalise the title."""
        text_types.normalise_member(self, "course_title", "courseTitle")

    def find_errors(self) -> Iterator[FieldError]:
        """Check for repeated names."""
        return repeated_names(self.topics_and_modules)


class CourseChange(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A change to a course. Omitted members stay unchanged.

    ``id`` and ``createdAt`` are ignored, so that a client may send a course back as it read it.
    """

    course_title: Title | UnsetType = UNSET
    qualification: Line | UnsetType = UNSET
    topics_and_modules: Topics | UnsetType = UNSET
    id: str | None = None
    created_at: str | None = None

    def __post_init__(self) -> None:
        """Normalise the title."""
        text_types.normalise_member(self, "course_title", "courseTitle")

    def find_errors(self) -> Iterator[FieldError]:
        """Check for repeated names."""
        return repeated_names(self.topics_and_modules)


class Course(Struct, frozen=True, rename="camel"):
    """A course, as clients see it."""

    id: str
    course_title: str
    qualification: str
    topics_and_modules: Raw
    created_at: str

    @property
    def etag(self) -> str:
        """The strong entity tag of this version (RFC 9110, 8.8.3)."""
        return f'"{hashlib.blake2b(msgspec.json.encode(self), digest_size=12).hexdigest()}"'


def repeated_names(topics: Sequence[Topic | UnsetType] | UnsetType) -> Iterator[FieldError]:
    """Find repeated topic names of the course, and repeated module names of each topic, skipping what is UNSET."""
    topics = [] if topics is UNSET else topics
    for i in _repeated([UNSET if topic is UNSET else topic.topic for topic in topics]):
        yield FieldError(f"topicsAndModules[{i}].topic", "must differ from the other topics")
    for i, topic in enumerate(topics):
        for j in _repeated(topic.modules) if isinstance(topic, Topic) and isinstance(topic.modules, list) else ():
            yield FieldError(f"topicsAndModules[{i}].modules[{j}]", "must differ from the topic's other modules")


def _repeated(names: Sequence[str | UnsetType]) -> list[int]:
    seen: set[str] = set()
    repeated = []
    for index, name in enumerate(names):
        if name in seen:
            repeated.append(index)
        elif name is not UNSET:
            seen.add(name)
    return repeated


INSERT = """
INSERT INTO courses (id, title, qualification, topics, search_key, created_at, topics_hash)
VALUES (:id, :title, :qualification, :topics, :search_key, :created_at, :topics_hash)
ON CONFLICT (title) DO NOTHING
"""


def insert(tx: Transaction, new: NewCourse, now: int, id: str | None = None) -> Course:
    """Store a new course, with the given id or a new one.

    Raises:
        TitleTaken: another course has the title.

    """
    course_id = id or new_id()
    topics = msgspec.json.encode(new.topics_and_modules)
    inserted = tx.execute(
        INSERT,
        id=course_id,
        title=new.course_title,
        qualification=new.qualification,
        topics=topics.decode(),
        search_key=search_key(new.course_title, new.qualification),
        created_at=now,
        topics_hash=topics_hash(topics),
    )
    if not inserted:
        raise TitleTaken
    return Course(course_id, new.course_title, new.qualification, Raw(topics), to_iso(now))


def search_key(title: str, qualification: str) -> str:
    """Make the text that the query parameter ``q`` searches."""
    return f"{text_types.key(title)}\n{text_types.key(qualification)}"


COLUMNS = "id, title, qualification, topics, created_at"
BY_ID = f"SELECT {COLUMNS} FROM courses WHERE id = :id"
BY_TITLE = f"SELECT {COLUMNS} FROM courses WHERE title = :title"


def send_get(tx: Transaction, identifier: str, *, lock: bool = False) -> PendingResult:
    """Send the query for the course with this id or, if it is not a UUID, with this title. ``fetch`` returns the result."""
    send = tx.select_for_update if lock else tx.send
    id_ = parse_uuid(identifier)
    return send(BY_ID, id=id_) if id_ else send(BY_TITLE, title=text_types.normalise_name(identifier))


def fetch(result: PendingResult) -> Course:
    """Fetch the course that ``send_get`` queried. Raises CourseNotFound."""
    row = result.fetchone()
    if row is None:
        raise CourseNotFound
    return _course(row)


def get(tx: Transaction, identifier: str) -> Course:
    """Read the course with this id or, if it is not a UUID, with this title. Raises CourseNotFound."""
    return fetch(send_get(tx, identifier))


def _course(row: Row) -> Course:
    return Course(row[0], row[1], row[2], Raw(row[3].encode()), to_iso(row[4]))


PAGE = f"""
SELECT {COLUMNS} FROM courses
WHERE title > :after AND search_key LIKE :pattern ESCAPE '\\'
ORDER BY title
LIMIT :limit
"""


def page(tx: Transaction, *, query: str, after: str, limit: int) -> Page[Course, str]:
    """List the courses whose title or qualification contains ``query``, by title in code points.

    The cursor is the title of the last course of a page.
    """
    courses: list[Course] = []
    size = 2  # the brackets
    for row in tx.stream(PAGE, pattern=text_types.like(query), after=after, limit=limit + 1):
        course = _course(row)
        size += len(msgspec.json.encode(course)) + 1
        if courses and (len(courses) == limit or size > MAX_PAGE_BYTES):
            return Page(courses, courses[-1].course_title)
        courses.append(course)
    return Page(courses, None)


def matches(condition: str, etag: str, *, weakly: bool = True) -> bool:
    """Whether ``If-None-Match`` or, not ``weakly``, ``If-Match`` names this version (RFC 9110, 13.1)."""
    tags = [tag.strip().removeprefix("W/" if weakly else "") for tag in condition.split(",")]
    return condition.strip() == "*" or etag in tags


def topics_hash(topics: bytes) -> str:
    """Hash topics, encoded as JSON."""
    return hashlib.blake2b(topics, digest_size=16).hexdigest()
