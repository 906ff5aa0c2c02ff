"""Every SQL statement of the source, by module and name."""

import importlib
import pkgutil
import re

import seneca

_STATEMENT = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE)\b")


def statements() -> dict[str, str]:
    """The SQL constants of every module, and those that stand together in a tuple, each with its index."""
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(seneca.__path__, "seneca.")
        if not module.name.endswith("__main__")
    ]
    found = {}
    for module in modules:
        for name, value in vars(module).items():
            if name.isupper():
                members = dict(enumerate(value)) if isinstance(value, tuple) else {None: value}
                for index, sql in members.items():
                    if isinstance(sql, str) and _STATEMENT.search(sql):
                        found[f"{module.__name__}.{name}" + ("" if index is None else f"[{index}]")] = sql
    return found
