"""The Python step of migration 0006: normalise stored names.

The name keys of accounts and the search keys of courses become NFKC_Casefold; titles and topics of courses are trimmed and
in NFC. The texts of recorded sessions stay as they were sent.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Final, Protocol

from seneca.common import text_types

ACCOUNTS_PER_BATCH: Final = 5000

ACCOUNTS: Final = """
SELECT created_at, id, username, email FROM accounts
WHERE (created_at, id) > (:created_at, :id)
ORDER BY created_at, id
LIMIT :limit
"""
KEYS_OF_ACCOUNT: Final = "SELECT name_key FROM account_names WHERE account_id = :id"
DELETE_KEY: Final = "DELETE FROM account_names WHERE name_key = :key AND account_id = :id"
KEY_HOLDER: Final = """
SELECT a.id, a.created_at, a.email FROM account_names n JOIN accounts a ON a.id = n.account_id WHERE n.name_key = :key
"""
ASSIGN_KEY: Final = """
INSERT INTO account_names (name_key, account_id) VALUES (:key, :id)
ON CONFLICT (name_key) DO UPDATE SET account_id = excluded.account_id
"""
COURSES: Final = "SELECT id, title, qualification, topics, search_key FROM courses ORDER BY created_at, id"
COURSE_WITH_TITLE: Final = "SELECT id FROM courses WHERE title = :title"
UPDATE_COURSE: Final = """
UPDATE courses SET title = :title, topics = :topics, topics_hash = :topics_hash, search_key = :search_key WHERE id = :id
"""


class StepTransaction(Protocol):
    """What a Python migration step needs of an open transaction."""

    def fetch_one(self, sql: str, /, **parameters: object) -> tuple[object, ...] | None:
        """The first row, or None."""

    def fetch_all(self, sql: str, /, **parameters: object) -> list[tuple[object, ...]]:
        """Every row."""

    def execute(self, sql: str, /, **parameters: object) -> int:
        """Run one statement."""


def recompute(tx: StepTransaction) -> list[str]:
    """Normalise stored names; returns a warning for each pair of names that have become equal."""
    return [*_account_keys(tx), *_courses(tx)]


def _account_keys(tx: StepTransaction) -> Iterator[str]:
    """Recompute each account's name keys.

    A key that two accounts claim goes to the one whose e-mail address it is, otherwise to the older: so everybody keeps their
    address.
    """
    cursor: dict[str, object] = {"created_at": -(2**62), "id": ""}
    while rows := tx.fetch_all(ACCOUNTS, limit=ACCOUNTS_PER_BATCH, **cursor):
        for created_at, account_id, username, email in rows:
            if not (str(username) + str(email)).isascii():  # the key of an ASCII name does not change
                yield from _keys_of(tx, str(account_id), str(username), str(email), created_at)
        cursor = {"created_at": rows[-1][0], "id": rows[-1][1]}


def _keys_of(tx: StepTransaction, account_id: str, username: str, email: str, created_at: object) -> Iterator[str]:
    keys = {text_types.key(username), text_types.key(email)}
    stored = {str(row[0]) for row in tx.fetch_all(KEYS_OF_ACCOUNT, id=account_id)}
    for key in sorted(stored - keys):
        tx.execute(DELETE_KEY, key=key, id=account_id)
    for key in sorted(keys - stored):
        claims = [(key != text_types.key(email), created_at, account_id)]
        if holder := tx.fetch_one(KEY_HOLDER, key=key):
            claims.append((key != text_types.key(str(holder[2])), holder[1], str(holder[0])))
            (*_, winner), (*_, loser) = sorted(claims)
            yield (
                f"The accounts {winner} and {loser} have the same name, now that invisible characters are ignored. "
                f"Only {winner} can sign in with it; {loser} has to sign in with the e-mail address, "
                f"which GET /users/{loser} shows."
            )
        if min(claims)[2] == account_id:
            tx.execute(ASSIGN_KEY, key=key, id=account_id)


def _courses(tx: StepTransaction) -> Iterator[str]:
    """Normalise titles and topics, and recompute the search keys. A title that would equal another course's is kept as it is."""
    for course_id, title, qualification, topics, search_key in tx.fetch_all(COURSES):
        normal = text_types.normalise_name(str(title))
        other = None if normal == title else tx.fetch_one(COURSE_WITH_TITLE, title=normal)
        if other is not None:
            yield (
                f"The courses {other[0]} and {course_id} have the same title in Unicode normalisation form NFC. "
                f"{course_id} can be found by its id only: change its title."
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
            tx.execute(UPDATE_COURSE, id=course_id, topics_hash=topics_hash, **new)


def _topics(stored: str) -> str:
    """Topics with normalised names; unchanged if two names would become equal."""
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
