"""People with accounts, who send requests in their names."""

from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.helpers.names import unique
from tests.helpers.server import PASSWORD


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
        headers = dict(self.headers)
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        headers |= options.pop("headers", {})
        return self.client.request(method, path, headers=headers, **options)

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


def sign_up(client: httpx.Client, stem: str, *, role: str = "user", by: Person | None = None) -> Person:
    """Register an account and sign in."""
    name = unique(stem)
    email = f"{name}@example.org"
    body = {"username": name, "email": email, "password": PASSWORD, "role": role}
    registered = (by or Person(client)).post("/auth/register", body)
    assert registered.status_code == 201, registered.text
    return sign_in(client, name, email, registered.json()["userId"])


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
