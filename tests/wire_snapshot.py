"""What a client relies on in the OpenAPI document: all of it but prose and the names of operations.

``tests/data/wire.json`` holds it. A deliberate change of the API: ``python -m tests.wire_snapshot`` writes the file again; list the
difference in the changelog.
"""

import json
from pathlib import Path
from typing import Any

from seneca.app import ROUTES
from seneca.http.openapi import document

FILE = Path(__file__).parent / "data" / "wire.json"
PROSE = {"description", "operationId", "summary", "tags", "title"}
NAMES = {"headers", "paths", "properties", "responses", "schemas"}
"""Members whose own members are names, which may be those of ``PROSE``."""


def wire(value: Any, *, are_names: bool = False) -> Any:
    """A part of the document without prose."""
    if isinstance(value, dict):
        return {
            name: wire(member, are_names=name in NAMES and not are_names)
            for name, member in value.items()
            if are_names or name not in PROSE
        }
    return [wire(entry) for entry in value] if isinstance(value, list) else value


def snapshot(openapi: dict[str, Any]) -> dict[str, Any]:
    """What a client relies on."""
    return dict(wire({name: openapi[name] for name in ("components", "paths")}))


if __name__ == "__main__":
    text = json.dumps(snapshot(json.loads(json.dumps(document(ROUTES), default=str))), indent=1, sort_keys=True)
    FILE.write_text(text + "\n", encoding="utf-8")
