"""Who sends a request, and for how long an access token says so."""

from typing import Final

from msgspec import Struct

from seneca.accounts import Role

ACCESS_TOKEN_TTL_SECONDS: Final = 3600  # clients of the reference service do not refresh


class Caller(Struct, frozen=True, tag=True):
    """The authenticated client of a request, from a verified token."""

    id: str
    role: Role
    bucket: int
    sign_in: str
