"""What docs/security.md says of defences that no other test shows."""

import ast
import stat
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seneca.auth.passwords import FAILURE_STEP_MS
from tests.helpers.accounts import Person, make_course
from tests.helpers.assertions import refused
from tests.helpers.engines import engine
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server, running

ROOT = Path(__file__).parent.parent
SOURCE = sorted((ROOT / "src" / "seneca").rglob("*.py"))

# -- sign-in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_a_failed_sign_in_takes_at_least_a_step(nobody: Person, alice: Person, *, known: bool):
    began = time.monotonic()
    body = {"username": alice.username if known else unique("nobody"), "password": "wrong-password"}
    refused(nobody.post("/auth/login", body), 401, "invalid-credentials")
    assert time.monotonic() - began >= FAILURE_STEP_MS / 1000


def test_a_refresh_token_is_no_access_token_nor_the_other_way_round(nobody: Person, alice: Person):
    signed_in = nobody.post("/auth/login", {"username": alice.username, "password": PASSWORD}).json()
    refused(Person(nobody.client, signed_in["refreshToken"]).get("/auth/me"), 401, "token-invalid")
    refused(nobody.post("/auth/refresh", {"refreshToken": signed_in["token"]}), 401, "token-invalid")
    assert nobody.post("/auth/refresh", {"refreshToken": signed_in["refreshToken"]}).status_code == 200


def test_a_new_database_has_no_accounts(tmp_path: Path):
    with running(tmp_path) as server:
        assert server.rows("SELECT count(*) FROM accounts") == server.rows("SELECT count(*) FROM passwords") == [(0,)]


def test_a_password_has_no_age(server: Server):
    assert sorted(engine().columns(server.data, "passwords")) == ["account_id", "bucket", "hash"]


# -- answers -----------------------------------------------------------------------------------


def test_nothing_may_frame_an_answer_or_change_its_base(nobody: Person):
    for path in ("/health", "/docs", "/auth/me", "/nowhere"):
        policy = nobody.get(path).headers["content-security-policy"].split("; ")
        assert {"object-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy)


def test_the_kind_of_every_answer_is_named_with_its_encoding(nobody: Person, tara: Person):
    course = make_course(tara)
    kinds = {path: nobody.get(path).headers["content-type"] for path in ("/health", "/docs", "/docs.css", "/docs.svg")}
    assert kinds == {
        "/health": "text/plain; charset=utf-8",
        "/docs": "text/html; charset=utf-8",
        "/docs.css": "text/css; charset=utf-8",
        "/docs.svg": "image/svg+xml; charset=utf-8",
    }
    for path in ("/openapi.json", f"/course/{course['id']}"):  # JSON is UTF-8 and has no such parameter (RFC 8259)
        assert nobody.get(path).headers["content-type"] == "application/json"
    assert nobody.get("/nowhere").headers["content-type"] == "application/problem+json"


def test_a_query_parameter_is_given_once(alice: Person, tara: Person):
    for person, path in (
        (alice, "/course?q=a&q=b"),
        (tara, "/users?limit=1&limit=2"),
        (tara, "/users?cursor=&cursor="),
    ):
        assert "given once" in refused(person.get(path), 400, "invalid-input")["detail"]


# -- files -------------------------------------------------------------------------------------


def test_everything_in_the_data_directory_is_its_owners_alone(tmp_path: Path):
    with running(tmp_path / "data") as server:
        files = [path for path in server.data.rglob("*") if path != server.log]  # the log is the test's own
        assert {"secret-key", "setup-token"} <= {path.name for path in files}
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in files if path.is_file()} == {
            path.name: 0o600 for path in files if path.is_file()
        }


# -- what is not there -------------------------------------------------------------------------

FORBIDDEN = {
    *("pickle", "marshal", "shelve", "dill", "yaml", "xml", "lxml", "ctypes", "cffi"),  # objects, entities, memory
    *("subprocess", "pty", "code", "runpy"),  # other programs
    *("httpx", "requests", "aiohttp", "urllib3", "http", "smtplib", "ftplib", "telnetlib"),  # other machines
}
FORBIDDEN_PARTS = {"urllib.request", "asyncio.subprocess"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__"),
    *("os.system", "os.popen", "os.execv", "os.execve", "os.posix_spawn", "asyncio.create_subprocess_exec"),
    *("asyncio.create_subprocess_shell", "asyncio.open_connection", "socket.create_connection"),
}
ALGORITHMS = {"sha256"}  # docs/security.md, Keys and algorithms
NO_SECRETS = {  # ETags, and whether a course's topics are still those that are remembered
    name: {"blake2b"} for name in ("courses/__init__.py", "api/docs.py", "database/name_keys.py")
}
CHANCE_OF_NO_SECRETS = {"demo/__init__.py", "database/postgres/runner.py"}  # made-up learners; how long to wait


def modules(tree: ast.AST) -> Iterator[str]:
    """What a module imports, in full."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)


def calls(tree: ast.AST) -> Iterator[str]:
    """What a module calls, as it is written."""
    return (ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))


@pytest.mark.no_database
@pytest.mark.parametrize("path", SOURCE, ids=lambda path: str(path.relative_to(ROOT / "src" / "seneca")))
def test_nothing_dangerous_is_used(path: Path):
    tree = ast.parse(path.read_text())
    imported = set(modules(tree))
    assert {name.split(".")[0] for name in imported} & FORBIDDEN == set()
    assert imported & FORBIDDEN_PARTS == set()
    called = set(calls(tree))
    assert called & FORBIDDEN_CALLS == set()
    assert [name for name in called if name.endswith(".from_string")] == [], "templates are files of ours"


@pytest.mark.no_database
def test_only_the_algorithms_of_the_inventory_are_used():
    hashed: set[str] = set()
    for path in SOURCE:
        name, tree = str(path.relative_to(ROOT / "src" / "seneca")), ast.parse(path.read_text())
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "hashlib"
        }
        assert used <= ALGORITHMS | NO_SECRETS.get(name, set()), name
        hashed |= used
        if name not in CHANCE_OF_NO_SECRETS:
            assert "random" not in set(modules(tree)), name
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("hmac.digest", "hmac.new"):
                assert ast.literal_eval(node.args[2]) in ALGORITHMS
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("jwt.encode", "jwt.decode"):
                assert "'HS256'" in ast.unparse(node)
    assert hashed == {"sha256", "blake2b"}


# -- dependencies ------------------------------------------------------------------------------


@pytest.mark.no_database
def test_every_locked_package_comes_from_one_index_with_its_hashes():
    locked: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    others = [package for package in locked if "registry" in package["source"]]
    assert [package["name"] for package in locked if package not in others] == ["seneca"]
    assert len({package["source"]["registry"] for package in others}) == 1
    for package in others:
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert files, package["name"]
        assert all(file["hash"].startswith("sha256:") for file in files), package["name"]
