"""Refresh tokens: what one is made of, and what is stored of it.

Every token of a sign-in carries the same family secret, which shows that it is one of ours however old, and a secret of
its own. The next one's is derived from it with a salt that is stored (HMAC-SHA256): so the same token can be answered
twice with the same child, though of both only hashes are kept, and nobody can make the child without the salt.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import uuid
from typing import Final

from msgspec import Struct

FAMILY: Final = 16  # bytes
TURN: Final = 32
UUID: Final = 16
LENGTH: Final = 2 * UUID + FAMILY + TURN


class RefreshToken(Struct, frozen=True):
    """A token that is exchanged for the next, once."""

    account_id: str
    sign_in: str
    family: bytes
    turn: bytes

    @classmethod
    def first(cls, account_id: str, sign_in: str) -> "RefreshToken":
        """The first token of a new sign-in."""
        return cls(account_id, sign_in, secrets.token_bytes(FAMILY), secrets.token_bytes(TURN))

    @classmethod
    def read(cls, text: str) -> "RefreshToken | None":
        """The token that this text is, or None."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        if len(raw) != LENGTH:
            return None
        account, sign_in = (str(uuid.UUID(bytes=raw[at : at + UUID])) for at in (0, UUID))
        return cls(account, sign_in, raw[2 * UUID : 2 * UUID + FAMILY], raw[-TURN:])

    @property
    def text(self) -> str:
        """The token as its holder keeps it."""
        ids = uuid.UUID(self.account_id).bytes + uuid.UUID(self.sign_in).bytes
        return base64.urlsafe_b64encode(ids + self.family + self.turn).decode().rstrip("=")

    @property
    def family_hash(self) -> str:
        """What is stored of the family's secret."""
        return hashlib.sha256(self.family).hexdigest()

    @property
    def turn_hash(self) -> str:
        """What is stored of this token's own secret."""
        return hashlib.sha256(self.turn).hexdigest()

    def child(self, salt: str) -> "RefreshToken":
        """The token that follows this one."""
        turn = hmac.digest(self.turn, salt.encode(), "sha256")
        return RefreshToken(self.account_id, self.sign_in, self.family, turn)
