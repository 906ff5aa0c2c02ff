"""Seneca on PostgreSQL: the same table, and beside it the update's own statements through pgbench, which is the limit.

PostgreSQL 18 from a wheel, on the same machine, ``synchronous_commit`` on. A thousand learners write in turn.
"""

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
from tests.helpers import engines

from bench.exchange import Contents, write_sessions
from bench.machine import Watch
from bench.report import ONE, TWO, UPDATE
from bench.rounds import Loads, Plan, measure, say
from bench.servers import running_seneca
from bench.sizes import Imported, import_new
from bench.stage import MODULES, Stage
from bench.wrk import Failed, Load
from seneca import settings
from seneca.auth.access_tokens import issue
from seneca.auth.signing_keys import load_signing_keys
from seneca.database.postgres.transaction import FOR_UPDATE, to_array_comparison
from seneca.sessions import rows
from seneca.stats import tables, totals

LEARNERS = 1000
SESSIONS = 20_000
TOGETHER = 8  # updates in one run of the script, so that looking their learners up costs little
PGBENCH = "pgbench, the update's statements"
UNENDED = """
SELECT learner_id, id FROM sessions WHERE course_id = %s AND topic = 'Starting' AND ended_at IS NULL
"""
LEARNERS_IN_ROWS = """
CREATE TABLE bench_learners AS
SELECT (n - 1) / {together} AS row, (n - 1) % {together} AS place, bucket, learner_id, session_id
FROM (SELECT row_number() OVER (ORDER BY s.id) AS n, s.bucket, s.learner_id, s.id AS session_id
      FROM sessions s WHERE s.ended_at IS NULL) numbered;
CREATE INDEX ON bench_learners (row);
ANALYZE;
"""


@contextmanager
def cluster() -> Iterator[engines.Postgres]:
    """A PostgreSQL of one's own."""
    engines.chosen = "postgres"
    made = engines.Postgres(engines.binaries(), fsync="on", shared_buffers="512MB")
    try:
        yield made
    finally:
        made.remove()


def measure_postgres(plan: Plan, directory: Path, operations: Sequence[str]) -> tuple[Loads, Imported]:
    """Import sessions, then every operation with one worker and with two, then pgbench.

    Raises:
        Failed: something of it did.

    """
    with cluster() as server, ExitStack() as stack:
        data = directory / "postgres" / "data"
        environment = server.environment(data)
        write = partial(write_sessions, sessions=SESSIONS, writers=LEARNERS)
        _, contents, imported = import_new(directory / "postgres", write, plan.patience, **environment)
        with psycopg.connect(server.url(data), autocommit=True) as connection:
            connection.execute(LEARNERS_IN_ROWS.format(together=TOGETHER))
        contenders = {}
        for workers, name in ((1, ONE), (2, TWO)):
            port = stack.enter_context(running_seneca(data, workers, **environment))
            contenders[name] = stage(port, data, contents, server.url(data)).contender()
        loads = measure(plan, contenders, operations)
        loads[PGBENCH, UPDATE] = [pgbench(server, data, contents.course_id, plan) for _ in range(plan.rounds)]
    return loads, imported


def stage(port: int, data: Path, contents: Contents, url: str) -> Stage:
    """A server's people, with tokens that its own key signs."""
    keys = load_signing_keys(settings.read({}, data=data))
    now = time.time_ns() // 1_000_000
    admin = issue(keys, account_id=contents.admin_id, role="admin", sign_in="bench", now=now)
    learners = [
        replace(learner, token=issue(keys, account_id=learner.id, role="user", sign_in="bench", now=now))
        for learner in contents.learners
    ]

    def unended(course_id: str) -> list[tuple[str, str]]:
        with closing(psycopg.connect(url)) as connection:
            return connection.execute(UNENDED, (course_id,)).fetchall()

    return Stage(port, data, admin, learners, contents.course_id, contents.course_id, unended)


# -- pgbench -----------------------------------------------------------------------------------


def script() -> str:
    """One run: some learners looked up, and for each the two round trips of an update with three modules."""
    columns = ", ".join(
        f"max({name}) FILTER (WHERE place = {place}) AS {name}_{place}"
        for place in range(TOGETHER)
        for name in ("bucket", "learner_id", "session_id")
    )
    lines = [
        f"\\set row random(0, {LEARNERS // TOGETHER - 1})",
        f"SELECT {columns} FROM bench_learners WHERE row = :row \\gset",
        *(line for place in range(TOGETHER) for line in update(place)),
    ]
    return "\n".join(lines) + "\n"


def update(place: int) -> list[str]:
    """The statements that Seneca sends for an update whose modules have results already, in its two pipelines."""
    row = "(:bucket, :learner_id, :session_id, :module_{0}, {0}, :part, :part, NULL, :score, :score, :at, :at, NULL)"
    put_results = _VALUES.sub("VALUES " + ", ".join(row.format(n) for n in range(len(MODULES))), rows.RESULT_UPSERT)
    queries = [
        rows.SESSION + FOR_UPDATE,
        to_array_comparison(rows.RESULTS_OF_MODULES),
        totals.NAMES_IN_COURSE_OF_SESSION + FOR_UPDATE,
        to_array_comparison(totals.KNOWN_IN_COURSE_OF_SESSION),
    ]
    update_session = re.sub(r":id\b", ":session_id", rows.UPDATE_RECORD)
    written = [update_session, put_results, tables.LEARNER_TOTALS.add, tables.COURSE_TOTALS.add]
    pipelines = [["BEGIN", *queries], [*written, "COMMIT"]]
    lines = ["\\set score random(100, 999)"]
    for statements in pipelines:
        lines += ["\\startpipeline", *(f"{' '.join(sql.split())};" for sql in statements), "\\endpipeline"]
    return [re.sub(r":(bucket|learner_id|session_id)\b", rf":\1_{place}", line) for line in lines]


_VALUES = re.compile(r"VALUES\s*\([^)]*\)")


def pgbench(server: engines.Postgres, data: Path, course_id: str, plan: Plan) -> Load:
    """One run. Raises Failed."""
    file = data / "update.pgbench"
    file.write_text(script())
    part = '{"answers":["A","B"],"isCompleted":true,"score":50}'
    definitions = {"part": part, "values": "{" + ",".join(MODULES) + "}", "results": 3, "points": 100, "bytes": 300}
    definitions |= {
        "sessions": 0,
        "milliseconds": 0,
        "active_milliseconds": 0,
        "at": 0,
        "activity": "[]",
        "names": 0,
        "name_changes": 0,
        "course_id": course_id,
    }
    definitions |= {f"module_{n}": name for n, name in enumerate(MODULES)}
    command = [server.binaries / "pgbench", "--no-vacuum", "--protocol=prepared", f"--file={file}"]
    command += [f"--client={plan.connections}", "--jobs=1", f"--time={plan.seconds}"]
    command += [f"--define={name}={value}" for name, value in definitions.items()]
    watch = Watch()
    done = subprocess.run(
        [*map(str, command), server.url(data)], capture_output=True, text=True, check=False, timeout=plan.seconds + 60
    )
    rate = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode != 0 or rate is None:
        raise Failed(f"pgbench failed:\n{done.stderr[-2000:]}")
    latency = re.search(r"latency average = ([0-9.]+)", done.stdout)
    average = float(latency[1]) / TOGETHER if latency else 0.0
    say(f"{PGBENCH}: {float(rate[1]) * TOGETHER:9,.0f}/s")
    return Load(float(rate[1]) * TOGETHER, average, average, watch.others())
