"""Sign-ins in the database: start, refresh, end and revocation."""

import hmac
import secrets
from typing import Final

from msgspec import Struct

from seneca import accounts, audit
from seneca.accounts import Credentials, Role
from seneca.auth import login_throttle, password_hashes
from seneca.auth.authorisation import authorise
from seneca.auth.caller import ACCESS_TOKEN_TTL_SECONDS, Caller
from seneca.auth.login_throttle import LoginAttempt
from seneca.auth.refresh_tokens import RefreshToken
from seneca.common.ids import bucket_of, new_id
from seneca.common.times import DAY_MS
from seneca.database import Row, Transaction
from seneca.errors import InvalidCredentials

MAX_IDLE_MS: Final = 14 * DAY_MS
MAX_AGE_MS: Final = 30 * DAY_MS
MAX_SIGN_INS: Final = 50  # of one account: the oldest ends when another one starts
REUSE_GRACE_MS: Final = 10_000  # during which a used refresh token works again, in case the response was lost
ACCESS_TOKEN_TTL_MS: Final = ACCESS_TOKEN_TTL_SECONDS * 1000

START = """
INSERT INTO sign_ins (bucket, account_id, id, started_at, family_hash, live_hash, used_hash, salt, refreshed_at)
VALUES (:bucket, :account_id, :id, :now, :family_hash, :live_hash, '', '', :now)
"""
OLDEST = """
SELECT id, refreshed_at FROM sign_ins WHERE bucket = :bucket AND account_id = :account_id
ORDER BY started_at DESC, id DESC LIMIT 1000000 OFFSET :kept
"""
END_OLDEST = "DELETE FROM sign_ins WHERE bucket = :bucket AND account_id = :account_id AND id IN (:values)"
DELETE_EXPIRED = """
DELETE FROM sign_ins
WHERE bucket = :bucket AND account_id = :account_id AND (started_at < :oldest OR refreshed_at < :longest_idle)
"""


class NewSignIn(Struct, frozen=True):
    """A sign-in that has just started."""

    account: Credentials
    refresh_token: RefreshToken
    generation: str
    """The token generation: see ``end_all_sign_ins``."""
    ended: list[str]
    """The account's oldest sign-ins, ended because there were too many: for ``TokenVerifier.revoke``."""


def start(tx: Transaction, verified: Credentials, attempt: LoginAttempt, now: int) -> NewSignIn:
    """Start a sign-in after its password was verified.

    Args:
        tx: the transaction.
        verified: the credentials against which the password was verified.
        attempt: the counted attempt.
        now: milliseconds since 1970.

    Raises:
        InvalidCredentials: the password or the name has changed since the verification.

    """
    generation = tx.send(GENERATION)
    key = {"bucket": verified.bucket, "account_id": verified.id}
    tx.select_for_update(accounts.ACCOUNT, id=verified.id)  # a change of the account ends only existing sign-ins
    oldest = tx.send(OLDEST, kept=MAX_SIGN_INS - 1, **key)
    current = accounts.credentials(tx, attempt.name)
    if current is None or (current.id, current.password_hash) != (verified.id, verified.password_hash):
        raise InvalidCredentials(account=verified.id)
    ended, current_generation = oldest.fetchall(), _generation(generation.fetchone())
    login_throttle.record_success(tx, current, attempt, now)
    tx.execute_later(
        DELETE_EXPIRED, oldest=now - MAX_AGE_MS - ACCESS_TOKEN_TTL_MS, longest_idle=now - MAX_IDLE_MS, **key
    )
    token = RefreshToken.first(current.id, new_id())
    tx.execute_later(
        START, id=token.sign_in, family_hash=token.family_hash, live_hash=token.secret_hash, now=now, **key
    )
    if ended:
        tx.execute_later(END_OLDEST, values=[id_ for id_, _ in ended], **key)
        _revoke(tx, current.bucket, ended, now)
    return NewSignIn(current, token, current_generation, [id_ for id_, _ in ended])


# -- refreshing --------------------------------------------------------------------------------

SIGN_IN = """
SELECT family_hash, live_hash, used_hash, salt, started_at, refreshed_at FROM sign_ins
WHERE bucket = :bucket AND account_id = :account_id AND id = :id
"""
REFRESH = """
UPDATE sign_ins SET live_hash = :live_hash, used_hash = :used_hash, salt = :salt, refreshed_at = :now
WHERE bucket = :bucket AND account_id = :account_id AND id = :id
"""


class RefreshedSignIn(Struct, frozen=True):
    """A sign-in that was refreshed."""

    role: Role
    token: RefreshToken
    generation: str


