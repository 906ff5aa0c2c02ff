"""Accounts: their names and roles."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from seneca.auth import password_hashes
from seneca.common import text_types
from seneca.common.ids import bucket_of
from seneca.common.pages import Page
from seneca.common.times import EARLIEST_MS, TimeMs, to_iso
from seneca.database import PendingResult, Row, Transaction
from seneca.errors import AccountNotFound, FieldError, LastAdministrator, NameTaken, RegistrationClosed

Role = Annotated[
    Literal["user", "admin"],
    Meta(description="`user`: a learner; `admin`: an administrator."),
]


class Account(Struct, frozen=True, rename="camel"):
    """An account, as clients see it."""

    id: str
    username: str
    email: str
    role: Role
    created_at: str


class Learner(Struct, frozen=True):
    """An account as the owner of sessions and totals."""

    id: str
    bucket: int


class Credentials(Struct, frozen=True):
    """The columns of an account that signing in needs."""

    id: str
    bucket: int
    role: Role
    password_hash: str | None


def name_errors(username: str | UnsetType, email: str | UnsetType) -> Iterator[FieldError]:
    """Check what the types of the names cannot express, skipping those that are UNSET."""
    if username is not UNSET and (rule := text_types.username_rule(username, None if email is UNSET else email)):
        yield FieldError("username", rule)
    if email is not UNSET and (rule := text_types.email_rule(email)):
        yield FieldError("email", rule)


# -- creating ----------------------------------------------------------------------------------

INSERT_ACCOUNT = """
INSERT INTO accounts (id, bucket, username, email, role, created_at)
VALUES (:id, :bucket, :username, :email, :role, :created_at)
"""
INSERT_NAME = "INSERT INTO account_names (name_key, account_id) VALUES (:key, :id)"
NAMES_TAKEN = "SELECT 1 FROM account_names WHERE name_key IN (:values)"
RECORD_ADMINISTRATOR = """
INSERT INTO properties (name, value) VALUES ('administrator-existed', :id) ON CONFLICT (name) DO NOTHING
"""


def create(
    tx: Transaction,
    *,
    id: str,
    username: str,
    email: str,
    role: Role,
    password_hash: str | None,
    created_at: int,
    first_administrator: bool = False,
) -> None:
    """Create an account.

    Args:
        tx: the transaction.
        id: its identifier.
        username: unique among all usernames and addresses, which ``text_types.key`` compares.
        email: likewise.
        role: ``user`` or ``admin``.
        password_hash: None if the account cannot sign in yet.
        created_at: milliseconds since 1970.
        first_administrator: create the account only if no administrator has ever existed.

    Raises:
        NameTaken: the username or the address is in use.
        RegistrationClosed: ``first_administrator``, and an administrator has existed.

    """
    bucket = bucket_of(id, tx.buckets)
    keys = sorted({text_types.key(username), text_types.key(email)})  # in a fixed order, to avoid deadlocks
    if tx.send(NAMES_TAKEN, values=keys).fetchone() is not None:
        raise NameTaken
    tx.execute_later(
        INSERT_ACCOUNT,
        id=id,
        bucket=bucket,
        username=username,
        email=email,
        role=role,
        created_at=created_at,
    )
    if role == "admin":  # after the account, in the order of an import, which locks all accounts first
        is_first = tx.execute(RECORD_ADMINISTRATOR, id=id)
        if first_administrator and not is_first:
            raise RegistrationClosed
    if password_hash is not None:
        password_hashes.put(tx, id, password_hash)
    # A race for the same name violates this unique constraint: the transaction is retried, and the check above finds the name.
    # ON CONFLICT would report it at once, but on Citus it locks the whole accounts table, and racing registrations deadlock.
    tx.insert_many_later(INSERT_NAME, [{"key": key, "id": id} for key in keys])


# -- reading -----------------------------------------------------------------------------------

CREDENTIALS = """
SELECT a.id, a.bucket, a.role, p.hash
FROM account_names n
JOIN accounts a ON a.id = n.account_id
LEFT JOIN passwords p ON p.bucket = a.bucket AND p.account_id = a.id
WHERE n.name_key = :key
"""


def credentials(tx: Transaction, name: str) -> Credentials | None:
    """Find an account by its username or address."""
    row = send_credentials(tx, name).fetchone()
    return None if row is None else Credentials(*row)


def send_credentials(tx: Transaction, name: str) -> PendingResult:
    """Send the query of ``credentials``. Its row holds the fields of ``Credentials``."""
    return tx.send(CREDENTIALS, key=text_types.key(name))


CREDENTIALS_OF = """
SELECT a.id, a.bucket, a.role, p.hash
FROM accounts a
LEFT JOIN passwords p ON p.bucket = a.bucket AND p.account_id = a.id
WHERE a.id = :id AND a.erased_at IS NULL
"""


def credentials_of(tx: Transaction, id: str) -> Credentials | None:
    """Find an account by its id. None: it does not exist, or is being erased."""
    row = tx.fetch_one(CREDENTIALS_OF, id=id)
    return None if row is None else Credentials(*row)


ROLE = "SELECT role FROM accounts WHERE id = :id AND erased_at IS NULL"


def role(tx: Transaction, id: str) -> Role | None:
    """Read an account's role. None: it does not exist, or is being erased."""
    row = tx.fetch_one(ROLE, id=id)
    return None if row is None else row[0]


