"""Who people are: accounts, their names and roles, and how the first administrator comes to be."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from seneca.auth import password_hashes, password_policy, passwords
from seneca.common import text_types
from seneca.common.ids import bucket_of
from seneca.common.pages import Page
from seneca.common.text_types import Email, Username
from seneca.common.times import EARLIEST_MS, TimeMs, to_iso
from seneca.database import PendingResult, Row, Transaction
from seneca.errors import (
    AccountNotFound,
    FieldError,
    InvalidInput,
    LastAdministrator,
    NameTaken,
    RegistrationClosed,
)

Role = Annotated[
    Literal["user", "admin"],
    Meta(description="`user`: a learner; `admin`: an administrator."),
]


class Registration(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A request for an account."""

    username: Username
    email: Email
    password: passwords.NewPassword
    role: Role = "user"

    def find_errors(self) -> Iterator[FieldError]:
        """What types cannot say: what a name may look like, an address's syntax, passwords that are easily guessed."""
        yield from name_errors(self.username, self.email)
        if isinstance(self.password, str):
            try:
                password_policy.DEFAULT.check(self.password, self.username or "", self.email or "")
            except InvalidInput as invalid:
                yield from invalid.errors


class Change(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A change to an account, by an administrator: what is left out stays."""

    role: Role | UnsetType = UNSET
    password: passwords.NewPassword | UnsetType = UNSET


class Account(Struct, frozen=True, rename="camel"):
    """An account, as it is shown."""

    id: str
    username: str
    email: str
    role: Role
    created_at: str


class Learner(Struct, frozen=True):
    """An account as the one who studies: whose sessions and figures are meant."""

    id: str
    bucket: int


class Credentials(Struct, frozen=True):
    """What signing in needs to know of an account."""

    id: str
    bucket: int
    role: Role
    password_hash: str | None


def name_errors(username: str | UnsetType, email: str | UnsetType) -> Iterator[FieldError]:
    """What types cannot say of an account's names. What is UNSET is passed over."""
    if username is not UNSET and (rule := text_types.username_rule(username, None if email is UNSET else email)):
        yield FieldError("username", rule)
    if email is not UNSET and (rule := text_types.email_rule(email)):
        yield FieldError("email", rule)


# -- making accounts ---------------------------------------------------------------------------

INSERT_ACCOUNT = """
INSERT INTO accounts (id, bucket, username, email, role, created_at)
VALUES (:id, :bucket, :username, :email, :role, :created_at)
"""
INSERT_NAME = "INSERT INTO account_names (name_key, account_id) VALUES (:key, :id)"
NAMES_TAKEN = "SELECT 1 FROM account_names WHERE name_key IN (:values)"
CLAIM_FIRST = """
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
    """Make an account.

    Args:
        tx: the transaction.
        id: its identifier.
        username: unique, in one namespace with addresses, as ``text_response.key`` compares them.
        email: likewise.
        role: ``user`` or ``admin``.
        password_hash: None where it cannot sign in yet.
        created_at: milliseconds since 1970.
        first_administrator: it may be made only if no administrator has ever existed.

    Raises:
        NameTaken: the name or the address is in use.
        RegistrationClosed: an administrator has existed, so this cannot be the first.

    """
    bucket = bucket_of(id, tx.buckets)
    keys = sorted({text_types.key(username), text_types.key(email)})  # in one order, or two could wait for each other
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
    if role == "admin":  # after the account: an import locks all accounts, and then claims this
        claimed = tx.execute(CLAIM_FIRST, id=id)
        if first_administrator and not claimed:
            raise RegistrationClosed
    if password_hash is not None:
        password_hashes.put(tx, id, password_hash)
    # Who takes a name at the same moment breaks this constraint: the transaction runs again and finds the name. ON CONFLICT would
    # tell at once, but on Citus it locks the table of accounts, of which racing registrations hold a part: a deadlock.
    tx.insert_many_later(INSERT_NAME, [{"key": key, "id": id} for key in keys])


ADMINISTRATOR_EXISTED = "SELECT 1 FROM properties WHERE name = 'administrator-existed'"


def administrator_existed(tx: Transaction) -> bool:
    """Whether this database has ever had an administrator."""
    return tx.fetch_one(ADMINISTRATOR_EXISTED) is not None


# -- finding them ------------------------------------------------------------------------------

CREDENTIALS = """
SELECT a.id, a.bucket, a.role, p.hash
FROM account_names n
JOIN accounts a ON a.id = n.account_id
LEFT JOIN passwords p ON p.bucket = a.bucket AND p.account_id = a.id
WHERE n.name_key = :key
"""


def credentials(tx: Transaction, name: str) -> Credentials | None:
    """What signing in as this username or address takes, or None."""
    row = send_credentials(tx, name).fetchone()
    return None if row is None else Credentials(*row)


def send_credentials(tx: Transaction, name: str) -> PendingResult:
    """Ask for the fields of ``credentials``."""
    return tx.send(CREDENTIALS, key=text_types.key(name))


CREDENTIALS_OF = """
SELECT a.id, a.bucket, a.role, p.hash
FROM accounts a
LEFT JOIN passwords p ON p.bucket = a.bucket AND p.account_id = a.id
WHERE a.id = :id AND a.erased_at IS NULL
"""


def credentials_of(tx: Transaction, id: str) -> Credentials | None:
    """What proving to be this account takes, or None: it is gone."""
    row = tx.fetch_one(CREDENTIALS_OF, id=id)
    return None if row is None else Credentials(*row)


ROLE = "SELECT role FROM accounts WHERE id = :id AND erased_at IS NULL"


def role(tx: Transaction, id: str) -> Role | None:
    """An account's role, or None: it is gone."""
    row = tx.fetch_one(ROLE, id=id)
    return None if row is None else row[0]


ACCOUNT = "SELECT id, username, email, role, created_at FROM accounts WHERE id = :id AND erased_at IS NULL"
"""One that is being erased exists for nobody."""


def account_of(row: Row) -> Account:
    """The account of a row that ``ACCOUNT`` found."""
    id_, username, email, role, created_at = row
    return Account(id_, username, email, role, to_iso(created_at))


def get(tx: Transaction, id: str) -> Account:
    """One account.

    Raises:
        AccountNotFound: there is none with this id.

    """
    row = tx.fetch_one(ACCOUNT, id=id)
    if row is None:
        raise AccountNotFound
    return account_of(row)


def learner(tx: Transaction, id: str) -> Learner:
    """An account as a learner. Raises AccountNotFound."""
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
    rows = tx.fetch_all(
        PAGE,
        pattern=text_types.like(query),
        after_time=after[0],
        after_id=after[1],
        limit=limit + 1,
    )
    page_rows = rows[:limit]
    return Page(
        [account_of(row) for row in page_rows],
        (page_rows[-1][4], page_rows[-1][0]) if len(rows) > limit else None,
    )


# -- changing them -----------------------------------------------------------------------------

SET_ROLE = "UPDATE accounts SET role = :role WHERE id = :id"
ADMINISTRATORS = "SELECT id FROM accounts WHERE role = 'admin' ORDER BY id"
ANOTHER_ADMINISTRATOR = "SELECT 1 FROM accounts WHERE role = 'admin' AND id <> :id LIMIT 1"


def lock_if_administrator(tx: Transaction, id: str) -> None:
    """Lock every administrator, in order, if this account is one: two must not demote or erase each other."""
    if role(tx, id) == "admin":
        tx.select_for_update(ADMINISTRATORS)


def change(tx: Transaction, id: str, *, role: Role | None, password_hash: str | None) -> Account:
    """Change an account's role, its password, or both (None: stays).

    Raises:
        AccountNotFound: there is none with this id.
        LastAdministrator: the role cannot be taken from the only administrator.

    """
    if role == "user":
        lock_if_administrator(tx, id)
    row = tx.select_for_update(ACCOUNT, id=id).fetchone()
    if row is None:
        raise AccountNotFound
    account = account_of(row)
    if role is not None and role != account.role:
        if role == "admin":
            tx.execute(CLAIM_FIRST, id=id)
        else:
            tx.select_for_update(ADMINISTRATORS)  # again, for one that became an administrator just now
            if tx.fetch_one(ANOTHER_ADMINISTRATOR, id=id) is None:
                raise LastAdministrator
        tx.execute(SET_ROLE, id=id, role=role)
        account = msgspec.structs.replace(account, role=role)
    if password_hash is not None:
        password_hashes.put(tx, id, password_hash)
    return account
