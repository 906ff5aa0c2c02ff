"""Run commands of the command line."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.helpers import engines


def seneca(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a seneca command to its end."""
    if "--data" in arguments:
        data = Path(arguments[arguments.index("--data") + 1])
        options["env"] = engines.engine().environment(data) | dict(options.get("env", os.environ))
    return subprocess.run(
        [sys.executable, "-m", "seneca", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )
