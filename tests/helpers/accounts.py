"""People with accounts, who send requests in their names."""

import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from seneca import accounts
from seneca.accounts import Role
from seneca.auth import login_throttle, sign_ins
from seneca.auth.access_tokens import issue
from seneca.auth.refresh_tokens import RefreshToken
from seneca.auth.signing_keys import SigningKey, SigningKeys
from seneca.common.ids import bucket_of, new_id
from seneca.database import open_database
from tests.helpers import engines
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server, servers

PASSWORD_HASH = "$argon2id$v=19$m=19456,t=2,p=1$Y0l6yd8IJDPPnBOedFwEng$EB4uHMSj+vVXLOJNV53U/Mr4v5DgVN0iM8Wzjuz/NiU"
"""Of ``PASSWORD``, as the server makes it."""


STALLED = "Sign-ins cannot be checked right now"
"""What a worker answers that got no processor time for five seconds, as happens on a busy machine."""


@dataclass
class Person:
    """Someone with a token: requests in their name."""

    client: httpx.Client
    token: str | None = None
    id: str = ""
    username: str = ""
    email: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request; again while the worker says that it was stalled."""
        headers = dict(self.headers)
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        headers |= options.pop("headers", {})
        deadline = time.monotonic() + 60
        while (answer := self.client.request(method, path, headers=headers, **options)).status_code == 503:
            if STALLED not in answer.text or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return answer

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.request("POST", path, **(options if json is None else options | {"json": json}))

    def put(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.request("PUT", path, **(options if json is None else options | {"json": json}))

    def patch(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.request("PATCH", path, **(options if json is None else options | {"json": json}))

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.request("DELETE", path, **options)

    # -- what learners do ----------------------------------------------------------------------

    def start(self, course: dict[str, Any], **members: Any) -> str:
        """Start a session on the course's first topic; returns its id."""
        topic = course["topicsAndModules"][0]["topic"]
        answer = self.post("/session/startSession", {"courseIdentifier": course["id"], "topic": topic} | members)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["sessionId"])

    def update(self, session_id: str, *modules: dict[str, Any]) -> dict[str, Any]:
        """Record results; returns the answer."""
        answer = self.put("/session/updateSession", {"sessionId": session_id, "moduleStats": list(modules)})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def end(self, session_id: str) -> str:
        """End a session; returns its end."""
        answer = self.put("/session/endSession", {"sessionId": session_id})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["sessionEnd"])


def sign_up(client: httpx.Client, stem: str, *, role: Role = "user", by: Person | None = None) -> Person:
    """Create an account and sign in: a learner who is merely needed is stored directly, anybody else registers."""
    server = servers.get(client.base_url.port or 0)
    if server is None or role == "admin" or by is not None or "PYTHONPATH" in server.environment:  # with its own clock
        return register(client, stem, role=role, by=by)
    return store_learner(server, client, stem)


def register(client: httpx.Client, stem: str, *, role: Role = "user", by: Person | None = None) -> Person:
    """Register an account and sign in, with requests."""
    name = unique(stem)
    email = f"{name}@example.org"
    body = {"username": name, "email": email, "password": PASSWORD, "role": role}
    response = (by or Person(client)).post("/auth/register", body)
    assert response.status_code == 201, response.text
    return sign_in(client, name, email, response.json()["userId"])


def store_learner(server: Server, client: httpx.Client, stem: str) -> Person:
    """Store what a registration and a sign-in store, without the two password hashes that take 50 ms."""
    name, id_, now = unique(stem), new_id(), time.time_ns() // 1_000_000
    email = f"{name}@example.org"
    refresh_token = RefreshToken.first(id_, new_id())
    database = open_database(server.environment.get("SENECA_DATABASE_URL") or engines.engine().url(server.data))
    try:
        with database.write_transaction() as tx:
            accounts.create(
                tx, id=id_, username=name, email=email, role="user", password_hash=PASSWORD_HASH, created_at=now
            )
            login_throttle.trust_address(tx, id_, "127.0.0.1", now)
            tx.execute(
                sign_ins.START,
                bucket=bucket_of(id_, tx.buckets),
                account_id=id_,
                id=refresh_token.sign_in,
                now=now,
                family_hash=refresh_token.family_hash,
                live_hash=refresh_token.secret_hash,
            )
            _, generation = sign_ins.ended(tx, now)
    finally:
        database.close()
    keys = server.environment.get("SENECA_SECRET_KEY") or (server.data / "secret-key").read_text()
    token = issue(
        SigningKeys([SigningKey.of(keys.split(",")[0].strip())]),
        account_id=id_,
        role="user",
        sign_in=refresh_token.sign_in,
        now=now,
        generation=generation,
    )
    return Person(client, token, id_, name, email)


def sign_in(client: httpx.Client, username: str, email: str = "", id: str = "") -> Person:
    answer = client.post("/auth/login", json={"username": username, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return Person(client, answer.json()["token"], id, username, email)


def make_course(tara: Person, **members: Any) -> dict[str, Any]:
    """A course of two topics, new."""
    body = {
        "courseTitle": unique("Mathematics"),
        "qualification": "GCSE",
        "topicsAndModules": [
            {"topic": "Number", "modules": ["Integers", "Fractions"]},
            {"topic": "Algebra", "modules": ["Equations"]},
        ],
    } | members
    answer = tara.post("/course/create", body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json()["newCourse"])
