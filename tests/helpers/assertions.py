"""Assertions about responses."""

from typing import Any

import httpx

NEVER_GIVEN = {"answers": [], "isCompleted": False, "score": 0}
"""A part of a module for which no results were recorded."""


def refused(answer: httpx.Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """Assert that a response is this error, whole; returns its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = dict(answer.json())
    assert body["status"] == status
    assert body["code"] == code
    assert body["message"] == body["detail"] != ""
    assert body["type"]
    assert body["title"]
    if field is not None:
        assert field in [error["field"] for error in body["errors"]], body
        assert all(error["message"] for error in body["errors"])
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    return body