ACCOUNT = "SELECT id, username, email, role, created_at FROM accounts WHERE id = :id AND erased_at IS NULL"
"""An account that is being erased no longer exists for anybody."""
LOCK = "SELECT id FROM accounts WHERE id = :id"
"""For those who change sessions that are stored already: an account that is being erased has some, too."""


def account_of(row: Row) -> Account:
    """Make the account of a row of ``ACCOUNT``."""
    id_, username, email, role, created_at = row
    return Account(id_, username, email, role, to_iso(created_at))


def get(tx: Transaction, id: str) -> Account:
    """Read an account.

    Raises:
        AccountNotFound: no account has this id, or it is being erased.

    """
    row = tx.fetch_one(ACCOUNT, id=id)
    if row is None:
        raise AccountNotFound
    return account_of(row)


def learner(tx: Transaction, id: str) -> Learner:
    """Check that an account exists, and return it as a learner. Raises AccountNotFound."""
    return Learner(get(tx, id).id, bucket_of(id, tx.buckets))


PAGE = """
SELECT id, username, email, role, created_at FROM accounts a
WHERE (created_at, id) > (:after_time, :after_id) AND erased_at IS NULL
  AND (:pattern = '%%' OR EXISTS (SELECT 1 FROM account_names n
                                  WHERE n.account_id = a.id AND n.name_key LIKE :pattern ESCAPE '\\'))
ORDER BY created_at, id
LIMIT :limit
"""

Cursor = tuple[TimeMs, text_types.CursorText]
"""The creation time and id of the last account of a page."""
FIRST_PAGE: Cursor = (EARLIEST_MS, "")


def page(tx: Transaction, *, query: str, after: Cursor, limit: int) -> Page[Account, Cursor]:
    """List the accounts whose name or address contains ``query``, by creation time, then id."""
    rows = tx.fetch_all(PAGE, pattern=text_types.like(query), after_time=after[0], after_id=after[1], limit=limit + 1)
    page_rows = rows[:limit]
    return Page(
        [account_of(row) for row in page_rows],
        (page_rows[-1][4], page_rows[-1][0]) if len(rows) > limit else None,
    )


# -- administrators ----------------------------------------------------------------------------

ADMINISTRATORS = "SELECT id FROM accounts WHERE role = 'admin' ORDER BY id"
ANOTHER_ADMINISTRATOR = "SELECT 1 FROM accounts WHERE role = 'admin' AND id <> :id LIMIT 1"
ADMINISTRATOR_EXISTED = "SELECT 1 FROM properties WHERE name = 'administrator-existed'"


def administrator_existed(tx: Transaction) -> bool:
    """Whether this database has ever had an administrator."""
    return tx.fetch_one(ADMINISTRATOR_EXISTED) is not None


def lock_if_administrator(tx: Transaction, id: str) -> None:
    """If this account is an administrator, lock all administrators in order, so that two cannot demote or erase each other."""
    if role(tx, id) == "admin":
        tx.select_for_update(ADMINISTRATORS)


def check_not_last_administrator(tx: Transaction, id: str) -> None:
    """Lock all administrators, and check that there is another one than this. Raises LastAdministrator."""
    tx.select_for_update(
        ADMINISTRATORS
    )  # even after ``lock_if_administrator``: others may have become administrators since
    if tx.fetch_one(ANOTHER_ADMINISTRATOR, id=id) is None:
        raise LastAdministrator
