"""Topic names of courses, cached so that starting a session does not read up to a megabyte of topics."""

import msgspec
from msgspec import Struct

from seneca.common import text_types
from seneca.common.ids import parse_uuid
from seneca.database import PendingResult, Transaction

HEAD_BY_ID = "SELECT id, title, topics_hash FROM courses WHERE id = :id"
HEAD_BY_TITLE = "SELECT id, title, topics_hash FROM courses WHERE title = :title"
TOPICS = "SELECT topics_hash, topics FROM courses WHERE id = :id"


class CourseHead(Struct, frozen=True):
    """A course without its topics, which can be as large as a megabyte."""

    id: str
    title: str
    topics_hash: str


def send_get_head(tx: Transaction, identifier: str) -> PendingResult:
    """Send the query for the course with this id or, if it is not a UUID, with this title: the fields of ``CourseHead``."""
    id_ = parse_uuid(identifier)
    return tx.send(HEAD_BY_ID, id=id_) if id_ else tx.send(HEAD_BY_TITLE, title=text_types.normalise_name(identifier))


def has_topic(tx: Transaction, course: CourseHead, topic: str) -> bool:
    """Whether a course has a topic of this name. Its topic names are cached with their hash as the version."""
    key = ("topics", course.id)
    topics = tx.cache.get(key, course.topics_hash)
    if topics is None:
        row = tx.fetch_one(TOPICS, id=course.id)
        if row is None:
            return False
        topics = [text_types.normalise_name(entry.topic) for entry in _topic_names.decode(row[1])]
        tx.cache.put(key, row[0], topics)
    return topic in topics


class _TopicName(Struct):
    topic: str


_topic_names = msgspec.json.Decoder(list[_TopicName])