def refresh(tx: Transaction, token: RefreshToken, now: int) -> RefreshedSignIn | list[str]:
    """Exchange a refresh token for the next one (RFC 9700, 4.14.2).

    Within ten seconds, and as long as the next token is unused, a repeated exchange returns the same next token, because the
    first response may have been lost. Any other reuse means that either the first or this user stole the token: it ends the
    sign-in.

    Returns:
        The refreshed sign-in; if the token was rejected, the ids of the sign-ins that this ended, for ``TokenVerifier.revoke``.

    """
    key = {"bucket": bucket_of(token.account_id, tx.buckets), "account_id": token.account_id}
    generation_row = tx.send(GENERATION)
    row = tx.select_for_update(SIGN_IN, id=token.sign_in, **key).fetchone()
    generation = _generation(generation_row.fetchone())
    if row is None or not hmac.compare_digest(row[0], token.family_hash):
        return []
    _, live_hash, used_hash, salt, started_at, refreshed_at = row
    role = accounts.role(tx, token.account_id)
    is_alive = now - started_at <= MAX_AGE_MS and now - refreshed_at <= MAX_IDLE_MS
    if role is not None and is_alive and hmac.compare_digest(live_hash, token.secret_hash):
        salt = secrets.token_hex(16)
        next_token = token.next(salt)
        hashes = {"live_hash": next_token.secret_hash, "used_hash": token.secret_hash}
        tx.execute_later(REFRESH, id=token.sign_in, salt=salt, now=now, **hashes, **key)
        return RefreshedSignIn(role, next_token, generation)
    is_repeated = abs(now - refreshed_at) <= REUSE_GRACE_MS  # the servers' clocks may differ
    if role is not None and is_repeated and hmac.compare_digest(used_hash, token.secret_hash):
        return RefreshedSignIn(role, token.next(salt), generation)
    end(tx, token.account_id, token.sign_in, now)
    return [token.sign_in]


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
DELETE_OLD_REVOCATIONS = "DELETE FROM revocations WHERE bucket = :bucket AND ended_at < :oldest"


def end(tx: Transaction, account_id: str, sign_in: str, now: int) -> None:
    """End a sign-in and revoke its tokens."""
    bucket = bucket_of(account_id, tx.buckets)
    ended = tx.fetch_all(END, bucket=bucket, account_id=account_id, id=sign_in)
    _revoke(tx, bucket, ended or [(sign_in, now)], now)


def end_all(tx: Transaction, account_id: str, now: int, but: str = "") -> list[str]:
    """End all sign-ins of an account except ``but``; returns their ids, for ``TokenVerifier.revoke``."""
    bucket = bucket_of(account_id, tx.buckets)
    ended = tx.fetch_all(END_ALL, bucket=bucket, account_id=account_id, but=but)
    _revoke(tx, bucket, ended, now)
    return [row[0] for row in ended]


def _revoke(tx: Transaction, bucket: int, sign_ins: list[Row], now: int) -> None:
    """Store revocations of sign-ins (id, last refresh), to be kept until their last access token has expired.

    Each counts from its last refresh if that is later than ``now``: the clock may have been set back since.
    """
    tx.execute_later(DELETE_OLD_REVOCATIONS, bucket=bucket, oldest=now - 2 * ACCESS_TOKEN_TTL_MS)
    tx.insert_many_later(
        REVOKE, [{"bucket": bucket, "sign_in": id_, "ended_at": max(now, last)} for id_, last in sorted(sign_ins)]
    )


def sign_out(tx: Transaction, caller: Caller, now: int) -> None:
    """End the caller's sign-in. Raises Unauthenticated if it has already ended."""
    authorise(tx, caller)
    end(tx, caller.id, caller.sign_in, now)


def change_password(
    tx: Transaction, caller: Caller, verified: Credentials, attempt: LoginAttempt, *, new_hash: str, now: int
) -> list[str]:
    """Change the caller's password after the current one was verified, and end the caller's other sign-ins.

    Returns:
        The ids of the ended sign-ins, for ``TokenVerifier.revoke``.

    Raises:
        Unauthenticated: the caller's sign-in has ended.
        InvalidCredentials: the password has changed since the verification.

    """
    authorise(tx, caller)
    current = accounts.credentials_of(tx, caller.id)
    if current is None or current.password_hash != verified.password_hash:
        raise InvalidCredentials(account=caller.id)
    login_throttle.withdraw(tx, attempt)
    password_hashes.put(tx, current.id, new_hash)
    audit.record(tx, caller.id, "account.password-changed", caller.id, now)
    return end_all(tx, current.id, now, but=caller.sign_in)


ENDED = "SELECT sign_in FROM revocations WHERE ended_at >= :since"
GENERATION = "SELECT value FROM properties WHERE name = 'token-generation'"
PUT_GENERATION = """
INSERT INTO properties (name, value) VALUES ('token-generation', :generation)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
END_ALL_SIGN_INS = "DELETE FROM sign_ins"


def ended(tx: Transaction, since: int) -> tuple[set[str], str]:
    """Read the sign-ins that ended since a time (milliseconds since 1970), and the current token generation."""
    ended, generation = tx.send(ENDED, since=since), tx.send(GENERATION)
    return {row[0] for row in ended.fetchall()}, _generation(generation.fetchone())


def stream_ended(tx: Transaction, since: int) -> tuple[set[str], str]:
    """Do what ``ended`` does by streaming a large number of rows, for ``Database.scan``."""
    return {row[0] for row in tx.stream(ENDED, since=since)}, _generation(tx.fetch_one(GENERATION))


def end_all_sign_ins(tx: Transaction) -> None:
    """End all sign-ins of all accounts, including those that are not, or no longer, in this database.

    Each token carries the database's generation, which was read in the transaction that started or refreshed its sign-in. A new
    generation therefore invalidates exactly the tokens that were issued before, whatever the clocks said.
    """
    tx.execute(END_ALL_SIGN_INS)
    tx.execute(PUT_GENERATION, generation=new_id())


def _generation(row: Row | None) -> str:
    return str(row[0]) if row else ""


REVOCATIONS = "SELECT bucket, sign_in, ended_at FROM revocations"


def carry_revocations(old: Transaction, new: Transaction) -> None:
    """Copy the revocations of the database that this one replaces."""
    columns = ("bucket", "sign_in", "ended_at")
    new.insert_many_later(REVOKE, [dict(zip(columns, row, strict=True)) for row in old.stream(REVOCATIONS)])
