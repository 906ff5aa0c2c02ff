"""The Python step of migration 0006: names in the forms in which they are compared from then on.

Keys of accounts and the search keys of courses become NFKC_Casefold, titles and topics of courses are trimmed and in NFC.
What recorded sessions hold stays as it was sent.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Final, Protocol

from seneca.common import text_types

ACCOUNTS_TOGETHER: Final = 5000

ACCOUNTS: Final = """
SELECT created_at, id, username, email FROM accounts
WHERE (created_at, id) > (:created_at, :id)
ORDER BY created_at, id
LIMIT :limit
"""
KEYS_OF: Final = "SELECT name_key FROM account_names WHERE account_id = :id"
DELETE_KEY: Final = "DELETE FROM account_names WHERE name_key = :key AND account_id = :id"
HOLDER: Final = """
SELECT a.id, a.created_at, a.email FROM account_names n JOIN accounts a ON a.id = n.account_id WHERE n.name_key = :key
"""
GIVE: Final = """
INSERT INTO account_names (name_key, account_id) VALUES (:key, :id)
ON CONFLICT (name_key) DO UPDATE SET account_id = excluded.account_id
"""
COURSES: Final = "SELECT id, title, qualification, topics, search_key FROM courses ORDER BY created_at, id"
COURSE_WITH_TITLE: Final = "SELECT id FROM courses WHERE title = :title"
SET_COURSE: Final = """
UPDATE courses SET title = :title, topics = :topics, topics_hash = :topics_hash, search_key = :search_key WHERE id = :id
"""


class Schema(Protocol):
    """What the step needs of an open transaction."""

    def fetch_one(self, sql: str, /, **parameters: object) -> tuple[object, ...] | None:
        """The first row, or None."""

    def fetch_all(self, sql: str, /, **parameters: object) -> list[tuple[object, ...]]:
        """Every row."""

    def execute(self, sql: str, /, **parameters: object) -> int:
        """Run one statement."""


def recompute(tx: Schema) -> list[str]:
    """Bring stored names into their new forms; returns a warning for each pair that has become one."""
    return [*_account_keys(tx), *_courses(tx)]


def _account_keys(tx: Schema) -> Iterator[str]:
    """Give each account the keys of its names.

    Of two accounts with one key it goes to the one whose address it is, else to the older: so nobody loses their address.
    """
    place: dict[str, object] = {"created_at": -(2**62), "id": ""}
    while rows := tx.fetch_all(ACCOUNTS, limit=ACCOUNTS_TOGETHER, **place):
        for created_at, account_id, username, email in rows:
            if not (str(username) + str(email)).isascii():  # of others the key stays as it was
                yield from _keys_of(tx, str(account_id), str(username), str(email), created_at)
        place = {"created_at": rows[-1][0], "id": rows[-1][1]}


def _keys_of(tx: Schema, account_id: str, username: str, email: str, created_at: object) -> Iterator[str]:
    keys = {text_types.key(username), text_types.key(email)}
    stored = {str(row[0]) for row in tx.fetch_all(KEYS_OF, id=account_id)}
    for key in sorted(stored - keys):
        tx.execute(DELETE_KEY, key=key, id=account_id)
    for key in sorted(keys - stored):
        claims = [(key != text_types.key(email), created_at, account_id)]
        if holder := tx.fetch_one(HOLDER, key=key):
            claims.append((key != text_types.key(str(holder[2])), holder[1], str(holder[0])))
            (*_, winner), (*_, loser) = sorted(claims)
            yield (
                f"The accounts {winner} and {loser} have a name that is the same now that invisible characters do not count. "
                f"Only {winner} signs in with it from now on, {loser} with its e-mail address: "
                f"GET /users/{loser} shows whom to tell."
            )
        if min(claims)[2] == account_id:
            tx.execute(GIVE, key=key, id=account_id)


def _courses(tx: Schema) -> Iterator[str]:
    """Normalise titles and topics, and make the search keys again. A title that another course has by now stays."""
    for course_id, title, qualification, topics, search_key in tx.fetch_all(COURSES):
        normal = text_types.normalise_name(str(title))
        other = None if normal == title else tx.fetch_one(COURSE_WITH_TITLE, title=normal)
        if other is not None:
            yield (
                f"The courses {other[0]} and {course_id} have titles that are the same in Unicode's form NFC. "
                f"{course_id} is found by its id only: give it another title."
            )
            normal = str(title)
        new = {
            "title": normal,
            "topics": _topics(str(topics)),
            "search_key": f"{text_types.key(normal)}\n{text_types.key(str(qualification))}",
        }
        if new != {"title": title, "topics": topics, "search_key": search_key}:
            topics_hash = hashlib.blake2b(
                new["topics"].encode(), digest_size=16
            ).hexdigest()  # as ``courses.topics_hash``
            tx.execute(SET_COURSE, id=course_id, topics_hash=topics_hash, **new)


def _topics(stored: str) -> str:
    """Topics with their names normalised; as they were if two would have one name then."""
    if stored.isascii() and '" ' not in stored and ' "' not in stored:
        return stored
    topics = [
        {
            "topic": text_types.normalise_name(entry["topic"]),
            "modules": [*map(text_types.normalise_name, entry["modules"])],
        }
        for entry in json.loads(stored)
    ]
    names = [[entry["topic"] for entry in topics], *(entry["modules"] for entry in topics)]
    if any(len(set(each)) < len(each) or "" in each for each in names):
        return stored
    return json.dumps(topics, ensure_ascii=False, separators=(",", ":"))
