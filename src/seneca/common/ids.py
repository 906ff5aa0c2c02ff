"""Identifiers: UUIDs, stored as lower-case text, and the bucket to which an identifier belongs."""

import re
from typing import Final
from zlib import crc32

import uuid_utils

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)  # the hyphens are required


def new_id() -> str:
    """Create an identifier: a UUID of version 7 (RFC 9562), which sorts by time of creation."""
    return str(uuid_utils.uuid7())


def parse_uuid(text: str) -> str | None:
    """Return the stored (lower-case) form of a UUID in its 36-character form, or None if the text is not one."""
    lowered = text.lower()
    return lowered if _UUID.fullmatch(lowered) else None


def bucket_of(id: str, buckets: int) -> int:
    """Compute the bucket, 0 to ``buckets - 1``, that holds all rows of an account (or another identifier).

    It is the CRC-32 of the identifier's text, modulo the number of buckets. Both are fixed when a database is created:
    after a change of either, stored rows would no longer be found.
    """
    return crc32(id.encode()) % buckets
