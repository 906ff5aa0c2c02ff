"""Lists as tables for spreadsheets: the rows of the JSON list in CSV and XLSX, harmless, whole, and in bounded memory."""

import csv
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, Self

import httpx
import openpyxl
import pytest
from openpyxl.utils.escape import unescape

from seneca.app import ROUTES
from seneca.http.table_files import CSV, MAX_XLSX_ROWS, XLSX, CsvFile, XlsxFile
from tests.helpers.accounts import Person, make_course, sign_in, sign_up
from tests.helpers.assertions import refused
from tests.helpers.commands import seneca
from tests.helpers.exchange import COURSE_ID, course, session, user, write
from tests.helpers.exchange import module as line_of_module
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server, running
from tests.helpers.wire import answers_head, module, new_session, pages
from tests.test_me_export import resident

MEDIA_TYPES = [CSV, XLSX]
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)"]
LISTS = {endpoint.path: endpoint.table for endpoint in ROUTES if endpoint.table is not None}


def table(person: Person, path: str, media_type: str) -> list[list[Any]]:
    """The rows of a list, read by another program: text, numbers, booleans, and None where a cell is empty."""
    answer = person.get(path, headers={"Accept": media_type})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == media_type
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["vary"] == "Accept"
    extension = "csv" if media_type == CSV else "xlsx"
    assert re.fullmatch(rf'attachment; filename="seneca-\w+\.{extension}"', answer.headers["content-disposition"])
    assert "link" not in answer.headers
    return rows_of_csv(answer.content) if media_type == CSV else rows_of_xlsx(answer.content)


def rows_of_csv(content: bytes) -> list[list[Any]]:
    assert content.startswith(b"\xef\xbb\xbf")
    text = content.decode("utf-8-sig")
    assert text.endswith("\r\n")
    return [[cell or None for cell in row] for row in csv.reader(StringIO(text, newline=""))]


