"""Store accounts in batches of lines, with the same result as storing line by line."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from seneca import accounts, audit
from seneca.auth import password_hashes, sign_ins
from seneca.common import text_types
from seneca.common.ids import bucket_of
from seneca.database import Transaction
from seneca.errors import InvalidInput
from seneca.exchange.accounts_and_courses import difference_error, first_difference, record_imported
from seneca.exchange.records import UserRecord
from seneca.exchange.report import Outcome, Report
from seneca.privacy import erased_accounts

STORED_ACCOUNTS = (
    "SELECT id, username, email, role, created_at FROM accounts WHERE erased_at IS NULL AND id IN (:values)"
)
NAME_OWNERS = "SELECT name_key, account_id FROM account_names WHERE name_key IN (:values)"
DELETE_NAMES = "DELETE FROM account_names WHERE account_id IN (:values)"
REPLACE_ACCOUNT = """
UPDATE accounts SET username = :username, email = :email, role = :role, created_at = :created_at WHERE id = :id
"""

NOT_IMPORTED: Final = 0
"""The line number of an account that was already stored."""


def store_users(tx: Transaction, users: Sequence[UserRecord], report: Report, *, now: int, update: bool) -> None:
    """Store accounts and count each in the report.

    Args:
        tx: the transaction.
        users: the accounts, in line order. If a line has no creation time, a new account gets ``now`` and a stored one keeps
            its own. A stored account keeps its password even if the line has another.
        report: counts the accounts, and rejects those whose id, name or address is in use or whose id was erased.
        now: milliseconds since 1970.
        update: whether a line that differs from the stored account replaces it.

    """
    batch = AccountBatch(tx, users, now=now, update=update)
    for user in users:
        try:
            report.users.count(batch.add(user))
        except InvalidInput as error:
            report.reject(user.number, error.detail)
    batch.write()


class AccountBatch:
    """The state of accounts after a batch of lines."""

    def __init__(self, tx: Transaction, users: Sequence[UserRecord], *, now: int, update: bool) -> None:
        self._tx = tx
        self._now = now
        self._update = update
        ids = [user.id for user in users]
        stored, erased = tx.send(STORED_ACCOUNTS, values=ids), erased_accounts.send_among(tx, ids)
        owners = tx.send(NAME_OWNERS, values=[key for user in users for key in _name_keys(user).values()])
        self._accounts = {
            id_: UserRecord(
                number=NOT_IMPORTED,
                id=id_,
                username=username,
                email=email,
                role=role,
                password_hash=None,
                created_at=created_at,
            )
            for id_, username, email, role, created_at in stored.fetchall()
        }
        self._stored = dict(self._accounts)
        self._erased = {row[0] for result in erased for row in result.fetchall()}
        self._owners: dict[str, str] = dict(owners.fetchall())
        self._changed: dict[str, UserRecord] = {}
        self._administrators: set[str] | None = None
        if update and any(account.role == "admin" for account in (*self._stored.values(), *users)):
            self._administrators = {row[0] for row in tx.fetch_all(accounts.ADMINISTRATORS)}

    def add(self, user: UserRecord) -> Outcome:
        """Add a line. Raises InvalidInput."""
        account = self._accounts.get(user.id)
        if account is None:
            if user.id in self._erased:
                raise InvalidInput.field("id", "belongs to an erased account")
            self._check_names(user)
            self._set(msgspec.structs.replace(user, created_at=self._now) if user.created_at is None else user)
            return "stored"
        member = first_difference(
            ("username", account.username, user.username),
            ("email", account.email, user.email),
            ("role", account.role, user.role),
            ("createdAt", account.created_at, user.created_at),
        )
        if member is None:
            return "skipped"
        if not self._update:
            raise difference_error(member)
        self._check_names(user)
        if account.role == "admin" != user.role and self._administrators == {user.id}:
            raise InvalidInput.field("role", "cannot be taken from the last administrator")
        created_at = account.created_at if user.created_at is None else user.created_at
        replaced = msgspec.structs.replace(
            user, number=account.number, password_hash=account.password_hash, created_at=created_at
        )
        self._set(replaced)
        return "updated"

    def _check_names(self, user: UserRecord) -> None:
        for field, key in _name_keys(user).items():
            if self._owners.get(key, user.id) != user.id:
                raise InvalidInput.field(field, "is in use by another account")

    def _set(self, account: UserRecord) -> None:
        """Set the new state of an account."""
        if previous := self._accounts.get(account.id):
            for key in _name_keys(previous).values():
                self._owners.pop(key, None)
        self._owners |= dict.fromkeys(_name_keys(account).values(), account.id)
        self._accounts[account.id] = self._changed[account.id] = account
        if self._administrators is not None:
            (self._administrators.add if account.role == "admin" else self._administrators.discard)(account.id)

    def write(self) -> None:
        """Write the changes: first delete the old names, then write accounts, then insert names."""
        tx = self._tx
        new = [account for id_, account in self._changed.items() if id_ not in self._stored]
        replaced = [account for id_, account in self._changed.items() if id_ in self._stored]
        renamed = [account for account in replaced if _name_keys(account) != _name_keys(self._stored[account.id])]
        administrators = [account.id for account in self._changed.values() if account.role == "admin"]
        if administrators:
            tx.execute_later(accounts.RECORD_ADMINISTRATOR, id=administrators[0])
        if renamed:
            tx.execute_later(DELETE_NAMES, values=[account.id for account in renamed])
        for account in replaced:
            tx.execute_later(
                REPLACE_ACCOUNT,
                id=account.id,
                username=account.username,
                email=account.email,
                role=account.role,
                created_at=account.created_at,
            )
        rows = [msgspec.structs.asdict(user) | {"bucket": bucket_of(user.id, tx.buckets)} for user in new]
        tx.insert_many_later(accounts.INSERT_ACCOUNT, rows)
        names = [{"key": key, "id": user.id} for user in (*renamed, *new) for key in {*_name_keys(user).values()}]
        tx.insert_many_later(accounts.INSERT_NAME, names)
        record_imported(tx, ((user.id, user.number) for user in new))
        self._write_hashes(new)
        for account in replaced:
            if account.role != self._stored[account.id].role:
                sign_ins.end_all(tx, account.id, self._now)
                audit.record(tx, None, "account.role-changed", account.id, self._now, role=account.role)

    def _write_hashes(self, users: Sequence[UserRecord]) -> None:
        """Write bucket by bucket, each of which is on one shard of a cluster: see ``accounts_and_courses``."""
        password_hashes.raise_failure_step(self._tx, [u.password_hash for u in users if u.password_hash is not None])
        by_bucket: defaultdict[int, list[dict[str, object]]] = defaultdict(list)
        for user in users:
            if user.password_hash is not None:
                bucket = bucket_of(user.id, self._tx.buckets)
                by_bucket[bucket].append({"bucket": bucket, "id": user.id, "hash": user.password_hash})
        for rows in by_bucket.values():
            self._tx.insert_many_later(password_hashes.PUT, rows)


def _name_keys(user: UserRecord) -> dict[str, str]:
    """The name keys of an account, by field."""
    return {"username": text_types.key(user.username), "email": text_types.key(user.email)}
