"""What every operation answers alike, the shapes that several answer, and what is stored."""

import http.client
import json
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from msgspec import UNSET

from seneca.accounts import Learner
from seneca.database import open_database
from seneca.sessions import storage, time_zone
from tests.helpers.accounts import Person
from tests.helpers.assertions import NEVER_GIVEN, refused
from tests.helpers.engines import engine
from tests.helpers.server import Server

KIBIBYTE = 1024
UNKNOWN = "0199aaaa-0000-7000-8000-000000000000"
UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

# -- shapes ------------------------------------------------------------------------------------


def part(score: float, *answers: str, done: bool = True) -> dict[str, Any]:
    return {"answers": list(answers), "isCompleted": done, "score": score}


def module(name: str, adaptive: float | None = None, quiz: float | None = None) -> dict[str, Any]:
    """A module in a request, with the scores that are given."""
    parts = {"adaptive": adaptive, "quiz": quiz}
    return {"moduleName": name} | {key: {"score": score} for key, score in parts.items() if score is not None}


def result(name: str, **parts: dict[str, Any]) -> dict[str, Any]:
    """A module in an answer; parts that are left out were never given."""
    return {"moduleName": name, "adaptive": NEVER_GIVEN, "quiz": NEVER_GIVEN, "wrongAnswers": NEVER_GIVEN} | parts


def statistics(
    *names: str, points: float = 0, mean: float = 0, minutes: int = 0, duration: str = "0 hours 0 minutes"
) -> dict[str, Any]:
    return {
        "moduleAmount": {"totalModulesStudied": len(names), "moduleNames": list(names)},
        "sessionTime": {"totalDuration": duration, "timeInMinutes": minutes},
        "scores": {"totalSessionPoints": points, "overallAverageScore": mean},
    }


NOTHING = statistics()


# -- what is stored ----------------------------------------------------------------------------


VACUUM_STATE = ("scouring-wanted", "vacuum-wanted", "vacuum-wanted-daily", "vacuumed-at")
"""Properties that the server changes by itself."""


def counts(server: Server) -> dict[str, int]:
    """How many rows each table has, but for what the server notes by itself.

    A learner's quota is counted in advance, also for a write that is then rejected.
    """
    tables = [name for name in engine().tables(server.data) if name != "learner_quotas"]
    of_table = {"properties": f" WHERE name NOT IN {VACUUM_STATE}"}
    selects = [f"(SELECT count(*) FROM {name}{of_table.get(name, '')})" for name in tables]
    (numbers,) = server.rows(f"SELECT {', '.join(selects)}")
    return dict(zip(tables, numbers, strict=True))


def stored(server: Server, session_id: str) -> list[tuple[Any, ...]]:
    """Everything about a session: its row, its results, its course's and its learner's totals."""
    of_session = "(SELECT course_id FROM sessions WHERE id = :id)"
    statements = [
        "SELECT * FROM sessions WHERE id = :id",
        "SELECT * FROM results WHERE session_id = :id ORDER BY learner_id, position",
        *(
            f"SELECT * FROM {table} WHERE course_id IN {of_session} ORDER BY 1, 2, 3"
            for table in ("learner_totals", "learner_names", "course_totals", "course_names")
        ),
    ]
    return [row for sql in statements for row in server.rows(sql, id=session_id)]


def change_start(server: Server, session_id: str, milliseconds: int) -> None:
    """Let an open session have started that much later (before: less than 0). The totals follow."""
    sql = "SELECT learner_id, bucket FROM sessions WHERE id = :id AND ended_at IS NULL"
    [key] = server.rows(sql, id=session_id)
    database = open_database(engine().url(server.data))
    try:
        with database.write_transaction() as tx:
            state = storage.lock(tx, Learner(*key), session_id)
            state.correct(state.row.started_at + milliseconds, UNSET, now=0, zone=time_zone.get(tx))
            storage.save(tx, state)
    finally:
        database.close()


