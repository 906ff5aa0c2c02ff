"""Check that a database has the tables, indexes and nothing else that the migrations make.

A trigger or a view in a file that somebody else had in hand would outlive every look at the rows: a trigger that makes whoever
registers an administrator passes every other check.
"""

import re
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Final

import apsw

from seneca.database import migrations
from seneca.database.cache import Cache
from seneca.database.sqlite.transaction import SqliteTransaction
from seneca.errors import CommandError

OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name"
PROGRAMS = "SELECT type, name FROM sqlite_schema WHERE type NOT IN ('table', 'index') ORDER BY type, name"
LITESTREAM: Final = frozenset({("table", "_litestream_seq"), ("table", "_litestream_lock")})
"""Plain tables that Litestream keeps in each database that it copies."""

Objects = dict[tuple[str, str], tuple[str, str]]
"""Of each object, by type and name: its table, and the statement that made it."""

_COMMENT: Final = re.compile(r"--[^\n]*")
_SPACE: Final = re.compile(r"\s+")


def check_no_programs(connection: apsw.Connection, name: Path) -> None:
    """Check that there are no triggers and views, before anything is done with a file.

    Args:
        connection: a database.
        name: what to call it.

    Raises:
        CommandError: there is one.

    """
    for kind, object_ in connection.execute(PROGRAMS):
        raise CommandError(
            f"{name} has a {kind} that Seneca does not make: {object_}. It is no backup that can be trusted."
        )


def check(connection: apsw.Connection, name: Path) -> None:
    """Check that a database whose migrations are all applied has what they make, and nothing else.

    Args:
        connection: the database.
        name: what to call it.

    Raises:
        CommandError: an object is missing, is another one, or is not the migrations'.

    """
    check_no_programs(connection, name)
    expected, actual = _expected(), _objects(connection)
    for (kind, object_), content in actual.items():
        if (kind, object_) not in expected:
            if (kind, object_) in LITESTREAM:
                continue
            raise CommandError(
                f"{name} has a {kind} that Seneca does not make: {object_}. It is no backup that can be trusted."
            )
        if content != expected[kind, object_]:
            raise CommandError(
                f"{name} has another {kind} {object_} than Seneca makes. It is no backup that can be trusted."
            )
    for kind, object_ in expected:
        if (kind, object_) not in actual:
            raise CommandError(f"{name} lacks the {kind} {object_}. It is no whole backup.")


@cache
def _expected() -> Objects:
    """What the migrations make."""
    with closing(apsw.Connection(":memory:")) as connection:
        migrations.apply(SqliteTransaction(connection, 0, Cache()), "sqlite", [])
        return _objects(connection)


def _objects(connection: apsw.Connection) -> Objects:
    return {
        (str(kind), str(name)): (str(table), _normalized(str(sql)))
        for kind, name, table, sql in connection.execute(OBJECTS)
    }


def _normalized(sql: str) -> str:
    """A statement without what means nothing: comments, white space, and quotes, which SQLite sets when it renames."""
    return _SPACE.sub("", _COMMENT.sub("", sql)).replace('"', "").lower()
