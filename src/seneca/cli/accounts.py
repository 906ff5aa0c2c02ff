"""``seneca admin``: create an administrator, set a password, reset the signing keys."""

import getpass
import secrets
import sys
from typing import Annotated

import typer

from seneca import accounts, audit
from seneca.accounts import Registration
from seneca.auth import passwords, setup_token, sign_ins, signing_keys
from seneca.auth.password_policy import PasswordPolicy
from seneca.cli.options import Data, Url, connect, now, write
from seneca.common import json_decoding
from seneca.common.ids import new_id
from seneca.database import Transaction
from seneca.errors import AccountNotFound

app = typer.Typer(
    no_args_is_help=True, help="Create an administrator, set a password, reset the signing keys.", rich_markup_mode=None
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The username.")],
    email: Annotated[str, typer.Argument(help="The e-mail address.")],
    data: Data = None,
    url: Url = None,
) -> None:
    """Create an administrator.

    Prompts for the password on a terminal, otherwise reads it from standard input. An empty password is replaced by a generated
    one, which is printed.
    """
    with connect(data, url) as (settings, database):
        password = read_password()
        registration = {"username": name, "email": email, "password": password, "role": "admin"}
        json_decoding.convert(registration, Registration)
        PasswordPolicy.load(settings.password_words).check(password, name, email)
        account_id = new_id()
        password_hash = passwords.hash_password(password)

        def create_administrator(tx: Transaction, now: int) -> None:
            accounts.create(
                tx,
                id=account_id,
                username=name,
                email=email,
                role="admin",
                password_hash=password_hash,
                created_at=now,
            )
            audit.record(tx, None, "account.registered", account_id, now, role="admin")

        write(database, create_administrator, now())
        setup_token.discard(settings.data)
    print(f"Administrator {name} created: {account_id}", file=sys.stderr)


@app.command("password")
def set_password(
    name: Annotated[str, typer.Argument(help="The username or e-mail address.")], data: Data = None, url: Url = None
) -> None:
    """Set an account's password and end its sign-ins."""
    with connect(data, url, create=False) as (settings, database):
        with database.read_transaction() as tx:
            credentials = accounts.credentials(tx, name.strip())
            if credentials is None:
                raise AccountNotFound(f"There is no account named {name}.")
            account = accounts.get(tx, credentials.id)
        password = read_password()
        json_decoding.convert({"password": password}, accounts.AccountChange)
        PasswordPolicy.load(settings.password_words).check(password, account.username, account.email)
        password_hash = passwords.hash_password(password)

        def change_password(tx: Transaction, now: int) -> None:
            accounts.change(tx, account.id, role=None, password_hash=password_hash)
            sign_ins.end_all(tx, account.id, now)
            audit.record(tx, None, "account.password-set", account.id, now)

        write(database, change_password, now())
    print(f"Password of {account.username} set.", file=sys.stderr)


@app.command("reset-keys")
def reset_keys(data: Data = None, url: Url = None) -> None:
    """Accept a new signing key from the next server, if the old one is lost. Everybody has to sign in again."""

    def reset(tx: Transaction, now: int) -> None:
        signing_keys.reset_signing_keys(tx)
        audit.record(tx, None, "keys.forgotten", audit.WHOLE_DATABASE, now)

    with connect(data, url, create=False) as (_, database):
        write(database, reset, now())
    print("The next server may use a new signing key.", file=sys.stderr)


def read_password() -> str:
    """Read a new password from the terminal or standard input; an empty one is replaced by a generated one, which is printed."""
    if sys.stdin.isatty():
        password = getpass.getpass("New password (empty: generate one): ")
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not password:
        password = secrets.token_urlsafe(15)
        print(password)
    return password
