"""Write INSERTs, and adapt SQL statements to many rows or values."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter

from seneca.database import Parameters

_INTO = re.compile(r"INSERT INTO (\w+)\s*(\([^)]*\))")
_GROUP = re.compile(r"VALUES\s*(\([^)]*\))")
_PARAMETER = re.compile(r":(\w+)")


def insert(table: str, columns: Sequence[str]) -> str:
    """The INSERT of one row: each column has a parameter of its name."""
    return f"""
INSERT INTO {table} ({", ".join(columns)})
VALUES ({", ".join(f":{column}" for column in columns)})
"""


@lru_cache(1024)
def multi_row_insert(sql: str, rows: int) -> tuple[str, Callable[[Parameters], tuple[object, ...]]]:
    """Turn an INSERT of one row into one of several: its text with ``?`` parameters, and a function from a row to its parameters."""
    group = _GROUP.search(sql)
    assert group is not None, sql
    one = _PARAMETER.sub("?", group[1])
    return f"{sql[: group.start(1)]}{', '.join([one] * rows)}{sql[group.end(1) :]}", itemgetter(
        *_PARAMETER.findall(group[1])
    )


@lru_cache(64)
def copy_target(sql: str) -> str:
    """The table and the columns of a plain INSERT."""
    into = _INTO.search(sql)
    assert into is not None, sql
    return f"{into[1]} {into[2]}"


@lru_cache(1024)
def expand_values(sql: str, values: int) -> tuple[str, tuple[str, ...]]:
    """Give ``IN (:values)`` a parameter for each value: the statement's text, and the parameters' names."""
    names = tuple(f"value_{index}" for index in range(values))
    return sql.replace("(:values)", f"({', '.join(f':{name}' for name in names)})"), names
