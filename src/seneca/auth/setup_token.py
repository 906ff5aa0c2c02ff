"""The setup token, which authorises the registration of a database's first administrator."""

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

STORED_HASH = "SELECT value FROM properties WHERE name = 'setup-token-hash'"
PUT_HASH = """
INSERT INTO properties (name, value) VALUES ('setup-token-hash', :hash) ON CONFLICT (name) DO NOTHING
"""


def prepare(database: Database, data: Path) -> str | None:
    """Create or read the setup token of a database that has never had an administrator. It is kept in a private file.

    Returns:
        The token; None if an administrator has existed, or if the file was deleted.

    Raises:
        ConfigurationError: the file can be neither read nor created.

    """
    path = data / FILE
    with database.read_transaction() as tx:
        stored, existed = tx.fetch_one(STORED_HASH), accounts.administrator_existed(tx)
    try:
        if existed:
            path.unlink(missing_ok=True)
            return None
        if stored is not None and not path.exists():
            return None
        token = read_or_create(path, secrets.token_urlsafe(24))
    except OSError as error:
        raise ConfigurationError(
            f"The setup token {path} can be neither read nor created: {error.strerror}."
        ) from error
    if stored is None:  # in the usual case a start need not wait for a writer
        with database.write_transaction() as tx:
            tx.execute(PUT_HASH, hash=_hash(token))
    return token


def discard(data: Path) -> None:
    """Delete the token's file once there is an administrator. After a failure the next start tries again."""
    with contextlib.suppress(OSError):
        (data / FILE).unlink()


def matches(tx: Transaction, token: str) -> bool:
    """Whether this is the database's setup token."""
    row = tx.fetch_one(STORED_HASH)
    return row is not None and hmac.compare_digest(row[0], _hash(token))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
