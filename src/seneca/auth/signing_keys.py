"""The keys that sign access tokens: loaded and checked at start, registered in the database that their servers share."""

import hashlib
import hmac
import re
import secrets
from typing import Final

from msgspec import Struct

from seneca.common.atomic_file import read_or_create
from seneca.database import Database, Transaction
from seneca.errors import ConfigurationError
from seneca.settings import Settings

MIN_CHARACTERS: Final = 32
MIN_DISTINCT_CHARACTERS: Final = 10
KEY_FILE: Final = "secret-key"
MIN_GUESSES_LOG10: Final = (
    25.5  # zxcvbn's estimate: at least 28 for 32 random hexadecimal digits, 25 for phrases of words
)
MAX_ESTIMATED_CHARACTERS: Final = 32
_WELL_KNOWN: Final = re.compile(
    r"change.?me|secret|passwor[dt]|qwert|example|insecure|correct.?horse|at.?least.?256|0123456789abcdef0123456789",
    re.IGNORECASE,
)
_GENERATED: Final = re.compile(
    r"[0-9a-f]{64,}"
)  # the output of the recommended command, and the content of the key file


class SigningKey(Struct, frozen=True):
    """A signing key, and the short id by which tokens refer to it."""

    id: str
    secret: bytes

    @classmethod
    def of(cls, text: str) -> "SigningKey":
        """Make the key of a secret text. Its id is the start of the text's SHA-256."""
        return cls(hashlib.sha256(text.encode()).hexdigest()[:16], text.encode())


class SigningKeys:
    """The keys of this installation: the first signs, all verify. During a rotation there are several."""

    def __init__(self, keys: list[SigningKey]) -> None:
        self.signing = keys[0]
        self.by_id = {key.id: key for key in keys}

    @property
    def ids(self) -> set[str]:
        """The ids of the keys, which reveal nothing of the secrets."""
        return set(self.by_id)

    def pseudonym(self, text: str) -> str:
        """Make a pseudonym for a network address in the log. It changes only with the signing key."""
        key = hmac.digest(self.signing.secret, b"seneca log pseudonyms", "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()[:16]


KEY_IDS = "SELECT value FROM properties WHERE name = 'signing-keys'"
PUT_KEY_IDS = """
INSERT INTO properties (name, value) VALUES ('signing-keys', :ids) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
DELETE_KEY_IDS = "DELETE FROM properties WHERE name = 'signing-keys'"


def register_signing_keys(database: Database, keys: SigningKeys) -> None:
    """Store the ids of this server's keys, after checking that it shares a key with the database's other servers.

    Without a shared key, a token would be valid on some servers only.

    Raises:
        ConfigurationError: the database has registered keys, and none of them is among these.

    """
    with database.read_transaction() as tx:
        if _registered_ids(tx) == keys.ids:
            return  # the usual case, in which a start need not wait for a writer
    # Of two servers that start at the same time with different keys, the second one reads the first one's ids here.
    with database.write_transaction() as tx:
        registered = _registered_ids(tx)
        if registered and not registered & keys.ids:
            raise ConfigurationError(
                "The tokens of this database are signed with another key. Set SENECA_SECRET_KEY to the one that its servers "
                "use, or copy their file secret-key into the data directory. If it is lost: seneca admin reset-keys."
            )
        tx.execute_later(PUT_KEY_IDS, ids=" ".join(sorted(keys.ids)))


def _registered_ids(tx: Transaction) -> set[str]:
    row = tx.fetch_one(KEY_IDS)
    return set(row[0].split()) if row else set()


def reset_signing_keys(tx: Transaction) -> None:
    """Delete the registered ids, so that the next server may start with any key."""
    tx.execute(DELETE_KEY_IDS)


def load_signing_keys(settings: Settings) -> SigningKeys:
    """Load the keys of the settings, or if there are none, the key file in the data directory, created if missing.

    Raises:
        ConfigurationError: a key is too short or easily guessed, or the file can be neither read nor created.

    """
    if settings.secret_key:
        texts = [text.strip() for text in settings.secret_key.split(",")]
        for text in texts:
            _check_strength(text)
    else:
        path = settings.data / KEY_FILE
        try:
            texts = [read_or_create(path, secrets.token_hex(32))]
        except OSError as error:
            raise ConfigurationError(
                f"The signing key {path} can be neither read nor created: {error.strerror}."
            ) from error
        _check_strength(texts[0])
    return SigningKeys([SigningKey.of(text) for text in texts])


def _check_strength(text: str) -> None:
    """Check that a key cannot be guessed: anyone with a token can try keys offline. Raises ConfigurationError."""
    is_short = len(text) < MIN_CHARACTERS or len(set(text)) < MIN_DISTINCT_CHARACTERS
    if is_short or _WELL_KNOWN.search(text) or not (_GENERATED.fullmatch(text) or _is_random(text)):
        raise ConfigurationError(
            "SENECA_SECRET_KEY (or the file secret-key) must hold random keys of 32 characters or more. "
            "Generate one: python3 -c 'import secrets; print(secrets.token_hex(32))'"
        )


def _is_random(text: str) -> bool:
    """Whether zxcvbn estimates that the first or the last characters are random rather than words."""
    from zxcvbn import zxcvbn  # takes 50 ms, which a start with a generated key avoids

    ends = (text[:MAX_ESTIMATED_CHARACTERS], text[-MAX_ESTIMATED_CHARACTERS:])
    return any(zxcvbn(end)["guesses_log10"] >= MIN_GUESSES_LOG10 for end in ends)