def new_session(learner: Person, course: dict[str, Any], *modules: dict[str, Any], **members: Any) -> str:
    """A session with these results; returns its id."""
    session_id = learner.start(course, **members)
    if modules:
        learner.update(session_id, *modules)
    return session_id


# -- errors that every operation has -----------------------------------------------------------


def refuses_methods(nobody: Person, path: str, *allowed: str) -> None:
    """405, decided before anything else, on every method but these."""
    names = {*allowed, "OPTIONS"} | ({"HEAD"} if "GET" in allowed else set())
    for method in (method for method in METHODS if method not in names):
        answer = nobody.request(method, path)
        assert answer.headers["allow"] == ", ".join(sorted(names)), method
        if method == "HEAD":
            assert answer.status_code == 405
        else:
            refused(answer, 405, "method-not-allowed")


def refuses_callers(nobody: Person, method: str, path: str, *, but: Person, wrong_role: Person | None = None) -> None:
    """401 without a good token, 403 with another role; both come before anything about the body."""
    assert but.token is not None
    head, payload, signature = but.token.split(".")
    tampered = f"{head}.{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    other_role = (wrong_role or but).token
    assert other_role is not None
    mixed = f"{head}.{other_role.split('.')[1]}x.{signature}"
    bad_body = {"content": b"{", "headers": {"Content-Type": "text/plain"}} if method in ("POST", "PUT") else {}
    refused(nobody.request(method, path, **bad_body), 401, "token-missing")
    for header in (f"Bearer {tampered}", f"Bearer {mixed}", "Bearer x", "Bearer", "Basic eDp4"):
        refused(nobody.request(method, path, headers={"Authorization": header}), 401, "token-invalid")
    if wrong_role is not None:
        refused(wrong_role.request(method, path, **bad_body), 403, "forbidden")


def refuses_bodies(person: Person, method: str, path: str, *, most_kib: int = 256) -> None:
    """413, then 415, then 400 where the body is not JSON: whatever it says."""
    json = {"Content-Type": "application/json"}
    fits = b'"' + b"x" * (most_kib * KIBIBYTE - 2) + b'"'
    for body, headers in ((fits + b" ", json), (b"{" * (most_kib * KIBIBYTE + 1), {"Content-Type": "text/plain"})):
        refused(person.request(method, path, content=body, headers=headers), 413, "payload-too-large")
    refused(person.request(method, path, content=fits, headers=json), 400, "invalid-input", "")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "json"):
        refused(
            person.request(method, path, content=b"{", headers={"Content-Type": kind}), 415, "unsupported-media-type"
        )
    refused(person.request(method, path, content=b"{"), 415, "unsupported-media-type")
    for body in (b"", b"{", b"{'a': 1}", b"\xef\xbb\xbf{}", b'{"\xff": 1}', b"undefined"):
        refused(person.request(method, path, content=body, headers=json), 400, "malformed-json")
    for body in (
        b"null",
        b"1e400",
        b"[]",
        b"[" * 100_000,
        b"NaN",
        b"Infinity",
        b'"\\ud800"',
    ):  # of the wrong kind, so that nobody reads on
        refused(person.request(method, path, content=body, headers=json), 400, "invalid-input", "")


def refuses_query(person: Person, method: str, path: str, *known: str) -> None:
    """400 for a query parameter that the path does not know."""
    body = {"json": {}} if method in ("POST", "PUT") else {}
    for name in sorted({"limit", "cursor", "q", "Limit"} - set(known)):
        refused(person.request(method, f"{path}?{name}=1", **body), 400, "invalid-input", name)


def refuses_pages(person: Person, path: str) -> None:
    """400 for a page that cannot be."""
    for limit in ("0", "1001", "-1", "1.5", "x", "", "%D9%A3", "99999999999999999999"):
        refused(person.get(f"{path}?limit={limit}"), 400, "invalid-input", "limit")
    for cursor in ("", "x", "!", "%FF", "bnVsbA==", "WyIvIiwwXQ=="):
        refused(person.get(f"{path}?cursor={cursor}"), 400, "invalid-input", "cursor")
    refused(person.get(f"{path}?limit=1&limit=2"), 400, "invalid-input", "limit")


