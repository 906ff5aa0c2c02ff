"""Servers killed at random moments under load lose, halve and double nothing that they acknowledged.

``FAULTS=200`` is the long form, with a hundred acknowledged writes for each kill; ``make soak`` runs it.
"""

import os
import random
import time
from pathlib import Path

import pytest

from tests.helpers.load import Load, kill, stage
from tests.helpers.server import Server, launch_server, start_server

FAULTS = int(os.environ.get("FAULTS", "4"))
WRITES = 100  # acknowledged for each kill
CLIENTS = 6


@pytest.mark.parametrize("workers", [1, 2])
def test_kills_under_load_lose_halve_and_double_nothing(tmp_path: Path, workers: int):
    chance = random.Random()
    arguments = ("--workers", str(workers))
    with (
        stage(tmp_path, *arguments) as (server, tara, course),
        Load(server, tara, course, clients=CLIENTS) as load,
    ):
        for fault in range(1, FAULTS // 2 + 1):
            wait_for_writes(load, fault * WRITES)
            time.sleep(chance.uniform(0, 0.2))
            kill(server)
            with load.held():
                if chance.random() < 0.2:
                    kill_while_it_starts(server, chance, *arguments)
                server.process = start_server(tmp_path, *arguments, port=server.port).process
                load.check_answers(server)
        load.stop()
        load.check_answers(server)
        assert set(load.errors) <= {503}
        assert '"unhandled exception"' not in server.log.read_text()
        assert load.written >= FAULTS // 2 * WRITES


def wait_for_writes(load: Load, number: int) -> None:
    deadline = time.monotonic() + 60
    while load.written < number:
        assert time.monotonic() < deadline, "nothing is written any more"
        time.sleep(0.005)


def kill_while_it_starts(server: Server, chance: random.Random, *arguments: str) -> None:
    """The second kill comes before the first has been recovered from."""
    server.process = launch_server(server.data, *arguments, port=server.port).process
    time.sleep(chance.uniform(0, 1))
    kill(server)
