"""Check the version of SQLite."""

import apsw

from seneca.errors import CommandError


def check_version(version: int) -> None:
    """Reject a SQLite whose write-ahead log can corrupt a database (sqlite.org/wal.html#walresetbug).

    The bug is in 3.7.0 to 3.51.2; the fix was backported to 3.44.6 and 3.50.7.

    Args:
        version: in SQLite's notation: 3051003 is 3.51.3.

    Raises:
        CommandError: this version has the bug.

    """
    is_fixed = version >= 3_051_003 or 3_044_006 <= version < 3_045_000 or 3_050_007 <= version < 3_051_000
    if not is_fixed:
        text = f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
        raise CommandError(f"SQLite {text} can corrupt a database in WAL mode. Use 3.51.3 or newer.")


def linked_version() -> int:
    """The version of the linked SQLite, in the same notation."""
    major, minor, patch = (int(part) for part in apsw.sqlite_lib_version().split(".")[:3])
    return major * 1_000_000 + minor * 1000 + patch