def answers_head(person: Person, path: str) -> None:
    """HEAD has GET's status and headers, and no body. A trailing slash changes nothing."""
    get, head, slash = person.get(path), person.request("HEAD", path), person.get(f"{path}/")
    assert get.status_code == head.status_code == slash.status_code == 200
    assert head.content == b""
    assert slash.content == get.content
    for name in ("content-type", "content-length", "etag"):
        assert head.headers.get(name) == get.headers.get(name), name


def pages(person: Person, path: str) -> list[list[dict[str, Any]]]:
    """Follow the links from this page to the last."""
    found = []
    while path:
        answer = person.get(path)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        path = answer.links.get("next", {}).get("url", "")
        assert path == "" or path.startswith("/")
    return found


# -- sign-ins that end elsewhere ---------------------------------------------------------------


def signed_out_within(seconds: float, person: Person) -> None:
    """Assert that a person's token is refused, at the latest when it is sent this many seconds from now."""
    deadline = time.monotonic() + seconds
    sent = time.monotonic()
    while (answer := person.get("/test")).status_code == 200:
        assert sent < deadline, "the token still works"
        time.sleep(0.05)
        sent = time.monotonic()
    refused(answer, 401, "signed-out")


# -- workers -----------------------------------------------------------------------------------


def clients_of_workers(server: Server, workers: int) -> list[httpx.Client]:
    """A client connected to each worker process."""
    found: dict[int, httpx.Client] = {}
    for _ in range(500):
        client = httpx.Client(base_url=server.url, timeout=30, limits=httpx.Limits(keepalive_expiry=60))
        with client.stream("GET", "/health") as answer:
            port = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
            worker = worker_of(server, port)
            answer.read()
        if worker in found:
            client.close()
        else:
            found[worker] = client
        if len(found) == workers:
            return list(found.values())
    raise AssertionError(f"only {len(found)} of {workers} workers answer")


def worker_of(server: Server, client_port: int) -> int:
    """The process that holds the server's end of a connection from this port of this machine."""
    own, peer = (f"0100007F:{port:04X}" for port in (server.port, client_port))
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # until it is accepted
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        sockets = {f"socket:[{row[9]}]" for row in rows if (row[1], row[2]) == (own, peer)}
        for child in children.read_text().split():
            with suppress(FileNotFoundError):  # it has just ended
                for file in Path(f"/proc/{child}/fd").iterdir():
                    with suppress(FileNotFoundError):
                        if str(file.readlink()) in sockets:
                            return int(child)
        time.sleep(0.01)
    raise AssertionError(f"no worker holds the connection from port {client_port}")


class Held:
    """A request of which the server has the head and the first byte of the body.

    Args:
        server: where it goes.
        person: whose token it has.
        method: its method.
        path: its path.
        body: its body, JSON.
        worker: the process that is to have it.

    """

    def __init__(
        self, server: Server, person: Person, method: str, path: str, body: object, *, worker: int | None = None
    ) -> None:
        self._body = json.dumps(body).encode()
        self._connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        while worker is not None and worker_of(server, self._connection.getsockname()[1]) != worker:
            self._connection.close()
            self._connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: 127.0.0.1:{server.port}",
            f"Authorization: Bearer {person.token}",
            "Content-Type: application/json",
            f"Content-Length: {len(self._body)}",
            "Connection: close",
        ]
        self._connection.sendall("\r\n".join([*lines, "", ""]).encode() + self._body[:1])

    def release(self) -> httpx.Response:
        """Send the rest; returns the answer."""
        self._connection.sendall(self._body[1:])
        return answer_of(self._connection)


def answer_of(connection: socket.socket) -> httpx.Response:
    """The one answer that comes on a connection, which is closed then."""
    with connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        return httpx.Response(response.status, headers=response.getheaders(), content=response.read())
