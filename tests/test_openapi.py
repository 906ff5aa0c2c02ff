"""The OpenAPI document is valid and complete, and schemathesis verifies that the server conforms to it."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from seneca import errors, settings
from seneca.api.docs import docs_endpoints
from seneca.app import ROUTES
from tests import wire_snapshot
from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.server import running
from tests.schemathesis_hooks import NAME, SAME_NAME

pytestmark = pytest.mark.http  # about HTTP, whatever the engine


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return dict(answer.json())


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def valid(document: dict[str, Any], schema: dict[str, Any], value: object) -> None:
    whole = {"$ref": "#/schema", "schema": schema, "components": document["components"]}
    jsonschema_rs.Draft202012Validator(whole, validate_formats=True).validate(value)


def contents(node: Any) -> list[dict[str, Any]]:
    """Every media type object in a part of the document."""
    found = []
    if isinstance(node, dict):
        found += list(node.get("content", {}).values())
        for value in node.values():
            found += contents(value)
    return found


# -- the document itself -----------------------------------------------------------------------


def test_is_valid_openapi_3_1(document: dict[str, Any]):
    assert document["openapi"].startswith("3.1.")
    OPENAPI_31_VALIDATOR.validate(document)
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema | {"$schema": "https://json-schema.org/draft/2020-12/schema"})


def test_every_reference_leads_somewhere(document: dict[str, Any]):
    for reference in re.findall(r'"\$ref": "([^"]*)"', json.dumps(document)):
        node: Any = document
        for name in reference.removeprefix("#/").split("/"):
            node = node[name]


def test_it_contains_every_route_of_the_application(document: dict[str, Any]):
    """Apart from those that serve the documentation itself."""
    assert set(operations(document)) == {(endpoint.method, endpoint.path) for endpoint in ROUTES}
    assert {endpoint.path for endpoint in docs_endpoints(ROUTES)} == {
        "/",
        "/openapi.json",
        "/docs",
        "/docs.css",
        "/docs.svg",
    }


def test_the_documentation_needs_no_token(client: httpx.Client):
    for path, media_type in (
        ("/openapi.json", "application/json"),
        ("/docs", "text/html; charset=utf-8"),
        ("/docs.css", "text/css; charset=utf-8"),
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs.css", "/docs.svg"])
def test_the_documentation_is_made_once_and_has_a_validator(client: httpx.Client, path: str):
    answer = client.get(path)
    again = client.get(path, headers={"If-None-Match": '"another"'})
    assert (again.status_code, again.content, again.headers["etag"]) == (200, answer.content, answer.headers["etag"])
    unchanged = client.get(path, headers={"If-None-Match": f'"another", W/{answer.headers["etag"]}'})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == answer.headers["etag"]
    head = client.head(path)
    assert (head.headers["etag"], head.headers["content-length"]) == (answer.headers["etag"], str(len(answer.content)))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_bare_address_leads_to_the_documentation(client: httpx.Client, method: str):
    answer = client.request(method, "/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
    assert client.request(method, "/", follow_redirects=True).status_code == 200
    assert client.post("/").status_code == 405


def test_the_guide_names_only_what_there_is(document: dict[str, Any]):
    guide = document["info"]["description"]
    for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[\w/]+)`", guide):
        assert method.lower() in document["paths"][path]
    assert set(re.findall(r"SENECA_\w+", guide)) <= {settings.variable(n) for n in settings.Settings.__struct_fields__}
    assert "`code`" in guide


def test_what_clients_rely_on_is_as_it_was(document: dict[str, Any]):
    """A change of the API is deliberate: it changes ``tests/data/wire.json`` and the changelog, too."""
    assert wire_snapshot.snapshot(document) == json.loads(wire_snapshot.FILE.read_text(encoding="utf-8"))


def test_operation_ids_are_unique(document: dict[str, Any]):
    ids = [operation["operationId"] for operation in operations(document).values()]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z_]+", id_) for id_ in ids)


def test_every_operation_says_what_it_is_and_who_may(document: dict[str, Any]):
    for operation in operations(document).values():
        assert operation["summary"]
        assert operation["tags"]
        assert operation["x-who"] in ("anyone", "signed-in", "user", "admin")
        assert ("401" in operation["responses"]) == (
            "security" in operation or operation["operationId"] in ("auth_login", "auth_refresh")
        )
        assert ("403" in operation["responses"]) == (
            operation["x-who"] in ("user", "admin") or operation["operationId"] == "accounts_register"
        )
        assert {"400", "503"} <= set(operation["responses"])


def test_every_code_of_an_error_appears(document: dict[str, Any]):
    text = json.dumps(document)
    codes = {
        code
        for kind in errors.ApiError.__subclasses__()
        if kind is not errors.CommandError and "http" not in kind.__module__
        for code in kind.titles()
    }
    assert {code for code in codes if f"(`{code}`)" not in text} == set()


def test_every_example_is_valid(document: dict[str, Any]):
    checked = 0
    for content in contents(document["paths"]):
        values = [example["value"] for example in content.get("examples", {}).values()]
        for value in values + ([content["example"]] if "example" in content else []):
            valid(document, content["schema"], value)
            checked += 1
    assert checked > len(operations(document))


def test_every_body_has_an_example(document: dict[str, Any]):
    for operation in operations(document).values():
        bodies = contents(operation.get("requestBody", {}))
        bodies += [c for status, r in operation["responses"].items() if status < "300" for c in contents(r)]
        for content in bodies:
            assert content == {} or "example" in content or content["examples"]


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_allow_names_every_method_of_a_path(document: dict[str, Any], client: httpx.Client, method: str):
    for path, methods in document["paths"].items():
        answer = client.request(method, re.sub(r"\{\w+\}", "x", path))
        assert answer.status_code == (204 if method == "OPTIONS" else 405)
        expected = {name.upper() for name in methods} | {"OPTIONS"} | ({"HEAD"} if "get" in methods else set())
        assert answer.headers["allow"] == ", ".join(sorted(expected))


# -- what the server does with it --------------------------------------------------------------

# Every check and phase is enabled. The exceptions, with their reasons, are here and in schemathesis_hooks.py.
CONFIG = """
hooks = "{hooks}"
continue-on-failure = true
request-timeout = 30

