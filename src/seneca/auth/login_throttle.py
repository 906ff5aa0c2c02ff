"""Rate limits of sign-ins and registrations: for each account or name, and for each network address.

Every sign-in attempt is counted as a failure before its password is verified, and subtracted if the password is correct, so
that concurrent attempts cannot bypass the limit (docs/security.md, docs/decisions/0008-login-throttle.md).
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

FREE_FAILURES: Final = 5  # of an account, or of an unknown name, before the first wait
FIRST_WAIT_MS: Final = 1000  # each further failure doubles it
MAX_WAIT_MS: Final = 15 * 60 * 1000
FORGET_AFTER_MS: Final = 24 * 60 * 60 * 1000  # without an attempt
WINDOW_MS: Final = 10 * 60 * 1000  # for counting the attempts of an address
SLOW_INTERVAL_MS: Final = 250  # between attempts from an address that is over its limit
MAX_SLOW_QUEUE_MS: Final = 8000
FAMILIAR_FOR_MS: Final = 400 * 24 * 60 * 60 * 1000  # longer than from one school year to the next
MAX_CLOCK_SKEW_MS: Final = (
    5 * 60 * 1000
)  # between servers; a time further in the future means that a clock was set back


class LoginAttempt(Struct, frozen=True):
    """An admitted sign-in attempt, counted as a failure until it succeeds."""

    name: str
    address: str
    account: Credentials | None
    """The account that has this name, if any."""
    is_familiar: bool
    """Whether the account has been used from this address before."""
    counter: Counter
    """The counter of the account (for this address, if it is familiar) or of the unknown name."""
    window_start: int | None
    """The start of the address's window, if the attempt was counted there."""
    delay_ms: int
    """The delay before the password may be verified."""
    failure_step_ms: int
    """The response to a failure is delayed to a multiple of this."""


FAMILIAR_SINCE = """
SELECT f.seen_at
FROM account_names n
JOIN accounts a ON a.id = n.account_id
JOIN familiar_addresses f ON f.bucket = a.bucket AND f.account_id = a.id
WHERE n.name_key = :key AND f.address_key = :address_key
"""


def reserve(tx: Transaction, name: str, address: str, max_failures: int, now: int) -> LoginAttempt:
    """Count a sign-in attempt, before its password is verified.

    Args:
        tx: the transaction.
        name: the username or e-mail address, as sent.
        address: the client's network address.
        max_failures: of one address in ten minutes; its further attempts are slowed down.
        now: milliseconds since 1970.

    Raises:
        TooManyRequests: the account, name or address must wait.

    """
    credentials = accounts.send_credentials(tx, name)
    seen = tx.send(FAMILIAR_SINCE, key=text_types.key(name), address_key=attempt_counters.sha256_hex(address))
    step = tx.send(password_hashes.FAILURE_STEP)
    row, seen_row, step_row = credentials.fetchone(), seen.fetchone(), step.fetchone()
    account = None if row is None else Credentials(*row)
    is_familiar = account is not None and seen_row is not None and seen_row[0] >= now - FAMILIAR_FOR_MS
    counter = _counter(tx, account, name, address, is_familiar=is_familiar)
    counters = [counter] if is_familiar else [counter, _address_counter(tx, address)]
    counter_row, *address_rows = attempt_counters.select_for_update(tx, *counters, now=now)
    try:
        failures = _failures(attempt_counters.fetch_row(counter_row), now)
        window_start, delay_ms = None, 0
        for address_row in address_rows:
            window_start, delay_ms = _count_address(
                tx, address, address_row, failures, max_failures=max_failures, now=now
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


def _address_counter(tx: Transaction, address: str) -> Counter:
    return attempt_counters.of_address("failures", address, tx.buckets)


def _failures(row: Row, now: int) -> int:
    """Return a counter's number of failures. Raises TooManyRequests during the wait after the last one."""
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
    tx: Transaction, address: str, address_row: PendingResult, failures: int, *, max_failures: int, now: int
) -> tuple[int, int]:
    """Count an attempt for its address. Over the limit, attempts at a name with few failures are slowed down.

    Returns:
        The start of the address's window, and the attempt's delay in milliseconds.

    Raises:
        TooManyRequests: the limit is reached, and either this name has too many failures or the queue is full.

    """
    tries, started_at = _window(attempt_counters.fetch_row(address_row), now)
    delay_ms = 0
    if tries >= max_failures:
        if failures >= FREE_FAILURES:
            raise TooManyRequests(started_at + WINDOW_MS - now)
        delay_ms = _slow_down(tx, address, now)
    attempt_counters.put(tx, _address_counter(tx, address), tries=tries + 1, tried_at=started_at)
    return started_at, delay_ms


