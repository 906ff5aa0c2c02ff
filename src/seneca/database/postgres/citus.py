"""Spread a PostgreSQL database over a Citus cluster: what belongs to a learner by bucket, the rest on every node.

What Citus asks of the schema, ``tests/test_citus.py`` holds it to.
"""

import json
from collections.abc import Callable
from typing import Final

import psycopg
from psycopg import sql

from seneca.database.postgres.transaction import Connection
from seneca.errors import CommandError

LOCAL: Final = ("migrations",)
"""On the coordinator only."""
REFERENCE: Final = ("properties", "courses", "accounts", "account_names")
"""Whole on every node: what must be unique everywhere. In an order in which references are kept."""
DISTRIBUTED: Final = (
    "passwords",
    "sign_ins",
    "revocations",
    "familiar_addresses",
    "throttles",
    "audit",
    "erasures",
    "sessions",
    "results",
    "learner_totals",
    "learner_names",
    "course_totals",
    "course_names",
    "learner_quotas",
)
"""By ``bucket``, one learner's rows of all of them on one node. In an order in which references are kept."""

EXTENSION = "SELECT extversion FROM pg_extension WHERE extname = 'citus'"
DONE = """
SELECT logicalrelid::regclass::text FROM pg_dist_partition WHERE partmethod = 'h' OR (partmethod = 'n' AND repmodel = 't')
"""
"""Distributed by hash, and reference tables; others are local ones that Citus only knows."""
MAKE_REFERENCE = "SELECT create_reference_table(%s)"
DISTRIBUTE = "SELECT create_distributed_table(%s, 'bucket', colocate_with => %s)"

FOREIGN_KEYS = """
SELECT t.relname::text, f.conname::text, pg_get_constraintdef(f.oid)
FROM pg_constraint f JOIN pg_class t ON t.oid = f.conrelid JOIN pg_class r ON r.oid = f.confrelid
WHERE f.contype = 'f' AND pg_table_is_visible(t.oid) AND (t.relname = ANY (%(tables)s) OR r.relname = ANY (%(tables)s))
ORDER BY t.relname, f.conname
"""
DROPPED = "SELECT value FROM properties WHERE name = 'dropped-foreign-keys'"
NOTE_DROPPED = """
INSERT INTO properties (name, value) VALUES ('dropped-foreign-keys', %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
FORGET_DROPPED = "DELETE FROM properties WHERE name = 'dropped-foreign-keys'"
DROP_KEY = "ALTER TABLE {table} DROP CONSTRAINT {name}"
ADD_KEY = "ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"


def distribute(connection: Connection, progress: Callable[[str], None]) -> int:
    """Spread every table that is not spread yet; returns how many were.

    Each is a step of its own; what was interrupted goes on where it stopped. Citus distributes no table to which a local one refers,
    so foreign keys are dropped first and added again at the end. No server may run meanwhile.

    Args:
        connection: to the coordinator, in autocommit mode.
        progress: told each table's name first.

    Raises:
        CommandError: the database has no Citus.

    """
    if connection.execute(EXTENSION).fetchone() is None:
        raise CommandError(
            "This database has no Citus. On a PostgreSQL with Citus installed, as its superuser: CREATE EXTENSION citus;"
        )
    done = {row[0] for row in connection.execute(DONE)}
    missing = [table for table in (*REFERENCE, *DISTRIBUTED) if table not in done]
    drop_foreign_keys(connection, missing)
    for table in missing:
        progress(table)
        try:
            if table in REFERENCE:
                connection.execute(MAKE_REFERENCE, (table,))
            else:
                together = "none" if table == DISTRIBUTED[0] else DISTRIBUTED[0]
                connection.execute(DISTRIBUTE, (table, together))
        except psycopg.Error as error:
            raise CommandError(
                f"{table} cannot be distributed: {' '.join(str(error).split())} Foreign keys are missing until "
                "this has finished: run seneca migrate --distribute again."
            ) from error
    progress("foreign keys")
    add_foreign_keys(connection)
    return len(missing)


def drop_foreign_keys(connection: Connection, tables: list[str]) -> None:
    """Drop every foreign key of and to these tables. Their definitions are kept in the database until they are added again."""
    with connection.transaction():
        keys = connection.execute(FOREIGN_KEYS, {"tables": tables}).fetchall()
        if keys:
            connection.execute(NOTE_DROPPED, (json.dumps([*_dropped(connection), *keys]),))
        for table, name, _ in keys:
            connection.execute(sql.SQL(DROP_KEY).format(table=sql.Identifier(table), name=sql.Identifier(name)))


def add_foreign_keys(connection: Connection) -> None:
    """Add every foreign key that was dropped, under its name. One that is there already, after an interruption, is left.

    Raises:
        CommandError: rows break one, which were written while it was missing.

    """
    for table, name, definition in _dropped(connection):
        if any(row[:2] == (table, name) for row in connection.execute(FOREIGN_KEYS, {"tables": [table]})):
            continue
        statement = sql.SQL(ADD_KEY).format(
            table=sql.Identifier(table), name=sql.Identifier(name), definition=sql.SQL(definition)
        )
        try:
            connection.execute(statement)
        except psycopg.Error as error:
            raise CommandError(
                f"The foreign key {name} of {table} cannot be added: {' '.join(str(error).split())} "
                "Correct that, then run seneca migrate --distribute again."
            ) from error
    connection.execute(FORGET_DROPPED)


def _dropped(connection: Connection) -> list[tuple[str, str, str]]:
    """Table, name and definition of each foreign key that was dropped and not yet added again."""
    row = connection.execute(DROPPED).fetchone()
    return [] if row is None else [(table, name, definition) for table, name, definition in json.loads(row[0])]
