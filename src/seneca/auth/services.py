"""What signing in and changing accounts needs of the process that serves requests."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from msgspec import Struct

from seneca.auth.password_hasher_pool import PasswordHasherPool
from seneca.auth.password_policy import PasswordPolicy
from seneca.common.fair_slots import FairSlots
from seneca.database import Database, Transaction
from seneca.settings import Settings

if TYPE_CHECKING:  # it imports the log library, which takes 40 ms and would delay every command
    from seneca.auth.token_verifier import TokenVerifier

P = ParamSpec("P")
T = TypeVar("T")


class Services(Struct, frozen=True, kw_only=True):
    """The services of one worker process."""

    settings: Settings
    clock: Callable[[], int]
    """Returns the time in milliseconds since 1970."""
    database: Database
    token_verifier: "TokenVerifier"
    password_hashers: PasswordHasherPool
    password_policy: PasswordPolicy
    sign_in_slots: FairSlots
    """Half of the database's connections, for writes that may wait for each other: the other half stays free for other writes."""

    async def write_in_slot(
        self, holder: str, f: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run the write ``f(tx, …)`` in a sign-in slot. Slots are shared fairly among holders: account ids or network addresses."""
        async with self.sign_in_slots.slot(holder):
            return await self.database.write(f, *args, **kwargs)
