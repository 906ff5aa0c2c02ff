"""Who must wait before trying again: names that are guessed at, addresses that guess or register too much.

A name counts whether or not it exists. Where an account has signed in from an address before, that pair has a counter of
its own, and no other counts: failures on other names and from other addresses hold nobody up there, so that a classmate
cannot lock a pupil out (docs/security.md). Successes are free.
"""

import hashlib
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from seneca import accounts, text, units
from seneca.accounts import Credentials
from seneca.database import Transaction
from seneca.errors import TooManyTries

FREE: Final = 5  # failures that cost no waiting
FIRST_WAIT: Final = 1000  # milliseconds; each further failure doubles it
MOST_WAIT: Final = 15 * 60 * 1000
FORGOTTEN: Final = 24 * 60 * 60 * 1000  # milliseconds without a try after which a name is free again
WINDOW: Final = 10 * 60 * 1000  # milliseconds in which an address's tries are counted
FAMILIAR_FOR: Final = 400 * 24 * 60 * 60 * 1000  # milliseconds: longer than from one school year to the next


class Admission(Struct, frozen=True):
    """A try to sign in that may be made."""

    name: str
    address: str
    account: Credentials | None
    """Whose the name is, if anybody's."""
    is_familiar: bool
    """The account has signed in from this address before."""
    failures: int
    """So many were counted before this try."""
    is_counted: bool = False
    """This try counts as a failure already."""

    @property
    def must_be_counted(self) -> bool:
        """It must count as a failure before it is made, or of many at once each would be the first."""
        return self.failures >= FREE

    @property
    def what(self) -> str:
        """What is counted."""
        if self.is_familiar and self.account is not None:
            return _pair(self.account.id, _hash(self.address))
        return f"name {text.key(self.name)}"


TRIES = "SELECT tries, tried_at FROM throttles WHERE bucket = :bucket AND key = :key"
MAKE = """
INSERT INTO throttles (bucket, key, tries, tried_at) VALUES (:bucket, :key, 0, :now) ON CONFLICT (bucket, key) DO NOTHING
"""
COUNT = "UPDATE throttles SET tries = :tries, tried_at = :tried_at WHERE bucket = :bucket AND key = :key"
FORGET = "DELETE FROM throttles WHERE bucket = :bucket AND tried_at < :oldest"
SET_FREE = "DELETE FROM throttles WHERE bucket = :bucket AND key = :key"

SEEN = """
SELECT seen_at FROM familiar_addresses
WHERE bucket = :bucket AND account_id = :account_id AND address_key = :address_key
"""


def look(tx: Transaction, name: str, address: str, most_failures: int, now: int) -> Admission:
    """Let somebody try a password for a name, or not yet.

    Args:
        tx: the transaction.
        name: the name that is tried, in any form.
        address: the client's network address.
        most_failures: of one address in ten minutes.
        now: milliseconds since 1970.

    Raises:
        TooManyTries: not yet.

    """
    account = accounts.credentials(tx, name)
    is_familiar = False
    if account is not None:
        key = _familiar_key(account.id, account.bucket, address)
        seen = tx.one(SEEN, **key)
        is_familiar = seen is not None and seen[0] >= now - FAMILIAR_FOR
    admission = Admission(name, address, account, is_familiar, 0)
    row = tx.one(TRIES, **_key(tx, admission.what))
    failures = _failures(row[0], row[1], now) if row else 0
    if not is_familiar and (row := tx.one(TRIES, **_key(tx, f"failures {address}"))):
        _tries(row[0], row[1], most_failures, now)
    return replace(admission, failures=failures)


def count(tx: Transaction, admission: Admission, now: int) -> Admission:
    """Count a try as a failure before it is made. Raises TooManyTries if others were quicker."""
    key = _key(tx, admission.what)
    failures = _failures(*_locked(tx, key, now), now)
    tx.put(COUNT, tries=failures + 1, tried_at=now, **key)
    return replace(admission, is_counted=True)


def fail(tx: Transaction, admission: Admission, now: int) -> None:
    """Count a try that has failed."""
    if not admission.is_counted:
        _count_name(tx, _key(tx, admission.what), 1, now)
    if not admission.is_familiar:
        key = _key(tx, f"failures {admission.address}")
        tries, since = _locked(tx, key, now)
        is_over = not 0 <= now - since < WINDOW
        tx.put(COUNT, tries=1 if is_over else tries + 1, tried_at=now if is_over else since, **key)
    tx.put(FORGET, bucket=_key(tx, admission.what)["bucket"], oldest=now - FORGOTTEN)


