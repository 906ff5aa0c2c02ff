"""Any history of study keeps every answer equal to the model's, and every total to the recorded rows.

``HISTORY=soak`` runs hours of it.
"""

import itertools
import os
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from seneca.database import open_database
from tests.helpers import engines
from tests.helpers.accounts import sign_up
from tests.helpers.engines import engine
from tests.helpers.server import Server, running
from tests.history.machine import History

LENGTHS = {
    "": settings(max_examples=16 if engines.chosen == "sqlite" else 10, stateful_step_count=25),
    "soak": settings(max_examples=5000, stateful_step_count=60),
}
LENGTH = settings(
    LENGTHS[os.environ.get("HISTORY", "")],
    derandomize=False,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    data = tmp_path_factory.mktemp("history")
    with running(data) as one, running(data) as other:
        yield one, other


def test_any_history_keeps_every_answer_and_every_total_true(servers: tuple[Server, Server]):
    with (
        httpx.Client(base_url=servers[0].url, timeout=30) as one,
        httpx.Client(base_url=servers[1].url, timeout=30) as other,
    ):
        History.server, History.clients = servers[0], itertools.cycle([one, other])
        History.tara = sign_up(one, "tara", role="admin")
        History.database = open_database(engine().url(servers[0].data))
        try:
            run_state_machine_as_test(History, settings=LENGTH)
        finally:
            History.database.close()
