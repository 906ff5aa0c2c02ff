"""The setup token: one for each database, with which its first administrator may be registered."""

import contextlib
import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final

from seneca import accounts
from seneca.common.atomic_file import read_or_create
from seneca.database import Database, Transaction
from seneca.errors import ConfigurationError

FILE: Final = "setup-token"

STORED = "SELECT value FROM properties WHERE name = 'setup-token-hash'"
STORE = """
INSERT INTO properties (name, value) VALUES ('setup-token-hash', :hash) ON CONFLICT (name) DO NOTHING
"""


def prepare(database: Database, data: Path) -> str | None:
    """See to it that a database without an administrator has a setup token, in a private file.

    Returns:
        The token, or None where it is of no use (any more): an administrator has existed, or its file is gone.

    Raises:
        ConfigurationError: the file can be neither read nor made.

    """
    path = data / FILE
    with database.read_transaction() as tx:
        stored, existed = tx.fetch_one(STORED), accounts.administrator_existed(tx)
    try:
        if existed:
            path.unlink(missing_ok=True)
            return None
        if stored is not None and not path.exists():
            return None
        token = read_or_create(path, secrets.token_urlsafe(24))
    except OSError as error:
        raise ConfigurationError(f"The setup token {path} can be neither read nor made: {error.strerror}.") from error
    if stored is None:  # else a start would wait for whoever writes
        with database.write_transaction() as writing:
            writing.execute(STORE, hash=_hash(token))
    return token


def discard(data: Path) -> None:
    """Remove the token's file, now that there is an administrator. If it cannot be, the next start tries again."""
    with contextlib.suppress(OSError):
        (data / FILE).unlink()


def is_token(tx: Transaction, given: str) -> bool:
    """Whether this is the database's setup token."""
    row = tx.fetch_one(STORED)
    return row is not None and hmac.compare_digest(row[0], _hash(given))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
