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
from seneca.database import Row, Transaction
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
        return _name(self.name)


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
    with tx.together():
        asked = accounts.ask_credentials(tx, name)
        of_name = tx.ask(TRIES, **_key(tx, _name(name)))
        of_address = tx.ask(TRIES, **_key(tx, _failures_of(address)))
        row, tries, tries_here = asked.fetchone(), of_name.fetchone(), of_address.fetchone()
        account = None if row is None else Credentials(*row)
        is_familiar = False
        if account is not None:
            address_key = _hash(address)
            asked = tx.ask(SEEN, bucket=account.bucket, account_id=account.id, address_key=address_key)
            of_pair = tx.ask(TRIES, **_key(tx, _pair(account.id, address_key)))
            seen = asked.fetchone()
            is_familiar = seen is not None and seen[0] >= now - FAMILIAR_FOR
            if is_familiar:
                tries, tries_here = of_pair.fetchone(), None
    failures = _failures(tries, now) if tries else 0
    if tries_here:
        _tries(tries_here, most_failures, now)
    return Admission(name, address, account, is_familiar, failures)


def count(tx: Transaction, admission: Admission, now: int) -> Admission:
    """Count a try as a failure before it is made. Raises TooManyTries if others were quicker."""
    key = _key(tx, admission.what)
    failures = _failures(_locked(tx, key, now), now)
    tx.put(COUNT, tries=failures + 1, tried_at=now, **key)
    return replace(admission, is_counted=True)


GOES_ON = "throttles.tried_at > :oldest AND throttles.tried_at <= excluded.tried_at"
FAIL = f"""
INSERT INTO throttles (bucket, key, tries, tried_at) VALUES (:bucket, :key, 1, :now)
ON CONFLICT (bucket, key) DO UPDATE SET
    tries = CASE WHEN {GOES_ON} THEN throttles.tries + 1 ELSE 1 END, tried_at = excluded.tried_at
"""
FAIL_HERE = f"""
INSERT INTO throttles (bucket, key, tries, tried_at) VALUES (:bucket, :key, 1, :now)
ON CONFLICT (bucket, key) DO UPDATE SET
    tries = CASE WHEN {GOES_ON} THEN throttles.tries + 1 ELSE 1 END,
    tried_at = CASE WHEN {GOES_ON} THEN throttles.tried_at ELSE excluded.tried_at END
"""


def fail(tx: Transaction, admission: Admission, now: int) -> None:
    """Count a try that has failed. Nothing is looked at first: of one address many fail at once, and wait for each other."""
    name = _key(tx, admission.what)
    if not admission.is_counted:
        tx.put(FAIL, now=now, oldest=now - FORGOTTEN, **name)
    tx.put(FORGET, bucket=name["bucket"], oldest=now - FORGOTTEN)
    if not admission.is_familiar:
        tx.put(FAIL_HERE, now=now, oldest=now - WINDOW, **_key(tx, _failures_of(admission.address)))


TAKE_BACK = "UPDATE throttles SET tries = tries - 1 WHERE bucket = :bucket AND key = :key AND tries > 0"
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
        tx.put(TAKE_BACK, **_key(tx, admission.what))
    tx.put(WELCOME, now=now, **_familiar_key(account.id, account.bucket, admission.address))
    tx.put(FORGET_UNSEEN, bucket=account.bucket, account_id=account.id, oldest=now - FAMILIAR_FOR)


def admit_registration(tx: Transaction, address: str, most: int, now: int) -> None:
    """Count a registration from an address, of which there may be so many in ten minutes. Raises TooManyTries."""
    key = _key(tx, f"registrations {address}")
    tries, since = _tries(_locked(tx, key, now), most, now)
    tx.put(COUNT, tries=tries + 1, tried_at=since, **key)


FORGET_ADDRESSES = """
DELETE FROM familiar_addresses WHERE bucket = :bucket AND account_id = :account_id RETURNING address_key
"""


def forget(tx: Transaction, account_id: str, names: list[str]) -> None:
    """Forget what is kept of an account, and of its names."""
    of_account = {"bucket": units.bucket_of(account_id, tx.buckets), "account_id": account_id}
    pairs = [_pair(account_id, address_key) for (address_key,) in tx.all(FORGET_ADDRESSES, **of_account)]
    for what in pairs + [_name(name) for name in names]:
        tx.put(SET_FREE, **_key(tx, what))


def _failures(row: Row, now: int) -> int:
    """How many failures a name has. Raises TooManyTries while the last one's wait lasts."""
    tries: int
    tries, tried_at = row
    since = now - tried_at
    if not 0 <= since < FORGOTTEN:  # less than 0: the clock was set back
        return 0
    wait = 0 if tries < FREE else min(FIRST_WAIT << min(tries - FREE, 20), MOST_WAIT)
    if since < wait:
        raise TooManyTries(wait - since)
    return tries


def _tries(row: Row, most: int, now: int) -> tuple[int, int]:
    """How many tries an address has made, and since when. Raises TooManyTries if those are too many."""
    tries, since = row
    if not 0 <= now - since < WINDOW:
        return 0, now
    if tries >= most:
        raise TooManyTries(WINDOW - (now - since))
    return tries, since


def _locked(tx: Transaction, key: dict[str, object], now: int) -> Row:
    """How often, and when, this was tried. Others who try it wait."""
    tx.put(MAKE, now=now, **key)
    row = tx.lock(TRIES, **key).fetchone()
    assert row is not None
    return row


def _name(name: str) -> str:
    return f"name {text.key(name)}"


def _failures_of(address: str) -> str:
    return f"failures {address}"


def _pair(account_id: str, address_key: str) -> str:
    return f"pair {account_id} {address_key}"


def _hash(what: str) -> str:
    return hashlib.sha256(what.encode()).hexdigest()


def _key(tx: Transaction, what: str) -> dict[str, object]:
    key = _hash(what)
    return {"bucket": units.bucket_of(key, tx.buckets), "key": key}


def _familiar_key(account_id: str, bucket: int, address: str) -> dict[str, object]:
    return {"bucket": bucket, "account_id": account_id, "address_key": _hash(address)}