[generation]
max-examples = {examples}

[auth.openapi.bearer]
bearer = "{token}"

[checks.positive_data_acceptance]
# The defaults, and 412: a schema cannot say whether If-Match names the stored version.
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "412", "429"]

[checks.negative_data_rejection]
# The defaults without 5xx.
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "428", "429"]

[dictionaries]
users = {{ values = ["{user}"] }}
courses = {{ values = ["{course}"] }}
sessions = {{ values = ["{session}"] }}

[parameters]
"path.userId" = {{ dictionary = "users", probability = 0.5 }}
"path.courseId" = {{ dictionary = "courses", probability = 0.7 }}
"path.courseIdentifier" = {{ dictionary = "courses", probability = 0.5 }}
"path.sessionId" = {{ dictionary = "sessions", probability = 0.7 }}
"path.id" = {{ dictionary = "courses", probability = 0.5 }}
"""
WITHOUT_LARGE_COURSES = """
[[operations]]
include-operation-id = "courses_create"
phases.coverage.enabled = false
"""
"""For the short form: courses_change has the same body, whose boundaries take 15 s to generate."""
SCHEMATHESIS = [sys.executable, "-m", "schemathesis.cli"]
HOOKS = Path(__file__).parent / "schemathesis_hooks.py"


ENDING = ("auth_logout", "auth_change_password", "privacy_erase_own")
"""Operations that may invalidate the caller's token."""


def test_the_pattern_that_is_generated_from_matches_the_same_texts():
    for text in map("".join, itertools.chain(*(itertools.product(" \n\x1c\0a\ufeff", repeat=n) for n in range(5)))):
        assert bool(re.search(NAME, text)) == bool(re.search(SAME_NAME, text)), repr(text)


@pytest.mark.parametrize("operations_of", ["admin", "user", "leaving"])
def test_the_server_keeps_to_it(tmp_path: Path, operations_of: str):
    """Run schemathesis as an administrator, as a learner, and as a learner on the operations that end sign-ins."""
    with running(tmp_path / "data") as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara = sign_up(client, "tara", role="admin")
        alice, charlie = sign_up(client, "alice"), sign_up(client, "charlie")
        course = make_course(tara)
        session_id = alice.start(course)
        alice.update(session_id, {"moduleName": "Integers", "quiz": {"answers": ["A"], "score": 74.5}})
        config = tmp_path / "schemathesis.toml"
        examples = os.environ.get("SCHEMATHESIS_EXAMPLES")
        config.write_text(
            CONFIG.format(
                hooks=HOOKS,
                examples=examples or "3",
                token=(tara if operations_of == "admin" else alice).token,
                user=charlie.id,
                course=course["id"],
                session=session_id,
            )
            + ("" if examples else WITHOUT_LARGE_COURSES)
        )
        if operations_of == "user" and not examples:  # the short form runs what both roles may do once
            selection = ["--include-by", "/x-who == user"]
        else:
            selection = ["--exclude-by", f"/x-who == {'user' if operations_of == 'admin' else 'admin'}"]
        ending = "include" if operations_of == "leaving" else "exclude"
        selection += [word for operation in ENDING for word in (f"--{ending}-operation-id", operation)]
        done = subprocess.run(
            [
                *SCHEMATHESIS,
                "--config-file",
                config,
                "run",
                f"{server.url}/openapi.json",
                "--checks",
                "all",
                *selection,
            ],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        statuses = [json.loads(line).get("status") for line in server.log_lines() if '"event":"request"' in line]
        assert set(statuses) <= {200, 201, 204, 304, 400, 401, 403, 404, 405, 409, 412, 413, 415, 429}
        assert ({204, 401} if operations_of == "leaving" else {200, 400, 401, 404, 405}) <= set(statuses)
        if operations_of != "leaving":  # the example body has Alice's password, so it erases her account
            assert Person(client, alice.token).get("/test/user").status_code == 200
