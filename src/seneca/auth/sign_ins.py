"""The rows of sign-ins: how one starts, goes on, and ends."""

import hmac
import secrets
from typing import Final

from msgspec import Struct

from seneca import accounts, audit
from seneca.accounts import Credentials, Role
from seneca.auth import login_throttle, password_hashes
from seneca.auth.access_tokens import ACCESS_TOKEN_TTL_SECONDS, Caller
from seneca.auth.authorisation import authorise
from seneca.auth.login_throttle import LoginAttempt
from seneca.auth.refresh_tokens import RefreshToken
from seneca.common.ids import bucket_of, new_id
from seneca.database import Row, Transaction

DAY_MS: Final = 86_400_000  # milliseconds
MAX_IDLE_MS: Final = 14 * DAY_MS
MAX_AGE_MS: Final = 30 * DAY_MS
MAX_SIGN_INS: Final = 50  # of one account: the oldest ends when another begins
REUSE_GRACE_MS: Final = 10_000  # milliseconds in which a token that was used answers again, if the answer was lost
ACCESS_TOKEN_TTL_MS: Final = ACCESS_TOKEN_TTL_SECONDS * 1000  # milliseconds, of an access token

START = """
INSERT INTO sign_ins (bucket, account_id, id, started_at, family_hash, live_hash, used_hash, salt, refreshed_at)
VALUES (:bucket, :account_id, :id, :now, :family_hash, :live_hash, '', '', :now)
"""
BEYOND = """
SELECT id, refreshed_at FROM sign_ins WHERE bucket = :bucket AND account_id = :account_id
ORDER BY started_at DESC, id DESC LIMIT 1000000 OFFSET :kept
"""
END_THESE = "DELETE FROM sign_ins WHERE bucket = :bucket AND account_id = :account_id AND id IN (:values)"
FORGET_EXPIRED = """
DELETE FROM sign_ins
WHERE bucket = :bucket AND account_id = :account_id AND (started_at < :oldest OR refreshed_at < :longest_idle)
"""


class NewSignIn(Struct, frozen=True):
    """A sign-in that has just begun."""

    account: Credentials
    refresh_token: RefreshToken
    generation: str
    """What its tokens carry: see ``end_everybodys``."""
    ended: list[str]
    """The oldest sign-ins of the account, which had too many: for ``TokenVerifier.revoke``."""


def start(
    tx: Transaction, verified: Credentials, new_hash: str | None, attempt: LoginAttempt, now: int
) -> NewSignIn | None:
    """Record a sign-in whose password was verified a moment ago.

    Args:
        tx: the transaction.
        verified: the credentials against which the password was verified.
        new_hash: the password's renewed hash, where the stored one is of an older kind.
        attempt: the attempt, as it was counted.
        now: milliseconds since 1970.

    Returns:
        None if meanwhile the password was changed, its hash renewed, or the name is gone: verify again.

    """
    generation = tx.send(GENERATION)
    of_account = {"bucket": verified.bucket, "account_id": verified.id}
    tx.select_for_update(accounts.ACCOUNT, id=verified.id)  # whoever changes it ends the sign-ins that are there
    oldest = tx.send(BEYOND, kept=MAX_SIGN_INS - 1, **of_account)
    current = accounts.credentials(tx, attempt.name)
    if current is None or (current.id, current.password_hash) != (verified.id, verified.password_hash):
        return None
    ended = oldest.fetchall()
    if new_hash is not None:
        password_hashes.renew(tx, current.id, new_hash)
    login_throttle.record_success(tx, current, attempt, now)
    tx.execute_later(
        FORGET_EXPIRED, oldest=now - MAX_AGE_MS - ACCESS_TOKEN_TTL_MS, longest_idle=now - MAX_IDLE_MS, **of_account
    )
    token = RefreshToken.first(current.id, new_id())
    tx.execute_later(
        START, id=token.sign_in, family_hash=token.family_hash, live_hash=token.turn_hash, now=now, **of_account
    )
    if ended:
        tx.execute_later(END_THESE, values=[id_ for id_, _ in ended], **of_account)
        _revoke(tx, current.bucket, ended, now)
    return NewSignIn(current, token, _generation(generation.fetchone()), [id_ for id_, _ in ended])


