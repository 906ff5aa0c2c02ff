"""Access tokens: JWTs (RFC 7519) signed with HS256.

The payload carries ``id`` and ``role`` beside the registered claims, for clients of the reference service.
"""

from typing import Any, Final

import jwt
from msgspec import Struct

from seneca.accounts import Role
from seneca.auth.caller import ACCESS_TOKEN_TTL_SECONDS, Caller
from seneca.auth.signing_keys import SigningKeys
from seneca.common.ids import bucket_of, new_id
from seneca.errors import Unauthenticated

ISSUER: Final = "seneca"


class VerifiedToken(Struct, frozen=True):
    """The content of a verified token. ``expires`` is in seconds since 1970."""

    caller: Caller
    generation: str
    """The database's token generation at the time of issue; a restore starts a new one."""
    expires: int


def issue(keys: SigningKeys, *, account_id: str, role: Role, sign_in: str, now: int, generation: str = "") -> str:
    """Issue a token for a sign-in, valid for ``ACCESS_TOKEN_TTL_SECONDS`` from ``now`` (milliseconds since 1970)."""
    issued = now // 1000
    claims = {
        "id": account_id,
        "role": role,
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": account_id,
        "sid": sign_in,
        "gen": generation,
        "jti": new_id(),
        "iat": issued,
        "exp": issued + ACCESS_TOKEN_TTL_SECONDS,
    }
    return jwt.encode(claims, keys.signing.secret, algorithm="HS256", headers={"kid": keys.signing.id})


def verify(keys: SigningKeys, token: str, buckets: int) -> VerifiedToken:
    """Verify a token's signature, claims and expiry.

    Raises:
        Unauthenticated: the token was not issued by this installation, was changed, or has expired.

    """
    try:
        key = keys.by_id[jwt.get_unverified_header(token)["kid"]]
        claims: dict[str, Any] = jwt.decode(
            token,
            key.secret,
            algorithms=["HS256"],
            issuer=ISSUER,
            audience=ISSUER,
            options={"require": ["exp", "iat", "sub", "sid", "role"], "verify_iat": False},
        )
    except jwt.ExpiredSignatureError:
        claims = jwt.decode(token, key.secret, algorithms=["HS256"], options={"verify_exp": False, "verify_aud": False})
        raise Unauthenticated("token-expired", account=claims["sub"]) from None
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        raise Unauthenticated("token-invalid") from None
    account_id = claims["sub"]
    caller = Caller(account_id, claims["role"], bucket_of(account_id, buckets), claims["sid"])
    return VerifiedToken(caller, str(claims.get("gen", "")), claims["exp"])
