"""Spread a PostgreSQL database over a Citus cluster: what belongs to a learner by bucket, the rest on every node.

What Citus asks of the schema, ``tests/test_citus.py`` holds it to.
"""

from collections.abc import Callable
from typing import Final

import psycopg

from seneca.database.postgres.transaction import Connection
from seneca.errors import Unusable

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
DONE = "SELECT logicalrelid::regclass::text FROM pg_dist_partition"
MAKE_REFERENCE = "SELECT create_reference_table(%s)"
DISTRIBUTE = "SELECT create_distributed_table(%s, 'bucket', colocate_with => %s)"


def distribute(connection: Connection, progress: Callable[[str], None]) -> int:
    """Spread every table that is not spread yet; returns how many were.

    Each is a step of its own; what was interrupted goes on where it stopped.

    Args:
        connection: to the coordinator, outside a transaction.
        progress: told each table's name first.

    Raises:
        Unusable: the database has no Citus.

    """
    if connection.execute(EXTENSION).fetchone() is None:
        raise Unusable(
            "This database has no Citus. On a PostgreSQL with Citus installed, as its superuser: CREATE EXTENSION citus;"
        )
    done = {row[0] for row in connection.execute(DONE)}
    missing = [table for table in (*REFERENCE, *DISTRIBUTED) if table not in done]
    for table in missing:
        progress(table)
        try:
            if table in REFERENCE:
                connection.execute(MAKE_REFERENCE, (table,))
            else:
                together = "none" if table == DISTRIBUTED[0] else DISTRIBUTED[0]
                connection.execute(DISTRIBUTE, (table, together))
        except psycopg.Error as error:
            raise Unusable(f"{table} cannot be distributed: {error}") from error
    return len(missing)