# -- going on ----------------------------------------------------------------------------------

SIGN_IN = """
SELECT family_hash, live_hash, used_hash, salt, started_at, refreshed_at FROM sign_ins
WHERE bucket = :bucket AND account_id = :account_id AND id = :id
"""
REFRESH = """
UPDATE sign_ins SET live_hash = :live_hash, used_hash = :used_hash, salt = :salt, refreshed_at = :now
WHERE bucket = :bucket AND account_id = :account_id AND id = :id
"""


class RefreshedSignIn(Struct, frozen=True):
    """A sign-in that goes on."""

    role: Role
    token: RefreshToken
    generation: str


def refresh(tx: Transaction, given: RefreshToken, now: int) -> RefreshedSignIn | list[str]:
    """Exchange a refresh token for the next one (RFC 9700, 4.14.2).

    A token that was used before is answered once more as it was, within ten seconds and while its child is unused: the
    answer may have been lost. Used at any other time, it was stolen, by whoever used it first or by whoever does now.

    Returns:
        The sign-in as it goes on; else the sign-ins that this has ended, for ``TokenVerifier.revoke``: it was not good.

    """
    key = {"bucket": bucket_of(given.account_id, tx.buckets), "account_id": given.account_id}
    asked = tx.send(GENERATION)
    row = tx.select_for_update(SIGN_IN, id=given.sign_in, **key).fetchone()
    generation = _generation(asked.fetchone())
    if row is None or not hmac.compare_digest(row[0], given.family_hash):
        return []
    _, live_hash, used_hash, salt, started_at, refreshed_at = row
    role = accounts.role(tx, given.account_id)
    fresh = now - started_at <= MAX_AGE_MS and now - refreshed_at <= MAX_IDLE_MS
    if role is not None and fresh and hmac.compare_digest(live_hash, given.turn_hash):
        salt = secrets.token_hex(16)
        child = given.child(salt)
        hashes = {"live_hash": child.turn_hash, "used_hash": given.turn_hash}
        tx.execute_later(REFRESH, id=given.sign_in, salt=salt, now=now, **hashes, **key)
        return RefreshedSignIn(role, child, generation)
    repeated = abs(now - refreshed_at) <= REUSE_GRACE_MS  # clocks of several servers differ
    if role is not None and repeated and hmac.compare_digest(used_hash, given.turn_hash):
        return RefreshedSignIn(role, given.child(salt), generation)
    end(tx, given.account_id, given.sign_in, now)
    return [given.sign_in]


# -- ending ------------------------------------------------------------------------------------

END = """
DELETE FROM sign_ins WHERE bucket = :bucket AND account_id = :account_id AND id = :id RETURNING id, refreshed_at
"""
END_ALL = """
DELETE FROM sign_ins WHERE bucket = :bucket AND account_id = :account_id AND id <> :but RETURNING id, refreshed_at
"""
REVOKE = """
INSERT INTO revocations (bucket, sign_in, ended_at) VALUES (:bucket, :sign_in, :ended_at)
ON CONFLICT (bucket, sign_in) DO NOTHING
"""
FORGET_REVOKED = "DELETE FROM revocations WHERE bucket = :bucket AND ended_at < :oldest"


def end(tx: Transaction, account_id: str, sign_in: str, now: int) -> None:
    """End a sign-in: none of its tokens is good any more."""
    bucket = bucket_of(account_id, tx.buckets)
    found = tx.fetch_all(END, bucket=bucket, account_id=account_id, id=sign_in)
    _revoke(tx, bucket, found or [(sign_in, now)], now)


