"""Options and fixtures: a real server on a real database; Alice learns, Tara administers, Charlie is a stranger.

One server runs for each test process. Tests make their own learners and courses, so that they need not clean up.
"""

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest

from seneca.settings import usable_cores
from tests.helpers import engines
from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.server import Server, running

hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

LONGEST = (
    "test_openapi.py",
    "test_erased_files.py",
    "test_login_throttle.py",
    "test_history.py",
    "test_session_devices.py",
    "test_backup.py",
    "test_hostile.py",
    "test_restore_tokens.py",
    "test_me_erase.py",
    "test_password_hasher_pool.py",
    "test_me_export.py",
    "test_full_disk.py",
    "test_power.py",
    "test_erase_large.py",
    "test_session_races.py",
    "test_import_load.py",
)
"""Files that take longest, which begin first, or the others would end long before them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=engines.ENGINES, default="sqlite", help="the database to test on")
    parser.addoption("--citus", metavar="URL", default="", help="with --engine citus: a database on the coordinator")


def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: tests wait for processes, disks and clocks about a third of their time."""
    return usable_cores() + 2


def pytest_configure(config: pytest.Config) -> None:
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)  # no certificates: each new client takes 20 ms to read them
    engines.chosen = config.getoption("engine")
    engines.cluster_url = config.getoption("citus")
    if (engines.chosen == "citus") != bool(engines.cluster_url):
        raise pytest.UsageError("--engine citus and --citus postgresql://… go together")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about another engine; on PostgreSQL also what asks no database."""
    others = {"sqlite": ["postgres"], "citus": ["sqlite", "no_database", "postgres", "old_schema"]}.get(
        config.getoption("engine"), ["sqlite", "no_database"]
    )
    left_out = [item for item in items if any(item.get_closest_marker(other) for other in others)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = in_order([item for item in items if item not in set(left_out)])


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Deal the longest files to the workers, each of which begins with an equal part of the list."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    longest = [[item for item in items if item.path.name == name] for name in LONGEST]
    others = [item for item in items if item.path.name not in LONGEST]
    order: list[pytest.Item] = []
    for worker in range(workers):
        first = list(chain.from_iterable(longest[worker::workers]))
        part = max((len(items) - len(order)) // (workers - worker) - len(first), 0)
        order += first + others[:part]
        del others[:part]
    return order + others


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("seneca")) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def tara(client: httpx.Client) -> Person:
    """The administrator (the first one: registered straight from this machine)."""
    return sign_up(client, "tara", role="admin")


@pytest.fixture
def nobody(client: httpx.Client) -> Person:
    """Someone without a token."""
    return Person(client)


@pytest.fixture
def alice(client: httpx.Client, tara: Person) -> Person:
    """A learner, new for each test."""
    return sign_up(client, "alice")


@pytest.fixture
def charlie(client: httpx.Client, tara: Person) -> Person:
    """Another learner, new for each test."""
    return sign_up(client, "charlie")


@pytest.fixture
def course(tara: Person) -> dict[str, Any]:
    return make_course(tara)
