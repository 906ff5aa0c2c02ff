"""Who must wait before another attempt at a password: accounts and names that are guessed at, addresses that guess.

Every attempt is counted before its password is verified, and taken back if that is right: of a hundred at once each sees
those before it (docs/security.md, docs/decisions/0008-login-throttle.md).
"""

from typing import Final

from msgspec import Struct

from seneca import accounts
from seneca.accounts import Credentials
from seneca.auth import attempt_counters, password_hashes, passwords
from seneca.auth.attempt_counters import Counter
from seneca.common import text_types
from seneca.common.ids import bucket_of
from seneca.database import PendingResult, Row, Transaction
from seneca.errors import TooManyRequests

FREE_FAILURES: Final = 5  # of an account, or of a name that is nobody's
FIRST_WAIT_MS: Final = 1000  # each further failure doubles it
MAX_WAIT_MS: Final = 15 * 60 * 1000
FORGET_AFTER_MS: Final = 24 * 60 * 60 * 1000  # without an attempt
WINDOW_MS: Final = 10 * 60 * 1000  # in which an address's attempts are counted
SLOW_INTERVAL_MS: Final = 250  # between two attempts from an address that is over its limit
MAX_SLOW_QUEUE_MS: Final = 8000
FAMILIAR_FOR_MS: Final = 400 * 24 * 60 * 60 * 1000  # longer than from one school year to the next
MAX_CLOCK_SKEW_MS: Final = 5 * 60 * 1000  # between servers; a time further ahead says that a clock was set back


class LoginAttempt(Struct, frozen=True):
    """An attempt at a password that may be made, and has been counted as a failure until it succeeds."""

    name: str
    address: str
    account: Credentials | None
    """Whose the name is, if anybody's."""
    is_familiar: bool
    """The account has been used from this address before."""
    counter: Counter
    """Of the account (at this address, if that is familiar) or of the name."""
    window_start: int | None
    """When the counter of the address began, if the attempt was counted there."""
    delay_ms: int
    """How long it must wait before its password is verified."""
    failure_step_ms: int
    """A failure takes a multiple of this."""


FAMILIAR_SINCE = """
SELECT f.seen_at
FROM account_names n
JOIN accounts a ON a.id = n.account_id
JOIN familiar_addresses f ON f.bucket = a.bucket AND f.account_id = a.id
WHERE n.name_key = :key AND f.address_key = :address_key
"""


def reserve(tx: Transaction, name: str, address: str, max_failures: int, now: int) -> LoginAttempt:
    """Count an attempt at the password of a name, before it is verified.

    Args:
        tx: the transaction.
        name: the name, in any form.
        address: the client's network address.
        max_failures: of one address in ten minutes; from then on its attempts are slowed.
        now: milliseconds since 1970.

    Raises:
        TooManyRequests: not yet.

    """
    answer = accounts.send_credentials(tx, name)
    seen = tx.send(FAMILIAR_SINCE, key=text_types.key(name), address_key=attempt_counters.hash_of(address))
    step = tx.send(password_hashes.FAILURE_STEP)
    row, seen_row, step_row = answer.fetchone(), seen.fetchone(), step.fetchone()
    account = None if row is None else Credentials(*row)
    is_familiar = account is not None and seen_row is not None and seen_row[0] >= now - FAMILIAR_FOR_MS
    counter = _counter(tx, account, name, address, is_familiar=is_familiar)
    counted = attempt_counters.select_for_update(tx, counter, now)
    of_address = None
    if not is_familiar:
        of_address = attempt_counters.select_for_update(tx, _of_address(tx, address), now)
    try:
        failures = _failures(attempt_counters.row_of(counted), now)
        window_start, delay_ms = None, 0
        if of_address is not None:
            window_start, delay_ms = _count_address(
                tx, address, of_address, failures, max_failures=max_failures, now=now
            )
    except TooManyRequests as error:
        error.account = account.id if account else None
        raise
    attempt_counters.put(tx, counter, tries=failures + 1, tried_at=now)
    attempt_counters.delete_old(tx, counter.bucket, now - FORGET_AFTER_MS)
    return LoginAttempt(
        name=name,
        address=address,
        account=account,
        is_familiar=is_familiar,
        counter=counter,
        window_start=window_start,
        delay_ms=delay_ms,
        failure_step_ms=int(step_row[0]) if step_row else passwords.FAILURE_STEP_MS,
    )


def _counter(tx: Transaction, account: Credentials | None, name: str, address: str, *, is_familiar: bool) -> Counter:
    if account is None:
        return attempt_counters.of_name(name, tx.buckets)
    if is_familiar:
        return attempt_counters.of_account_at(account.id, address, tx.buckets)
    return attempt_counters.of_account(account.id, tx.buckets)


def _of_address(tx: Transaction, address: str) -> Counter:
    return attempt_counters.of_address("failures", address, tx.buckets)


