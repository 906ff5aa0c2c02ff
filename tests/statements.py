"""Every SQL statement of the source, by module and name."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from functools import cached_property

import seneca
from seneca.stats.tables import NamesTable, TotalsTable

_STATEMENT = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE)\b")


def statements() -> dict[str, str]:
    """The SQL constants of every module, and those that tables of totals generate."""
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(seneca.__path__, "seneca.")
        if not module.name.endswith("__main__")
    ]
    return {
        f"{module.__name__}.{name}{suffix}": sql
        for module in modules
        for name, value in vars(module).items()
        if name.isupper()
        for suffix, sql in _texts(value)
        if _STATEMENT.search(sql)
    }


def _texts(value: object) -> Iterator[tuple[str, str]]:
    """The texts of a constant: itself, the members of a tuple, what a table of totals generates; and a suffix for their names."""
    if isinstance(value, str):
        yield "", value
    elif isinstance(value, tuple):
        for index, member in enumerate(value):
            yield from ((f"[{index}]{suffix}", text) for suffix, text in _texts(member))
    elif isinstance(value, (TotalsTable, NamesTable)):
        generated = [name for name, member in vars(type(value)).items() if isinstance(member, cached_property)]
        for name in generated:
            yield from ((f".{name}{suffix}", text) for suffix, text in _texts(getattr(value, name)))
