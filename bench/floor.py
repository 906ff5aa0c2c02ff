"""The floor under every number: the least that this stack can do, run as Seneca runs it.

A route that answers OK; and one that records an update as the design was sketched before it was built: the body
decoded, the statements of one update with differences that nobody has worked out, a savepoint for each request, one commit
for all that wait. Nobody is signed in, nothing is checked, merged, logged or put into headers.
"""

import asyncio
import os
import threading
from queue import Empty, SimpleQueue
from typing import Any

import apsw
import msgspec
from granian.constants import Interfaces, Loops
from granian.http import HTTP1Settings
from granian.server import Server
from litestar import Litestar, Request, get, put
from litestar.response.base import ASGIResponse
from msgspec.structs import asdict

from seneca.database.sqlite.engine import PRAGMAS
from seneca.database.sqlite.locks import wait_for_locks
from seneca.database.statements import expand_values, multi_row_insert
from seneca.server.processes import MAX_CONNECTIONS
from seneca.sessions.requests import UpdateSession
from seneca.sessions.results import ModuleUpdate, Part
from seneca.sessions.rows import RESULT_UPSERT, RESULTS_OF_MODULES, SESSION, UPDATE_RECORD, SessionRow
from seneca.stats.tables import COURSE_TOTALS, LEARNER_TOTALS

SESSIONS = "SELECT id, bucket, learner_id, course_id FROM sessions WHERE ended_at IS NULL"
NO_DIFFERENCE = dict.fromkeys(LEARNER_TOTALS.added_columns, 0)


class Recorder:
    """The sketch's writer: a thread, and the queue before it."""

    def __init__(self, path: str) -> None:
        self._connection = apsw.Connection(path, statementcachesize=200)
        wait_for_locks(self._connection, 5)
        self._connection.execute(PRAGMAS).fetchall()
        self._keys = {row[0]: row for row in self._connection.execute(SESSIONS)}
        self._queue: SimpleQueue[tuple[asyncio.Future[int], UpdateSession]] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, update: UpdateSession) -> "asyncio.Future[int]":
        """Queue an update; the future is done once it is on disk."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.put((future, update))
        return future

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            try:
                while True:
                    batch.append(self._queue.get_nowait())
            except Empty:
                pass
            self._connection.execute("BEGIN IMMEDIATE")
            points = [self._record(update) for _, update in batch]
            self._connection.execute("COMMIT")
            futures = [future for future, _ in batch]
            futures[0].get_loop().call_soon_threadsafe(_resolve, futures, points)

    def _record(self, update: UpdateSession) -> int:
        execute = self._connection.execute
        id_, bucket, learner_id, course_id = self._keys[str(update.session_id)]
        key = {"bucket": bucket, "learner_id": learner_id, "session_id": id_}
        rows = [_row(position, module) for position, module in enumerate(update.module_stats)]
        execute("SAVEPOINT request")
        session = SessionRow(*execute(SESSION, key).fetchone())
        text, names = expand_values(RESULTS_OF_MODULES, len(rows))
        execute(text, key | dict(zip(names, [row[0] for row in rows], strict=True))).fetchall()
        execute(UPDATE_RECORD, asdict(session) | {"points": session.points + 1})
        text, _ = multi_row_insert(RESULT_UPSERT, len(rows))
        execute(text, [value for row in rows for value in (bucket, learner_id, id_, *row)])
        totals = {**key, **NO_DIFFERENCE, "points": 1, "course_id": course_id}
        execute(LEARNER_TOTALS.add, totals)
        execute(COURSE_TOTALS.add, totals)
        execute("RELEASE request")
        return session.points


def _row(position: int, module: ModuleUpdate) -> tuple[object, ...]:
    quiz, adaptive = (
        msgspec.json.encode(part).decode() if isinstance(part, Part) else None
        for part in (module.quiz, module.adaptive)
    )
    return module.module_name, position, adaptive, quiz, None, 0, 0, None, None, None


def _resolve(futures: list["asyncio.Future[int]"], points: list[int]) -> None:
    for future, value in zip(futures, points, strict=True):
        if not future.done():
            future.set_result(value)


path = os.environ.get("FLOOR_DATABASE")
recorder = Recorder(path) if path else None
decoder = msgspec.json.Decoder(UpdateSession)


@get("/health")
async def health() -> ASGIResponse:
    """Answer."""
    return ASGIResponse(body=b"OK", media_type="text/plain")


@put("/session/updateSession")
async def update_session(request: Request[Any, Any, Any]) -> ASGIResponse:
    """Record an update of modules that have results already."""
    assert recorder is not None
    message: Any = await request.receive()
    update = decoder.decode(message["body"])
    points = await recorder.submit(update)
    answer = {"message": "Recorded", "sessionPoints": points, "updatedModulesStats": update.module_stats}
    return ASGIResponse(body=msgspec.json.encode(answer), media_type="application/json")


app = Litestar([health, update_session], openapi_config=None, logging_config=None)


def main() -> None:
    """Serve on ``FLOOR_PORT`` with ``FLOOR_WORKERS`` processes and the options of ``seneca.server.processes``."""
    Server(
        "bench.floor:app",
        address="127.0.0.1",
        port=int(os.environ["FLOOR_PORT"]),
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=int(os.environ["FLOOR_WORKERS"]),
        backlog=MAX_CONNECTIONS,
        backpressure=MAX_CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
        websockets=False,
    ).serve()


if __name__ == "__main__":
    main()
