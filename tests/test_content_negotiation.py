"""Which media type a list has, by the Accept header: preferences are followed, and nothing is refused."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from seneca.http.content_negotiation import choose_media_type
from seneca.http.table_files import CSV, XLSX
from seneca.http.tables import JSON, MEDIA_TYPES

pytestmark = pytest.mark.no_database


def chosen(*values: str) -> str:
    headers = [(b"host", b"x"), *((b"accept", value.encode("latin-1")) for value in values)]
    return choose_media_type(cast("Any", SimpleNamespace(scope={"headers": headers})), MEDIA_TYPES)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (CSV, CSV),
        (XLSX, XLSX),
        (JSON, JSON),
        ("TEXT/CSV", CSV),
        ("text/*", CSV),
        ("text/csv; charset=utf-8; header=present", CSV),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json, text/plain, */*", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("text/csv, */*;q=0.1", CSV),
        ("*/*, text/csv", CSV),
        ("text/csv;q=0.5, application/json", JSON),
        ("text/csv;q=0.5, application/json;q=0.499", CSV),
        ("text/csv ; q=0.1 , application/json ; q=0.05", CSV),
        ("text/csv, application/json", CSV),
        ("application/json, text/csv", JSON),
        (f"text/csv;q=0.9, {XLSX}", XLSX),
        ("text/csv;q=0, */*", JSON),
        ("application/json;q=0, text/*;q=0.3", CSV),
        ("application/json;q=0, */*", CSV),
        ("text/*;q=0, text/csv;q=0.2", CSV),
        ("text/csv;q=1.000, text/csv;q=0", CSV),
    ],
)
def test_the_preferred_type_is_chosen(accept: str, media_type: str):
    assert chosen(accept) == media_type


@pytest.mark.parametrize(
    "accept",
    [
        *("", ",", ";", "/", "*", "text", "text/", "/csv", "image/png", "application/pdf;q=1", "é/ü"),
        *("text/csv;q=0", "text/csv;q=0.000", "*/*;q=0", "application/json;q=0"),
        *("text/csv;q=", "text/csv;q=x", "text/csv;q=-1", "text/csv;q=2", "text/csv;q=1.1", "text/csv;q=0.1234"),
        *("text/csv;q=inf", "text/csv;q=nan", "text/csv;q=1e400", "*/csv", "," * 10_000),
    ],
)
def test_json_is_sent_if_nothing_else_fits(accept: str):
    assert chosen(accept) == JSON


def test_several_headers_are_one_list():
    assert chosen("image/png", "text/csv;q=0.5", "application/json;q=0.4") == CSV
    assert chosen() == JSON