def _failures(row: Row, now: int) -> int:
    """How many failures a counter has. Raises TooManyRequests while the last one's wait lasts."""
    tries: int
    tries, tried_at = row
    elapsed = now - tried_at
    if not -MAX_CLOCK_SKEW_MS <= elapsed < FORGET_AFTER_MS:
        return 0
    wait = 0 if tries < FREE_FAILURES else min(FIRST_WAIT_MS << min(tries - FREE_FAILURES, 20), MAX_WAIT_MS)
    if wait and elapsed < wait:
        raise TooManyRequests(min(wait - elapsed, wait))
    return tries


def _count_address(
    tx: Transaction, address: str, of_address: PendingResult, failures: int, *, max_failures: int, now: int
) -> tuple[int, int]:
    """Count an attempt for its address; over the limit it must have few failures of its own, and is slowed.

    Returns:
        When the counter of the address began, and for how many milliseconds the attempt must wait.

    Raises:
        TooManyRequests: the limit is reached, and too many attempts have failed for the same name, or are being slowed.

    """
    tries, started_at = _window(attempt_counters.row_of(of_address), now)
    delay_ms = 0
    if tries >= max_failures:
        if failures >= FREE_FAILURES:
            raise TooManyRequests(started_at + WINDOW_MS - now)
        delay_ms = _slow_down(tx, address, now)
    attempt_counters.put(tx, _of_address(tx, address), tries=tries + 1, tried_at=started_at)
    return started_at, delay_ms


def _slow_down(tx: Transaction, address: str, now: int) -> int:
    """Queue an attempt behind the others of its address; returns its wait in milliseconds. Raises TooManyRequests."""
    counter = attempt_counters.of_address("slowed", address, tx.buckets)
    _, last = attempt_counters.row_of(attempt_counters.select_for_update(tx, counter, now - SLOW_INTERVAL_MS))
    is_plausible = last <= now + MAX_SLOW_QUEUE_MS + MAX_CLOCK_SKEW_MS  # else the clock was set back
    next_at = max(now, last + SLOW_INTERVAL_MS) if is_plausible else now
    if next_at - now > MAX_SLOW_QUEUE_MS:
        raise TooManyRequests(next_at - now - MAX_SLOW_QUEUE_MS)
    attempt_counters.put(tx, counter, tries=0, tried_at=next_at)
    return next_at - now


def _window(row: Row, now: int) -> tuple[int, int]:
    """How many attempts an address has made in its window, and when that began."""
    tries, started_at = row
    if not -MAX_CLOCK_SKEW_MS <= now - started_at < WINDOW_MS:
        return 0, now
    return tries, started_at


def take_back(tx: Transaction, attempt: LoginAttempt) -> None:
    """Take back an attempt that succeeded, or whose password was not verified."""
    attempt_counters.decrement(tx, attempt.counter)
    if attempt.window_start is not None:
        attempt_counters.decrement(tx, _of_address(tx, attempt.address), since=attempt.window_start)


def record_success(tx: Transaction, account: Credentials, attempt: LoginAttempt, now: int) -> None:
    """Take back an attempt that succeeded; its address is familiar from now on."""
    take_back(tx, attempt)
    if attempt.is_familiar:
        attempt_counters.delete(tx, attempt.counter)
    trust_address(tx, account.id, attempt.address, now)


TRUST = """
INSERT INTO familiar_addresses (bucket, account_id, address_key, seen_at)
VALUES (:bucket, :account_id, :address_key, :now)
ON CONFLICT (bucket, account_id, address_key) DO UPDATE SET seen_at = excluded.seen_at
"""
DELETE_UNSEEN = """
DELETE FROM familiar_addresses WHERE bucket = :bucket AND account_id = :account_id AND seen_at < :oldest
"""


def trust_address(tx: Transaction, account_id: str, address: str, now: int) -> None:
    """Remember that an account was used, or registered by its owner, from this address."""
    of_account = {"bucket": bucket_of(account_id, tx.buckets), "account_id": account_id}
    tx.execute_later(TRUST, address_key=attempt_counters.hash_of(address), now=now, **of_account)
    tx.execute_later(DELETE_UNSEEN, oldest=now - FAMILIAR_FOR_MS, **of_account)


def reserve_registration(tx: Transaction, address: str, limit: int, now: int) -> None:
    """Count a registration from an address, of which there may be ``cutoff`` in ten minutes. Raises TooManyRequests."""
    counter = attempt_counters.of_address("registrations", address, tx.buckets)
    tries, started_at = _window(attempt_counters.row_of(attempt_counters.select_for_update(tx, counter, now)), now)
    if tries >= limit:
        raise TooManyRequests(started_at + WINDOW_MS - now)
    attempt_counters.put(tx, counter, tries=tries + 1, tried_at=started_at)


DELETE_ADDRESSES = "DELETE FROM familiar_addresses WHERE bucket = :bucket AND account_id = :account_id"


def erase(tx: Transaction, account_id: str, names: list[str]) -> None:
    """Delete what is kept of an account, and of its names before they were its own."""
    bucket = bucket_of(account_id, tx.buckets)
    tx.execute_later(DELETE_ADDRESSES, bucket=bucket, account_id=account_id)
    attempt_counters.delete_of_account(tx, account_id)
    for name in names:
        attempt_counters.delete(tx, attempt_counters.of_name(name, tx.buckets))
