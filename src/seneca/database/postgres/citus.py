"""Distribute a PostgreSQL database over a Citus cluster: learners' rows by bucket, everything else on every node.

``tests/test_citus.py`` checks what Citus requires of the schema.
"""

import json
from collections.abc import Callable
from contextlib import closing
from typing import Final

import psycopg
from psycopg import sql

from seneca.database.postgres.transaction import Connection, translate_error
from seneca.errors import CommandError

LOCAL: Final = ("migrations",)
"""Tables on the coordinator only."""
REFERENCE: Final = ("properties", "courses", "accounts", "account_names")
"""Reference tables, complete on every node: what must be unique in the whole cluster. Referenced tables come first."""
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
    "course_days",
    "course_weeks",
    "days",
    "weeks",
    "learner_quotas",
    "voided_sessions",
)
"""Tables distributed by ``bucket``: all rows of a learner are on one node. Referenced tables come first."""

EXTENSION = "SELECT extversion FROM pg_extension WHERE extname = 'citus'"
DISTRIBUTED_TABLES = """
SELECT logicalrelid::regclass::text FROM pg_dist_partition WHERE partmethod = 'h' OR (partmethod = 'n' AND repmodel = 't')
"""
"""Hash-distributed and reference tables; the others are local tables that Citus has in its metadata."""
CREATE_REFERENCE = "SELECT create_reference_table(%s)"
CREATE_DISTRIBUTED = "SELECT create_distributed_table(%s, 'bucket', colocate_with => %s)"

FOREIGN_KEYS = """
SELECT t.relname::text, f.conname::text, pg_get_constraintdef(f.oid)
FROM pg_constraint f JOIN pg_class t ON t.oid = f.conrelid JOIN pg_class r ON r.oid = f.confrelid
WHERE f.contype = 'f' AND pg_table_is_visible(t.oid) AND (t.relname = ANY (%(tables)s) OR r.relname = ANY (%(tables)s))
ORDER BY t.relname, f.conname
"""
DROPPED_KEYS = "SELECT value FROM properties WHERE name = 'dropped-foreign-keys'"
RECORD_DROPPED_KEYS = """
INSERT INTO properties (name, value) VALUES ('dropped-foreign-keys', %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
DELETE_DROPPED_KEYS = "DELETE FROM properties WHERE name = 'dropped-foreign-keys'"
DROP_KEY = "ALTER TABLE {table} DROP CONSTRAINT {name}"
ADD_KEY = "ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"


class CitusCluster:
    """The capability of PostgreSQL to distribute the tables, if the Citus extension is installed.

    Args:
        connect: opens a connection to the coordinator, in autocommit mode.

    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect

    def distribute(self, progress: Callable[[str], None]) -> int:
        """Distribute the tables that are not distributed yet."""
        try:
            with closing(self._connect()) as connection:
                return distribute(connection, progress)
        except psycopg.Error as error:
            raise translate_error(error) from error


def distribute(connection: Connection, progress: Callable[[str], None]) -> int:
    """Distribute every table that is not distributed yet; returns their number.

    Each table is a separate step, so an interrupted run can be continued. Citus cannot distribute a table that a local one
    references, so foreign keys are dropped first and added again at the end. No server may run during this.

    Args:
        connection: to the coordinator, in autocommit mode.
        progress: called with each table's name, before it is distributed.

    Raises:
        CommandError: the Citus extension is missing, or a step failed.

    """
    if connection.execute(EXTENSION).fetchone() is None:
        raise CommandError(
            "This database does not have the Citus extension. Where Citus is installed, run as superuser: CREATE EXTENSION citus;"
        )
    distributed = {row[0] for row in connection.execute(DISTRIBUTED_TABLES)}
    missing = [table for table in (*REFERENCE, *DISTRIBUTED) if table not in distributed]
    drop_foreign_keys(connection, missing)
    for table in missing:
        progress(table)
        try:
            if table in REFERENCE:
                connection.execute(CREATE_REFERENCE, (table,))
            else:
                colocate_with = "none" if table == DISTRIBUTED[0] else DISTRIBUTED[0]
                connection.execute(CREATE_DISTRIBUTED, (table, colocate_with))
        except psycopg.Error as error:
            raise CommandError(
                f"{table} cannot be distributed: {' '.join(str(error).split())} Foreign keys are missing until "
                "the distribution is complete. Run seneca migrate --distribute again."
            ) from error
    progress("foreign keys")
    add_foreign_keys(connection)
    return len(missing)


def drop_foreign_keys(connection: Connection, tables: list[str]) -> None:
    """Drop every foreign key from and to these tables. The database stores their definitions until they are added again."""
    with connection.transaction():
        keys = connection.execute(FOREIGN_KEYS, {"tables": tables}).fetchall()
        if keys:
            connection.execute(RECORD_DROPPED_KEYS, (json.dumps([*_dropped_keys(connection), *keys]),))
        for table, name, _ in keys:
            connection.execute(sql.SQL(DROP_KEY).format(table=sql.Identifier(table), name=sql.Identifier(name)))


def add_foreign_keys(connection: Connection) -> None:
    """Add every dropped foreign key again, under its old name, unless an interrupted run has already added it.

    Raises:
        CommandError: rows that were written in between violate one.

    """
    for table, name, definition in _dropped_keys(connection):
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
                "Correct the rows, then run seneca migrate --distribute again."
            ) from error
    connection.execute(DELETE_DROPPED_KEYS)


def _dropped_keys(connection: Connection) -> list[tuple[str, str, str]]:
    """The table, name and definition of each dropped foreign key that has not been added again."""
    row = connection.execute(DROPPED_KEYS).fetchone()
    return [] if row is None else [(table, name, definition) for table, name, definition in json.loads(row[0])]
