"""Bearer tokens: which are good, and the keys that sign them."""

import asyncio
import base64
import json
import secrets
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from seneca.auth import access_tokens, token_verifier
from seneca.auth.caller import ACCESS_TOKEN_TTL_SECONDS
from seneca.auth.signing_keys import SigningKey, SigningKeys, load_signing_keys
from seneca.database import open_database
from seneca.errors import CommandError, Unauthenticated
from seneca.settings import Settings
from tests.helpers.accounts import Person, sign_up
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.load import wait_for
from tests.helpers.server import Server, running

pytestmark = pytest.mark.no_database  # it asks none

A, B = "b4zX-first-key-of-this-installation-7Kq", "W2mp-second-key-of-this-installation-9Tf"


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decoded(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the payload."""
    header, payload = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return header, payload


def forge(
    server: Server, person: Person, *, drop: str = "", algorithm: str = "HS256", key: str = "", **claims: Any
) -> str:
    """The person's token, signed again with the server's key (or another): with other claims, or without one."""
    header, payload = decoded(str(person.token))
    payload = {name: value for name, value in (payload | claims).items() if name != drop}
    secret = key or (server.data / "secret-key").read_text().strip()
    return jwt.encode(payload, secret, algorithm=algorithm, headers={"kid": header["kid"]})


def with_header(person: Person, **changes: Any) -> str:
    """The person's token with another header, and the old signature."""
    header, _ = decoded(str(person.token))
    _, payload, signature = str(person.token).split(".")
    return f"{encoded(header | changes)}.{payload}.{signature}"


def with_payload(person: Person, **changes: Any) -> str:
    """The person's token with another payload, and the old signature."""
    _, claims = decoded(str(person.token))
    header, _, signature = str(person.token).split(".")
    return f"{header}.{encoded(claims | changes)}.{signature}"


def unsigned(person: Person) -> str:
    """The person's claims under the algorithm `none`."""
    header, payload = decoded(str(person.token))
    return f"{encoded(header | {'alg': 'none'})}.{encoded(payload)}."


def test_a_forged_token_is_good_if_nothing_is_wrong_with_it(server: Server, alice: Person):
    assert Person(alice.client, forge(server, alice)).get("/test/user").status_code == 200
    assert Person(alice.client, forge(server, alice, further="claims")).get("/test/user").status_code == 200


BAD = {
    "expired": lambda s, p: forge(s, p, exp=int(time.time()) - 1),
    "never expires": lambda s, p: forge(s, p, drop="exp"),
    "not yet": lambda s, p: forge(s, p, nbf=int(time.time()) + 600),
    "expires as text": lambda s, p: forge(s, p, exp="tomorrow"),
    "another issuer": lambda s, p: forge(s, p, iss="another"),
    "no issuer": lambda s, p: forge(s, p, drop="iss"),
    "another audience": lambda s, p: forge(s, p, aud="another"),
    "no audience": lambda s, p: forge(s, p, drop="aud"),
    "no issue time": lambda s, p: forge(s, p, drop="iat"),
    "no subject": lambda s, p: forge(s, p, drop="sub"),
    "no sign-in": lambda s, p: forge(s, p, drop="sid"),
    "no role": lambda s, p: forge(s, p, drop="role"),
    "another algorithm": lambda s, p: forge(s, p, algorithm="HS512"),
    "yet another": lambda s, p: forge(s, p, algorithm="HS384"),
    "another key": lambda s, p: forge(s, p, key=A),
    "none": lambda _, p: unsigned(p),
    "None": lambda _, p: unsigned(p).replace(encoded({"alg": "none"})[:8], encoded({"alg": "None"})[:8]),
    "unsigned": lambda _, p: p.token.rpartition(".")[0] + ".",
    "promoted": lambda _, p: with_payload(p, role="admin"),
    "prolonged": lambda _, p: with_payload(p, exp=int(time.time()) + 10**6),
    "header changed": lambda _, p: with_header(p, typ="JWS"),
    "unknown key": lambda _, p: with_header(p, kid="0" * 16),
    "key is a list": lambda _, p: with_header(p, kid=["x"]),
    "key is a number": lambda _, p: with_header(p, kid=1),
    "key is null": lambda _, p: with_header(p, kid=None),
    "key is a path": lambda _, p: with_header(p, kid="../../dev/null"),
    "critical": lambda _, p: with_header(p, crit=["exp"]),
    "signature changed": lambda _, p: p.token[:-10] + p.token[-10:].swapcase(),
    "cut": lambda _, p: p.token[:-1],
    "two parts": lambda _, p: p.token.rpartition(".")[0],
    "four parts": lambda _, p: p.token + ".x",
    "twice": lambda _, p: f"{p.token},{p.token}",
    "no JWT": lambda *_: "abc",
    "dots": lambda *_: "..",
    "header of 5,000 levels": lambda *_: f"{encoded(b'[' * 5000)}.e30.AAAA",
    "header with 5,000 digits": lambda *_: encoded(b'{"kid":' + b"9" * 5000 + b"}") + ".e30.AAAA",
    "header is a list": lambda *_: f"{encoded([1])}.e30.AAAA",
    "header is no UTF-8": lambda *_: f"{encoded(bytes([255]))}.e30.AAAA",
    "not base64": lambda *_: "!!!.???.***",
    "latin-1": lambda *_: "ÿÿÿ.ÿÿÿ.ÿÿÿ",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_bad_tokens(server: Server, alice: Person, bad):
    token = bad(server, alice)
    assert token != alice.token
    for path in ("/test", "/test/admin"):
        answer = alice.client.get(path, headers=[(b"Authorization", f"Bearer {token}".encode("latin-1"))])
        refused(answer, 401, "token-expired" if bad is BAD["expired"] else "token-invalid")
        assert answer.headers["www-authenticate"] == 'Bearer realm="seneca", error="invalid_token"'
        assert token not in answer.text


def test_the_expired_token_says_so(server: Server, alice: Person):
    token = forge(server, alice, exp=int(time.time()) - 1)
    assert "Refresh" in refused(Person(alice.client, token).get("/test"), 401, "token-expired")["detail"]


def test_a_remembered_token_expires_too(server: Server, alice: Person):
    for seconds in (2, 4, 8, 16, 32):  # as many as a busy machine needs to send a request
        person = Person(alice.client, forge(server, alice, exp=int(time.time()) + seconds))
        if person.get("/test").status_code == 200:
            break
    wait_for(lambda: person.get("/test").status_code != 200)
    refused(person.get("/test"), 401, "token-expired")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic {token}", "Token {token}", "{token}", "Bearer\t{token}"]
)
def test_bad_authorization_headers(alice: Person, header: str):
    raw = header.format(token=alice.token).encode().strip()
    refused(alice.client.get("/test", headers=[(b"Authorization", raw)]), 401, "token-invalid")


def test_two_authorization_headers_are_refused_whichever_is_good(alice: Person):
    good, bad = (b"Authorization", f"Bearer {alice.token}".encode()), (b"Authorization", b"Bearer x")
    for headers in ([good, bad], [bad, good], [good, good]):
        refused(alice.client.get("/test", headers=headers), 401, "token-invalid")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
def test_the_scheme_may_be_written_in_any_case(alice: Person, scheme: str):
    headers = {"Authorization": f"{scheme} {alice.token}"}
    assert alice.client.get("/test", headers=headers).status_code == 200


def test_no_token_is_challenged_without_an_error(nobody: Person):
    answer = nobody.get("/test")
    refused(answer, 401, "token-missing")
    assert answer.headers["www-authenticate"] == 'Bearer realm="seneca"'


# -- keys --------------------------------------------------------------------------------------


def test_keys_rotate(tmp_path: Path):
    def works(person: Person, server: Server) -> bool:
        with httpx.Client(base_url=server.url) as client:
            return Person(client, person.token).get("/test").status_code == 200

    with running(tmp_path, SENECA_SECRET_KEY=A) as server, httpx.Client(base_url=server.url) as client:
        old = sign_up(client, "alice")
        assert not (tmp_path / "secret-key").exists()
    with running(tmp_path, SENECA_SECRET_KEY=f"{B}, {A}") as server, httpx.Client(base_url=server.url) as client:
        assert works(old, server)
        new = sign_up(client, "alice")
        assert decoded(str(new.token))[0]["kid"] == SigningKey.of(B).id != decoded(str(old.token))[0]["kid"]
    with running(tmp_path, SENECA_SECRET_KEY=B) as server:
        assert works(new, server)
        assert not works(old, server)


def test_the_key_is_made_once_and_private(server: Server, tmp_path: Path):
    path = server.data / "secret-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) == 64  # 256 bits
    first = load_signing_keys(Settings(data=tmp_path / "new"))
    text = (tmp_path / "new" / "secret-key").read_text()
    assert stat.S_IMODE((tmp_path / "new" / "secret-key").stat().st_mode) == 0o600
    token = access_tokens.issue(first, account_id="a", role="user", sign_in="s", now=int(time.time() * 1000))
    assert access_tokens.verify(load_signing_keys(Settings(data=tmp_path / "new")), token, 64).caller.id == "a"
    assert (tmp_path / "new" / "secret-key").read_text() == text
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["secret-key"]


WEAK = [
    "short",
    "x" * 64,
    "change-me" * 8,
    "your-256-bit-secret-your-256-bit-secret",
    f"{A},short",
    f"{A},",
    "ab" * 32,
    "seneca-secret-key-for-production!",
    "correct horse battery staple correct horse",
    "battery staple correct-ish horses of old",
    "passwordpasswordpassword1234567890",
    "qwertyuiopasdfghjklzxcvbnm123456789",
    "supersecretkeysupersecretkey12345",
    "a-string-value-at-least-256-bits-long",
]


@pytest.mark.parametrize("weak", WEAK)
def test_weak_keys_are_refused(tmp_path: Path, weak: str):
    with pytest.raises(CommandError, match="32 characters") as error:
        load_signing_keys(Settings(data=tmp_path, secret_key=weak))
    assert weak not in error.value.detail


@pytest.mark.parametrize("make", [secrets.token_hex, secrets.token_urlsafe], ids=["hex", "urlsafe"])
@pytest.mark.parametrize("size", [24, 32, 48])
def test_random_keys_are_accepted(tmp_path: Path, make: Callable[[int], str], size: int):
    load_signing_keys(Settings(data=tmp_path, secret_key=",".join(make(size) for _ in range(20))))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int):
    load_signing_keys(Settings(data=tmp_path))
    (tmp_path / "secret-key").chmod(mode)
    with pytest.raises(CommandError, match=f"secret-key has mode {mode:04o}.*chmod 600"):
        load_signing_keys(Settings(data=tmp_path))
    (tmp_path / "secret-key").chmod(0o400)
    load_signing_keys(Settings(data=tmp_path))