def end_all(tx: Transaction, account_id: str, now: int, but: str = "") -> list[str]:
    """End every sign-in of an account but this one; returns their ids, for ``TokenVerifier.revoke``."""
    bucket = bucket_of(account_id, tx.buckets)
    ended = tx.fetch_all(END_ALL, bucket=bucket, account_id=account_id, but=but)
    _revoke(tx, bucket, ended, now)
    return [row[0] for row in ended]


def _revoke(tx: Transaction, bucket: int, sign_ins: list[Row], now: int) -> None:
    """Refuse the tokens of these sign-ins, of which each was refreshed at that time, as long as any can be good.

    That is counted from the later of both: the clock may have been set back since the last token was issued.
    """
    tx.execute_later(FORGET_REVOKED, bucket=bucket, oldest=now - 2 * ACCESS_TOKEN_TTL_MS)
    ended = [{"bucket": bucket, "sign_in": id_, "ended_at": max(now, last)} for id_, last in sorted(sign_ins)]
    tx.insert_many_later(REVOKE, ended)


def sign_out(tx: Transaction, caller: Caller, now: int) -> None:
    """End the caller's sign-in. Raises Unauthenticated if it has ended already."""
    authorise(tx, caller)
    end(tx, caller.id, caller.sign_in, now)


def change_password(
    tx: Transaction, caller: Caller, verified: Credentials, attempt: LoginAttempt, *, new_hash: str, now: int
) -> list[str] | None:
    """Set the caller's password, which was verified a moment ago; every other sign-in of theirs ends.

    Returns:
        The sign-ins that ended; None if meanwhile the password was changed: verify again.

    Raises:
        Unauthenticated: the caller's sign-in has ended.

    """
    authorise(tx, caller)
    current = accounts.credentials_of(tx, caller.id)
    if current is None or current.password_hash != verified.password_hash:
        return None
    login_throttle.take_back(tx, attempt)
    password_hashes.put(tx, current.id, new_hash)
    audit.record(tx, caller.id, "account.password-changed", caller.id, now)
    return end_all(tx, current.id, now, but=caller.sign_in)


ENDED = "SELECT sign_in FROM revocations WHERE ended_at >= :since"


GENERATION = "SELECT value FROM properties WHERE name = 'token-generation'"
PUT_GENERATION = """
INSERT INTO properties (name, value) VALUES ('token-generation', :generation)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
END_EVERYBODYS = "DELETE FROM sign_ins"


def ended(tx: Transaction, since: int) -> tuple[set[str], str]:
    """The sign-ins that have ended since then (milliseconds since 1970), and the generation whose tokens are good."""
    return {row[0] for row in tx.fetch_all(ENDED, since=since)}, _generation(tx.fetch_one(GENERATION))


def ended_in_all(tx: Transaction, since: int) -> tuple[set[str], str]:
    """As ``ended``, for ``Database.scan``: of very many rows, one after the other."""
    return {row[0] for row in tx.stream(ENDED, since=since)}, _generation(tx.fetch_one(GENERATION))


def end_everybodys(tx: Transaction) -> None:
    """End every sign-in there is, and those that this database does not know of (any more).

    Each token carries the generation that the database had when its sign-in began or was refreshed, read in that transaction.
    A new generation makes all earlier tokens bad, whatever any clock said when they were issued, and none that comes later.
    """
    tx.execute(END_EVERYBODYS)
    tx.execute(PUT_GENERATION, generation=new_id())


def _generation(row: Row | None) -> str:
    return str(row[0]) if row else ""


REVOCATIONS = "SELECT bucket, sign_in, ended_at FROM revocations"


def carry_revocations(old: Transaction, new: Transaction) -> None:
    """Keep refusing the tokens that another database, which this one replaces, refuses."""
    columns = ("bucket", "sign_in", "ended_at")
    new.insert_many_later(REVOKE, [dict(zip(columns, row, strict=True)) for row in old.stream(REVOCATIONS)])
