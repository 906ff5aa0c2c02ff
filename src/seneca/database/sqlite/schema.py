"""Check that a database has exactly the tables and indexes that the migrations create.

Checks of the rows do not find a malicious trigger or view in a manipulated backup, such as a trigger that makes every new
account an administrator.
"""

import re
from contextlib import closing, nullcontext
from functools import cache
from pathlib import Path
from typing import Final

import apsw

from seneca.database.cache import Cache
from seneca.database.migrations import Migrator
from seneca.database.properties import Properties
from seneca.database.sqlite.transaction import SqliteTransaction
from seneca.errors import CommandError

OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name"
PROGRAMS = "SELECT type, name FROM sqlite_schema WHERE type NOT IN ('table', 'index') ORDER BY type, name"
LITESTREAM: Final = frozenset({("table", "_litestream_seq"), ("table", "_litestream_lock")})
"""Plain tables that Litestream creates in each database that it replicates."""

Objects = dict[tuple[str, str], tuple[str, str]]
"""The table and the CREATE statement of each object, by type and name."""

_COMMENT: Final = re.compile(r"--[^\n]*")
_SPACE: Final = re.compile(r"\s+")


def check_no_programs(connection: apsw.Connection, name: Path) -> None:
    """Check that there are no triggers or views, before a file is used.

    Args:
        connection: the database.
        name: the path to show in errors.

    Raises:
        CommandError: there is one.

    """
    for kind, object_ in connection.execute(PROGRAMS):
        raise CommandError(f"{name} has an unexpected {kind}: {object_}. This backup cannot be trusted.")


def check(connection: apsw.Connection, name: Path) -> None:
    """Check that a fully migrated database has exactly the objects that the migrations create.

    Args:
        connection: the database.
        name: the path to show in errors.

    Raises:
        CommandError: an object is missing, differs, or is not from a migration.

    """
    check_no_programs(connection, name)
    expected, actual = _expected(), _objects(connection)
    for (kind, object_), content in actual.items():
        if (kind, object_) not in expected:
            if (kind, object_) in LITESTREAM:
                continue
            raise CommandError(f"{name} has an unexpected {kind}: {object_}. This backup cannot be trusted.")
        if content != expected[kind, object_]:
            raise CommandError(
                f"{name}: the {kind} {object_} is not the one that Seneca creates. This backup cannot be trusted."
            )
    for kind, object_ in expected:
        if (kind, object_) not in actual:
            raise CommandError(f"{name} lacks the {kind} {object_}. The backup is incomplete.")


@cache
def _expected() -> Objects:
    """The objects that the migrations create."""
    with closing(apsw.Connection(":memory:")) as connection:
        tx = SqliteTransaction(connection, Properties(), Cache())
        Migrator("sqlite", []).run(lambda: nullcontext(tx))
        return _objects(connection)


def _objects(connection: apsw.Connection) -> Objects:
    return {
        (str(kind), str(name)): (str(table), _normalized(str(sql)))
        for kind, name, table, sql in connection.execute(OBJECTS)
    }


def _normalized(sql: str) -> str:
    """A statement without comments, white space and quotes: SQLite adds quotes when it renames."""
    return _SPACE.sub("", _COMMENT.sub("", sql)).replace('"', "").lower()