def rows_of_xlsx(content: bytes) -> list[list[Any]]:
    book = openpyxl.load_workbook(BytesIO(content))
    [sheet] = book.worksheets
    assert sheet.freeze_panes == "A2"
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "inlineStr", "n", "b"}
    assert not any(cell.hyperlink for row in sheet.iter_rows() for cell in row)
    rows = sheet.iter_rows(values_only=True)
    return [[unescape(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]


def as_csv(cell: Any) -> str | None:
    """A cell of the JSON list as CSV has it."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, str):
        return (f"'{cell}" if cell.startswith(tuple("=+-@\t\r")) else cell) or None
    return None if cell is None else str(cell)


def expected(media_type: str, rows: list[list[Any]]) -> list[list[Any]]:
    return [[as_csv(cell) for cell in row] for row in rows] if media_type == CSV else rows


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def session_rows(listed: dict[str, Any], *never: tuple[str, str]) -> Iterator[list[Any]]:
    """The rows of a session as JSON has it; ``never`` are the modules and parts without results."""
    head = [value for name, value in listed.items() if name != "modulesStats"]
    for entry in listed["modulesStats"]:
        cells = [entry["moduleName"]]
        for name in ("adaptive", "quiz", "wrongAnswers"):
            part = entry[name]
            values = [part["score"], part["isCompleted"], compact(part["answers"])]
            cells += [None] * 3 if (entry["moduleName"], name) in never else values
        yield head + cells
    if not listed["modulesStats"]:
        yield head + [None] * 10


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_sessions_have_one_row_for_each_module(tara: Person, alice: Person, course, media_type: str):
    quiz = {"answers": ["A", 'é, "x"', "=1+1\n"], "isCompleted": True, "score": 66.667}
    new_session(alice, course, {"moduleName": "Integers", "quiz": quiz}, module("Zählen", 0, -3))
    new_session(alice, make_course(tara))
    alice.end(new_session(alice, course, module("Integers", 82)))
    never = [("Integers", "adaptive"), *((name, "wrongAnswers") for name in ("Integers", "Zählen"))]
    for person, path, several in (
        (alice, "/stats/user/sessions", 3),
        (tara, f"/stats/users/{alice.id}/sessions", 3),
        (tara, f"/stats/sessions/{course['id']}", 2),
    ):
        for query in ("", "?order=desc", "?isEnd=true"):
            listed = [
                entry for page in pages(person, f"{path}{query or '?'}&limit=1".replace("?&", "?")) for entry in page
            ]
            assert len(listed) == (1 if "isEnd" in query else several)
            header, *rows = table(person, path + query, media_type)
            assert header == list(LISTS["/stats/user/sessions"].columns)
            wanted = []
            for entry in listed:
                missing = (
                    never if len(entry["modulesStats"]) == 2 else [("Integers", "quiz"), ("Integers", "wrongAnswers")]
                )
                wanted += session_rows(entry, *missing)
            assert rows == expected(media_type, wanted)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_accounts_courses_and_audit_are_the_rows_of_their_lists(client: httpx.Client, tara: Person, media_type: str):
    word = unique("tabular")
    for number in range(3):
        sign_up(client, f"{word}-{number}", by=tara)
    topics = [
        {"topic": "Empty", "modules": []},
        {"topic": "Number", "modules": ["Integers", "Fractions"]},
    ]
    make_course(tara, courseTitle=f"{word} 1", topicsAndModules=topics)
    make_course(tara, courseTitle=f"{word} 2", topicsAndModules=[])
    listed = [account for page in pages(tara, f"/users?q={word}&limit=2") for account in page]
    header, *rows = table(tara, f"/users?q={word}", media_type)
    assert header == ["id", "username", "email", "role", "createdAt"]
    assert rows == expected(media_type, [list(account.values()) for account in listed])
    assert len(rows) == 3
    header, *rows = table(tara, f"/course?q={word}", media_type)
    assert header == ["id", "courseTitle", "qualification", "createdAt", "topic", "module"]
    first, second = tara.get(f"/course?q={word}").json()
    heads = [[entry[name] for name in header[:4]] for entry in (first, second)]
    assert rows == expected(
        media_type,
        [
            [*heads[0], "Empty", None],
            [*heads[0], "Number", "Integers"],
            [*heads[0], "Number", "Fractions"],
            [*heads[1], None, None],
        ],
    )
    header, *rows = table(tara, "/audit", media_type)
    assert header == ["id", "at", "actor", "act", "subject", "facts"]
    listed = tara.get("/audit?limit=5").json()
    assert rows[:5] == expected(media_type, [[*list(e.values())[:-1], compact(e["facts"])] for e in listed])


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_text_never_becomes_a_formula_a_link_or_markup(tara: Person, alice: Person, media_type: str):
    names = [
        *FORMULAS,
        *(
            "{=1}",
            "'=1",
            "=cmd|'/c calc'!A1",
            "https://example.org",
            "<r><t>x</t></r>",
            "a\x01b\x1f",
            "_x0041_",
            "\ufffe\uffff",
        ),
        *("a,b;c\td", 'say "x"', "line\nline", "0123", "1e5", "🎓" * 100, "x" * 200),
    ]
    stored = [name.strip() for name in names]
    taught = make_course(tara, courseTitle=unique("=1+1"), topicsAndModules=[{"topic": "-Topic", "modules": []}])
    new_session(alice, taught, *(module(name, 1) for name in names))
    _, *rows = table(alice, "/stats/user/sessions", media_type)
    assert [(row[3], row[4]) for row in rows] == [
        tuple(expected(media_type, [[taught["courseTitle"], "-Topic"]])[0])
    ] * len(names)
    assert [row[12] for row in rows] == [
        cell for row in expected(media_type, [[name] for name in stored]) for cell in row
    ]


@pytest.mark.no_database
def test_every_start_of_a_formula_is_prefixed_in_csv_and_is_text_in_xlsx():
    """Names cannot start with white space, other texts of later tables may."""
    texts = [*FORMULAS, "\t=1", "\r=1", "'", "", " =1", "a=1", "=" * 40_000]
    numbers = [-1, 0.5, Decimal("-66.667"), True, False, None]
    for kind in (CsvFile, XlsxFile):
        file = kind()
        for cells in (texts, numbers):
            file.write_row(cells)
        with file.finish() as content:
            content.seek(0)
            rows = READERS[CSV if kind is CsvFile else XLSX](content.read())
        if kind is CsvFile:
            assert rows[0] == [*(f"'{text}" for text in texts[:6]), "'", None, " =1", "a=1", "'" + "=" * 40_000]
            assert rows[1][:6] == ["-1", "0.5", "-66.667", "true", "false", None]
        else:
            assert [cell or "" for cell in rows[0]] == [*texts[:-1], "=" * 32_767]
            assert rows[1][:6] == [-1, 0.5, -66.667, True, False, None]


def test_limit_and_cursor_change_nothing_but_must_be_valid(alice: Person, course):
    for _ in range(3):
        alice.start(course)
    path = "/stats/user/sessions"
    for media_type in MEDIA_TYPES:
        whole = table(alice, path, media_type)
        assert len(whole) == 4
        assert table(alice, alice.get(f"{path}?limit=1").links["next"]["url"], media_type) == whole
        for query in ("limit=0", "cursor=x", "colour=red", "from=x"):
            refused(alice.get(f"{path}?{query}", headers={"Accept": media_type}), 400, "invalid-input")


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_a_list_without_entries_is_a_header(alice: Person, media_type: str):
    assert table(alice, "/stats/user/sessions", media_type) == [list(LISTS["/stats/user/sessions"].columns)]


@pytest.mark.parametrize("accept", ["text/html", "text/csv;q=0", "image/*", "text/csv;q=inf", "", "*/*"])
def test_accept_is_never_refused(alice: Person, course, accept: str):
    alice.start(course)
    answer = alice.get("/stats/user/sessions", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["vary"] == "Accept"
    assert len(answer.json()) == 1


def test_other_routes_do_not_look_at_accept(tara: Person, alice: Person, course):
    alice.update(alice.start(course), module("Integers", 1))
    for person, path in ((alice, "/stats/user"), (alice, "/auth/me"), (tara, f"/stats/courses/{course['id']}")):
        answer = person.get(path, headers={"Accept": CSV})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert "vary" not in answer.headers


def test_errors_and_head_are_as_ever(nobody: Person, tara: Person, alice: Person, course):
    for media_type in MEDIA_TYPES:
        accept = {"Accept": media_type}
        refused(nobody.get("/users", headers=accept), 401, "token-missing")
        refused(alice.get("/users", headers=accept), 403, "forbidden")
        refused(tara.get(f"/stats/sessions/{COURSE_ID}", headers=accept), 404, "course-not-found")
        person = Person(tara.client, tara.token, headers=accept)
        path = f"/stats/sessions/{course['id']}"
        head = person.request("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == media_type
    answers_head(tara, "/users")


def test_lists_declare_their_tables(client: httpx.Client):
    assert set(LISTS) == {
        *("/users", "/course", "/audit"),
        *("/stats/sessions/{id}", "/stats/user/sessions", "/stats/users/{userId}/sessions"),
        *("/stats/courses/{courseId}/days", "/stats/user/days", "/stats/user/courses/{courseId}/days"),
        *("/stats/users/{userId}/days", "/stats/users/{userId}/courses/{courseId}/days"),
    }
    document = client.get("/openapi.json").json()
    for path, declared in LISTS.items():
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        assert set(content) == {"application/json", CSV, XLSX}
        assert content[CSV]["example"] == ",".join(declared.columns)
        assert "too-many-rows" in document["paths"][path]["get"]["responses"]["400"]["description"]


# -- large tables ------------------------------------------------------------------------------

SESSIONS = 5000
"""Of four modules each: exactly as many rows as XLSX may have."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("large")
    answers = {"answers": ["x" * 100] * 20, "isCompleted": True, "score": 1}
    sessions = [
        session(modulesStats=[line_of_module(f"M{n}", adaptive=answers) for n in range(4)]) for _ in range(SESSIONS)
    ]
    done = seneca("import", write(data / "in.jsonl", course(), user(), *sessions), "--data", data / "data")
    assert done.returncode == 0, done.stderr
    seneca("admin", "password", "alice", "--data", data / "data", input=PASSWORD)
    with running(data / "data") as server:
        yield server


def worker_of(server: Server) -> int:
    return int(re.search(r"PID: (\d+)", next(line for line in server.log_lines() if "Spawning" in line))[1])


class Others:
    """Somebody who sends a small request again and again while the block runs; ``seconds`` has the time of each."""

    def __init__(self, server: Server, path: str, token: str | None) -> None:
        self.seconds: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, args=(server, path, token))

    def _send(self, server: Server, path: str, token: str | None) -> None:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            while not self._stop.is_set():
                begun = time.perf_counter()
                assert Person(client, token).get(path).status_code == 200
                self.seconds.append(time.perf_counter() - begun)
                time.sleep(0.01)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


READERS: dict[str, Callable[[bytes], list[list[Any]]]] = {CSV: rows_of_csv, XLSX: rows_of_xlsx}


@pytest.mark.sqlite  # the same code writes on every engine; here the server's own memory is looked at
@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_20_000_rows_take_little_memory_and_others_are_answered(large: Server, media_type: str):
    """40 MB of answers; the server's memory grows by SQLite's cache and a page or two of sessions."""
    with httpx.Client(base_url=large.url, timeout=120) as client:
        alice = sign_in(client, "alice")
        alice.get("/auth/me")
        worker = worker_of(large)
        before = resident(worker)
        with Others(large, "/auth/me", alice.token) as others:
            answer = alice.get("/stats/user/sessions", headers={"Accept": media_type})
        assert answer.status_code == 200
        assert resident(worker) - before < 110_000_000
    assert len(others.seconds) > 20
    assert sorted(others.seconds)[len(others.seconds) // 2] < 0.5
    assert len(READERS[media_type](answer.content)) == 1 + 4 * SESSIONS == 1 + MAX_XLSX_ROWS


@pytest.mark.sqlite
def test_20_001_rows_are_refused_as_xlsx_only_and_leave_nothing(tmp_path: Path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with (
        running(tmp_path / "data", TMPDIR=str(temporary)) as server,
        httpx.Client(base_url=server.url, timeout=120) as client,
    ):
        sockets = sorted(temporary.rglob("*"))  # of the writer process
        sessions = [session(modulesStats=[]) for _ in range(MAX_XLSX_ROWS)]
        lines = write(tmp_path / "in.jsonl", course(), user(), *sessions)
        assert seneca("import", lines, "--data", server.data).returncode == 0
        seneca("admin", "password", "alice", "--data", server.data, input=PASSWORD)
        alice = sign_in(client, "alice")
        path, accept = "/stats/user/sessions", {"Accept": XLSX}
        assert alice.get(path, headers=accept).status_code == 200
        alice.post("/session/startSession", {"courseIdentifier": COURSE_ID, "topic": "Number"})
        body = refused(alice.get(path, headers=accept), 400, "too-many-rows")
        assert "20,000" in body["detail"]
        assert "text/csv" in body["detail"]
        assert alice.get(f"{path}?isEnd=true", headers=accept).status_code == 200
        assert len(table(alice, path, CSV)) == 1 + MAX_XLSX_ROWS + 1
        assert sorted(file.name for file in tmp_path.iterdir()) == ["data", "in.jsonl", "temporary"]
        assert sorted(temporary.rglob("*")) == sockets
        temporary.rename(tmp_path / "gone")
        for media_type in MEDIA_TYPES:
            refused(alice.get(f"{path}?isEnd=true", headers={"Accept": media_type}), 503, "service-unavailable")
        assert alice.get(path).status_code == 200