WELCOME = """
INSERT INTO familiar_addresses (bucket, account_id, address_key, seen_at)
VALUES (:bucket, :account_id, :address_key, :now)
ON CONFLICT (bucket, account_id, address_key) DO UPDATE SET seen_at = excluded.seen_at
"""
FORGET_UNSEEN = """
DELETE FROM familiar_addresses WHERE bucket = :bucket AND account_id = :account_id AND seen_at < :oldest
"""


def welcome(tx: Transaction, account: Credentials, admission: Admission, now: int) -> None:
    """Take back a try that was counted and has succeeded. The address is familiar from now on."""
    if admission.is_familiar:
        if admission.failures:
            tx.put(SET_FREE, **_key(tx, admission.what))
    elif admission.is_counted:
        _count_name(tx, _key(tx, admission.what), -1, now)
    tx.put(WELCOME, now=now, **_familiar_key(account.id, account.bucket, admission.address))
    tx.put(FORGET_UNSEEN, bucket=account.bucket, account_id=account.id, oldest=now - FAMILIAR_FOR)


def admit_registration(tx: Transaction, address: str, most: int, now: int) -> None:
    """Count a registration from an address, of which there may be so many in ten minutes. Raises TooManyTries."""
    key = _key(tx, f"registrations {address}")
    tries, since = _tries(*_locked(tx, key, now), most, now)
    tx.put(COUNT, tries=tries + 1, tried_at=since, **key)


FORGET_ADDRESSES = """
DELETE FROM familiar_addresses WHERE bucket = :bucket AND account_id = :account_id RETURNING address_key
"""


def forget(tx: Transaction, account_id: str, names: list[str]) -> None:
    """Forget what is kept of an account, and of its names."""
    of_account = {"bucket": units.bucket_of(account_id, tx.buckets), "account_id": account_id}
    pairs = [_pair(account_id, address_key) for (address_key,) in tx.all(FORGET_ADDRESSES, **of_account)]
    for what in pairs + [f"name {text.key(name)}" for name in names]:
        tx.put(SET_FREE, **_key(tx, what))


def _failures(tries: int, tried_at: int, now: int) -> int:
    """How many failures a name has. Raises TooManyTries while the last one's wait lasts."""
    since = now - tried_at
    if not 0 <= since < FORGOTTEN:  # less than 0: the clock was set back
        return 0
    wait = 0 if tries < FREE else min(FIRST_WAIT << min(tries - FREE, 20), MOST_WAIT)
    if since < wait:
        raise TooManyTries(wait - since)
    return tries


def _tries(tries: int, since: int, most: int, now: int) -> tuple[int, int]:
    """How many tries an address has made, and since when. Raises TooManyTries if those are too many."""
    if not 0 <= now - since < WINDOW:
        return 0, now
    if tries >= most:
        raise TooManyTries(WINDOW - (now - since))
    return tries, since


def _count_name(tx: Transaction, key: dict[str, object], more: int, now: int) -> None:
    """Count so many failures more of a name."""
    tries, tried_at = _locked(tx, key, now)
    before = tries if 0 <= now - tried_at < FORGOTTEN else 0
    tx.put(COUNT, tries=max(0, before + more), tried_at=now, **key)


def _locked(tx: Transaction, key: dict[str, object], now: int) -> tuple[int, int]:
    """How often, and when, this was tried. Others who try it wait."""
    tx.put(MAKE, now=now, **key)
    row = tx.lock(TRIES, **key).fetchone()
    assert row is not None
    return row[0], row[1]


def _pair(account_id: str, address_key: str) -> str:
    return f"pair {account_id} {address_key}"


def _hash(what: str) -> str:
    return hashlib.sha256(what.encode()).hexdigest()


def _key(tx: Transaction, what: str) -> dict[str, object]:
    key = _hash(what)
    return {"bucket": units.bucket_of(key, tx.buckets), "key": key}


def _familiar_key(account_id: str, bucket: int, address: str) -> dict[str, object]:
    return {"bucket": bucket, "account_id": account_id, "address_key": _hash(address)}