def test_a_weak_key_file_is_refused(tmp_path: Path):
    (tmp_path / "secret-key").write_text("\n")
    (tmp_path / "secret-key").chmod(0o600)
    with pytest.raises(CommandError):
        load_signing_keys(Settings(data=tmp_path))


def test_a_key_file_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="file/secret-key"):
        load_signing_keys(Settings(data=tmp_path / "file"))


def test_serve_refuses_a_weak_key_in_one_line(tmp_path: Path):
    weak = "example-example-example-example-0123"
    done = seneca("serve", "--data", tmp_path, "--port", "0", env={"SENECA_SECRET_KEY": weak, "PATH": ""})
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "SENECA_SECRET_KEY" in done.stderr
    assert weak not in done.stderr


def test_keys_verify_what_they_issued():
    keys, now = SigningKeys([SigningKey.of(A)]), int(time.time())
    token = access_tokens.issue(
        keys, account_id="account", role="admin", sign_in="sign-in", now=now * 1000 + 999, generation="g"
    )
    verified = access_tokens.verify(keys, token, 64)
    caller = verified.caller
    assert (caller.id, caller.role, caller.sign_in) == ("account", "admin", "sign-in")
    assert 0 <= caller.bucket < 64
    assert verified.generation == "g"
    assert verified.expires == now + ACCESS_TOKEN_TTL_SECONDS == now + 3600
    with pytest.raises(Unauthenticated):
        access_tokens.verify(SigningKeys([SigningKey.of(B)]), token, 64)
    assert A not in token


def test_the_watch_of_ended_sign_ins_survives_a_fault_that_nobody_foresaw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A verifier that stops polling refuses every token until it polls again."""
    monkeypatch.setattr(token_verifier, "POLL_SECONDS", 0.01)
    database = open_database(f"sqlite:///{tmp_path / 'seneca.db'}")
    sign_ins = token_verifier.TokenVerifier(
        database, SigningKeys([SigningKey.of(secrets.token_hex(32))]), database.buckets
    )

    async def look_again() -> None:
        await sign_ins.refresh_revocations()  # all of them, on another thread
        await sign_ins.refresh_revocations()
        database._reader.connection.close()
        watch = asyncio.create_task(sign_ins.run())
        await asyncio.sleep(0.1)
        database._reader = None  # works again
        fresh_at = sign_ins._fresh_at
        await asyncio.to_thread(wait_for, lambda: sign_ins._fresh_at > fresh_at)
        watch.cancel()

    asyncio.run(look_again())
    database.close()
