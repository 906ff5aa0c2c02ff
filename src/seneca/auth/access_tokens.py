"""Bearer tokens: signed with a key of this installation, readable by the reference's clients.

A token is a JWT (RFC 7519), HS256, whose payload carries ``id`` and ``role`` beside the usual claims.
"""

import hashlib
import hmac
import re
import secrets
from typing import Any, Final

import jwt
from msgspec import Struct

from seneca.accounts import Role
from seneca.common import units
from seneca.common.atomic_file import read_or_make
from seneca.database import Database, Transaction
from seneca.errors import ConfigurationError, Unauthenticated
from seneca.settings import Settings

ISSUER: Final = "seneca"
ACCESS_TOKEN_TTL_SECONDS: Final = 3600  # seconds; the reference's clients know no refresh
MIN_CHARACTERS: Final = 32
MIN_DISTINCT_CHARACTERS: Final = 10
KEY_FILE: Final = "secret-key"
MIN_GUESSES_LOG10: Final = 25.5  # zxcvbn's estimate: 32 random hexadecimal digits have 28 or more, phrases of words 25
ESTIMATED_CHARACTERS: Final = 32
_WELL_KNOWN: Final = re.compile(
    r"change.?me|secret|passwor[dt]|qwert|example|insecure|correct.?horse|at.?least.?256|0123456789abcdef0123456789",
    re.IGNORECASE,
)
_GENERATED: Final = re.compile(r"[0-9a-f]{64,}")  # what the command that we name prints, and the key file holds


class Caller(Struct, frozen=True):
    """Who is asking: what a verified token says."""

    id: str
    role: Role
    bucket: int
    sign_in: str


class VerifiedToken(Struct, frozen=True):
    """A token that was verified: whose it is, and until when it is good, in seconds since 1970."""

    caller: Caller
    generation: str
    """Of the database when it was issued; a restore begins another one."""
    expires: int


class SigningKey(Struct, frozen=True):
    """A signing key and the short name under which tokens refer to it."""

    id: str
    secret: bytes

    @classmethod
    def of(cls, text: str) -> "SigningKey":
        """The key of a secret text; its name is the start of the text's SHA-256."""
        return cls(hashlib.sha256(text.encode()).hexdigest()[:16], text.encode())


