"""Servers killed and PostgreSQL crashed under load: clients see 2xx or 503 only, and nothing acknowledged is lost or doubled.

``FAULTS=20`` is the long form; ``make soak`` runs it.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import engines
from tests.helpers.load import Load, kill, stage
from tests.helpers.server import start_server

pytestmark = pytest.mark.postgres  # about its crashes

FAULTS = int(os.environ.get("FAULTS", "4"))
RECOVERED = 5 if FAULTS >= 20 else 30  # seconds after its return; the short form runs beside other tests
CLIENTS, PAUSE = 8, 0.04  # some 200 requests a second


@pytest.fixture
def cluster() -> Iterator[engines.Postgres]:
    """A server of our own: with many databases its recovery would take long."""
    made = engines.Postgres(engines.binaries())
    yield made
    made.remove()


def test_crashes_under_load_lose_nothing_acknowledged_and_double_nothing(
    cluster: engines.Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engines, "engine", lambda: cluster)
    with (
        stage(tmp_path, "--workers", "2") as (server, tara, course),
        Load(server, tara, course, clients=CLIENTS, pause=PAUSE) as load,
    ):
        for fault in range(FAULTS):
            before = load.written
            if fault % 2:
                kill(server)
                server.process = start_server(tmp_path, "--workers", "2", port=server.port).process
            with cluster.away():
                time.sleep(0.3)
            back, written = time.monotonic(), load.written
            while load.written <= written + CLIENTS:
                assert time.monotonic() - back < RECOVERED, (Counter(load.errors), server.log_lines()[-20:])
                time.sleep(0.02)
            with load.held():
                load.check_answers(server)
            assert load.written > before
        load.stop()
        assert set(load.errors) <= {503}
        load.check_answers(server)
        assert '"unhandled exception"' not in server.log.read_text()
