"""The format of refresh tokens, and their derivation.

All tokens of a sign-in carry the same family secret, which proves that even an old one is genuine, and a secret of their own.
The secret of the next token is derived from the current one with a stored salt (HMAC-SHA256). So a repeated refresh can return
the same next token although the database holds only hashes, and nobody can derive the next token without the salt.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import uuid
from typing import Final

from msgspec import Struct

FAMILY_BYTES: Final = 16
SECRET_BYTES: Final = 32
UUID_BYTES: Final = 16
TOKEN_BYTES: Final = 2 * UUID_BYTES + FAMILY_BYTES + SECRET_BYTES


class RefreshToken(Struct, frozen=True):
    """A token that can be exchanged once, for the next one."""

    account_id: str
    sign_in: str
    family: bytes
    secret: bytes

    @classmethod
    def first(cls, account_id: str, sign_in: str) -> "RefreshToken":
        """Create the first token of a new sign-in."""
        return cls(account_id, sign_in, secrets.token_bytes(FAMILY_BYTES), secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> "RefreshToken | None":
        """Parse a token's text. None: it is not a refresh token."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        if len(raw) != TOKEN_BYTES:
            return None
        account_id, sign_in = (str(uuid.UUID(bytes=raw[at : at + UUID_BYTES])) for at in (0, UUID_BYTES))
        return cls(account_id, sign_in, raw[2 * UUID_BYTES : -SECRET_BYTES], raw[-SECRET_BYTES:])

    @property
    def text(self) -> str:
        """The token as the client holds it: URL-safe Base64."""
        ids = uuid.UUID(self.account_id).bytes + uuid.UUID(self.sign_in).bytes
        return base64.urlsafe_b64encode(ids + self.family + self.secret).decode().rstrip("=")

    @property
    def family_hash(self) -> str:
        """The stored hash of the family secret."""
        return hashlib.sha256(self.family).hexdigest()

    @property
    def secret_hash(self) -> str:
        """The stored hash of this token's own secret."""
        return hashlib.sha256(self.secret).hexdigest()

    def next(self, salt: str) -> "RefreshToken":
        """Derive the token that follows this one."""
        secret = hmac.digest(self.secret, salt.encode(), "sha256")
        return RefreshToken(self.account_id, self.sign_in, self.family, secret)
