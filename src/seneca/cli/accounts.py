"""``seneca admin``: create an administrator, set a password, reset the signing keys."""

import getpass
import secrets
import sys
from typing import Annotated

import typer

from seneca import accounts, audit
from seneca.accounts import commands, registration
from seneca.accounts.commands import AccountChange
from seneca.accounts.registration import Registration
from seneca.auth import passwords, setup_token, signing_keys
from seneca.auth.authorisation import COMMAND_LINE
from seneca.auth.password_policy import PasswordPolicy
from seneca.cli.options import Data, Url, connect, now, write
from seneca.common import json_decoding
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
        members = {"username": name, "email": email, "password": password, "role": "admin"}
        account = json_decoding.convert(members, Registration)
        PasswordPolicy.load(settings.password_words).check(password, name, email)
        password_hash = passwords.hash_password(password)
        account_id = write(database, registration.register, COMMAND_LINE, account, password_hash, now())
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
        json_decoding.convert({"password": password}, AccountChange)
        PasswordPolicy.load(settings.password_words).check(password, account.username, account.email)
        password_hash = passwords.hash_password(password)
        write(database, commands.change, COMMAND_LINE, account.id, password_hash=password_hash, now=now())
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