def _slow_down(tx: Transaction, address: str, now: int) -> int:
    """Queue an attempt behind the others of its address; returns its delay in milliseconds. Raises TooManyRequests."""
    counter = attempt_counters.of_address("slowed", address, tx.buckets)
    _, last = attempt_counters.fetch_row(*attempt_counters.select_for_update(tx, counter, now=now - SLOW_INTERVAL_MS))
    is_plausible = last <= now + MAX_SLOW_QUEUE_MS + MAX_CLOCK_SKEW_MS  # otherwise the clock was set back
    next_at = max(now, last + SLOW_INTERVAL_MS) if is_plausible else now
    if next_at - now > MAX_SLOW_QUEUE_MS:
        raise TooManyRequests(next_at - now - MAX_SLOW_QUEUE_MS)
    attempt_counters.put(tx, counter, tries=0, tried_at=next_at)
    return next_at - now


def _window(row: Row, now: int) -> tuple[int, int]:
    """Return the number of attempts in an address's current window, and the window's start."""
    tries, started_at = row
    if not -MAX_CLOCK_SKEW_MS <= now - started_at < WINDOW_MS:
        return 0, now
    return tries, started_at


def withdraw(tx: Transaction, attempt: LoginAttempt) -> None:
    """Subtract an attempt that succeeded, or whose password was not verified."""
    attempt_counters.decrement(tx, attempt.counter)
    if attempt.window_start is not None:
        attempt_counters.decrement(tx, _address_counter(tx, attempt.address), since=attempt.window_start)


def record_success(tx: Transaction, account: Credentials, attempt: LoginAttempt, now: int) -> None:
    """Subtract an attempt that succeeded, and remember its address as familiar."""
    withdraw(tx, attempt)
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
    """Remember an address from which an account was used, or registered by its owner."""
    key = {"bucket": bucket_of(account_id, tx.buckets), "account_id": account_id}
    tx.execute_later(TRUST, address_key=attempt_counters.sha256_hex(address), now=now, **key)
    tx.execute_later(DELETE_UNSEEN, oldest=now - FAMILIAR_FOR_MS, **key)


def reserve_registration(tx: Transaction, address: str, limit: int, now: int) -> None:
    """Count a registration from an address, which may make ``limit`` in ten minutes. Raises TooManyRequests."""
    counter = attempt_counters.of_address("registrations", address, tx.buckets)
    tries, started_at = _window(
        attempt_counters.fetch_row(*attempt_counters.select_for_update(tx, counter, now=now)), now
    )
    if tries >= limit:
        raise TooManyRequests(started_at + WINDOW_MS - now)
    attempt_counters.put(tx, counter, tries=tries + 1, tried_at=started_at)


DELETE_ADDRESSES = "DELETE FROM familiar_addresses WHERE bucket = :bucket AND account_id = :account_id"


def erase(tx: Transaction, account_id: str, names: list[str]) -> None:
    """Delete an account's counters and addresses, and the counters of its names from before it had them."""
    bucket = bucket_of(account_id, tx.buckets)
    tx.execute_later(DELETE_ADDRESSES, bucket=bucket, account_id=account_id)
    attempt_counters.delete_of_account(tx, account_id)
    for name in names:
        attempt_counters.delete(tx, attempt_counters.of_name(name, tx.buckets))
