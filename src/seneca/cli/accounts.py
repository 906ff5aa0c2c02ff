"""``seneca admin``: make an administrator, reset a password."""

import getpass
import secrets
import sys
from typing import Annotated

import typer

from seneca import accounts, audit, decoding, passwords, setup, units
from seneca.accounts import Registration
from seneca.cli.options import Data, Url, now, opened
from seneca.errors import NoSuchAccount
from seneca.signins import recording

app = typer.Typer(no_args_is_help=True, help="Make an administrator, reset a password.", rich_markup_mode=None)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The username.")],
    email: Annotated[str, typer.Argument(help="The e-mail address.")],
    data: Data = None,
    url: Url = None,
) -> None:
    """Make an administrator.

    The password is asked for on a terminal, else read from standard input; left empty, one is made and printed.
    """
    with opened(data, url) as (told, database):
        password = new_password()
        given = {"username": name, "email": email, "password": password, "role": "admin"}
        decoding.convert(given, Registration)
        account_id = units.new_id()
        with database.writing() as tx:
            accounts.create(
                tx,
                id=account_id,
                username=name,
                email=email,
                role="admin",
                password_hash=passwords.hash_password(password),
                created_at=(moment := now()),
            )
            audit.record(tx, None, "account.registered", account_id, moment, role="admin")
        setup.discard(told.data)
    print(f"Administrator {name} made: {account_id}", file=sys.stderr)


@app.command("password")
def set_password(
    name: Annotated[str, typer.Argument(help="The username or e-mail address.")], data: Data = None, url: Url = None
) -> None:
    """Set an account's password; its sign-ins end."""
    with opened(data, url) as (_, database):
        with database.reading() as tx:
            found = accounts.credentials(tx, name.strip())
            if found is None:
                raise NoSuchAccount(f"There is no account named {name}.")
            account = accounts.get(tx, found.id)
        password = new_password()
        decoding.convert({"password": password}, accounts.Change)
        passwords.check(password, account.username, account.email)
        password_hash = passwords.hash_password(password)
        with database.writing() as tx:
            accounts.change(tx, found.id, role=None, password_hash=password_hash)
            recording.end_all(tx, found.id, moment := now())
            audit.record(tx, None, "account.password-set", found.id, moment)
    print(f"Password of {account.username} set.", file=sys.stderr)


@app.command("forget-keys")
def forget_keys(data: Data = None, url: Url = None) -> None:
    """Let the next server bring another signing key, because the old one is lost. Everybody signs in anew."""
    from seneca import tokens  # 20 ms that no other command of these needs

    with opened(data, url) as (_, database), database.writing() as tx:
        tokens.forget(tx)
        audit.record(tx, None, "keys.forgotten", audit.NOBODY, now())
    print("The next server may bring another signing key.", file=sys.stderr)


def new_password() -> str:
    """A new password, from the terminal or standard input; an empty one is made up, and printed."""
    if sys.stdin.isatty():
        password = getpass.getpass("New password (empty: make one up): ")
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not password:
        password = secrets.token_urlsafe(15)
        print(password)
    return password