class SigningKeys:
    """The keys of this installation: the first signs, all verify. Several are how keys rotate."""

    def __init__(self, keys: list[SigningKey]) -> None:
        self._signing = keys[0]
        self._by_id = {key.id: key for key in keys}

    @property
    def ids(self) -> set[str]:
        """The keys' names, which say nothing of the keys."""
        return set(self._by_id)

    def issue(self, *, account_id: str, role: Role, sign_in: str, now: int, generation: str = "") -> str:
        """A token for a sign-in, good for ``ACCESS_TOKEN_TTL_SECONDS`` seconds from ``now`` (milliseconds since 1970)."""
        issued = now // 1000
        claims = {
            "id": account_id,
            "role": role,
            "iss": ISSUER,
            "aud": ISSUER,
            "sub": account_id,
            "sid": sign_in,
            "gen": generation,
            "jti": units.new_id(),
            "iat": issued,
            "exp": issued + ACCESS_TOKEN_TTL_SECONDS,
        }
        return jwt.encode(
            claims,
            self._signing.secret,
            algorithm="HS256",
            headers={"kid": self._signing.id},
        )

    def pseudonym(self, text: str) -> str:
        """What a network address is called in the log: the same for as long as the signing key is."""
        key = hmac.digest(self._signing.secret, b"seneca log pseudonyms", "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()[:16]

    def verify(self, token: str, buckets: int) -> VerifiedToken:
        """Whose token it is, and how long it is good.

        Raises:
            Unauthenticated: it is not one of ours, was changed, or has expired.

        """
        try:
            key = self._by_id[jwt.get_unverified_header(token)["kid"]]
            claims: dict[str, Any] = jwt.decode(
                token,
                key.secret,
                algorithms=["HS256"],
                issuer=ISSUER,
                audience=ISSUER,
                options={"require": ["exp", "iat", "sub", "sid", "role"], "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            claims = jwt.decode(
                token, key.secret, algorithms=["HS256"], options={"verify_exp": False, "verify_aud": False}
            )
            raise Unauthenticated("token-expired", account=claims["sub"]) from None
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
            raise Unauthenticated("token-invalid") from None
        account = claims["sub"]
        caller = Caller(account, claims["role"], units.bucket_of(account, buckets), claims["sid"])
        return VerifiedToken(caller, str(claims.get("gen", "")), claims["exp"])


KNOWN = "SELECT value FROM properties WHERE name = 'signing-keys'"
PUT_KNOWN = """
INSERT INTO properties (name, value) VALUES ('signing-keys', :ids) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
FORGET = "DELETE FROM properties WHERE name = 'signing-keys'"


def register_signing_keys(database: Database, keys: SigningKeys) -> None:
    """See to it that every server of this database knows a key of the others, or tokens would hold at some only.

    Raises:
        ConfigurationError: none of these keys is in use.

    """
    with database.read_transaction() as tx:
        if _known(tx) == keys.ids:
            return  # as at most starts, which then wait for no writer
    with (
        database.write_transaction() as tx
    ):  # of two that start at once with different keys, the second finds the first one's
        known = _known(tx)
        if known and not known & keys.ids:
            raise ConfigurationError(
                "The tokens of this database are signed with another key. Set SENECA_SECRET_KEY to the one that its servers "
                "use, or copy their file secret-key into the data directory. If it is lost: seneca admin reset-keys."
            )
        tx.execute_later(PUT_KNOWN, ids=" ".join(sorted(keys.ids)))


def _known(tx: Transaction) -> set[str]:
    row = tx.fetch_one(KNOWN)
    return set(row[0].split()) if row else set()


def reset_signing_keys(tx: Transaction) -> None:
    """Accept whatever keys the next server brings."""
    tx.execute(FORGET)


def load_keys(settings: Settings) -> SigningKeys:
    """The keys that the settings name, else the one in the data directory, made if it is not there.

    Raises:
        ConfigurationError: a key is too short or too well known, or the file cannot be read or made.

    """
    if settings.secret_key:
        texts = [text.strip() for text in settings.secret_key.split(",")]
        for text in texts:
            _check(text)
    else:
        path = settings.data / KEY_FILE
        try:
            texts = [read_or_make(path, secrets.token_hex(32))]
        except OSError as error:
            raise ConfigurationError(
                f"The signing key {path} can be neither read nor made: {error.strerror}."
            ) from error
        _check(texts[0])
    return SigningKeys([SigningKey.of(text) for text in texts])


def _check(text: str) -> None:
    """Refuse a key that can be guessed: who has a token can try keys as fast as they can compute. Raises ConfigurationError."""
    is_short = len(text) < MIN_CHARACTERS or len(set(text)) < MIN_DISTINCT_CHARACTERS
    if is_short or _WELL_KNOWN.search(text) or not (_GENERATED.fullmatch(text) or _is_random(text)):
        raise ConfigurationError(
            "SENECA_SECRET_KEY (or the file secret-key) must hold random keys of 32 characters or more. "
            "Make one: python3 -c 'import secrets; print(secrets.token_hex(32))'"
        )


def _is_random(text: str) -> bool:
    """Whether the first or the last characters look random rather than made of words, by zxcvbn's estimate."""
    from zxcvbn import zxcvbn  # 50 ms that a start with a generated key need not wait for

    ends = (text[:ESTIMATED_CHARACTERS], text[-ESTIMATED_CHARACTERS:])
    return any(zxcvbn(end)["guesses_log10"] >= MIN_GUESSES_LOG10 for end in ends)
