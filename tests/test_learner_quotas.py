"""What one learner may store in an hour: SENECA_MAX_LEARNER_WRITES and SENECA_MAX_LEARNER_BYTES."""

import asyncio
from collections import Counter
from pathlib import Path

import httpx
import pytest

from seneca.accounts import Learner
from seneca.common.ids import bucket_of, new_id
from seneca.database import Database, open_database
from seneca.errors import QuotaExceeded, ServiceUnavailable, SessionEnded, Unauthenticated
from seneca.sessions.learner_quotas import CHUNKS, WINDOW_MS, Amount, LearnerQuotas
from tests.helpers.accounts import make_course, sign_up
from tests.helpers.assertions import refused
from tests.helpers.engines import engine
from tests.helpers.erasure import tables_with
from tests.helpers.server import running
from tests.helpers.wire import clients_of_workers, module

NOW = 1_750_000_000_000
MAX_BYTES = 1_000_000


def exceeded(answer: httpx.Response) -> int:
    """Assert that a request was refused for its learner's quota; returns for how many seconds."""
    body = refused(answer, 429, "quota-exceeded")
    seconds = int(answer.headers["retry-after"])
    assert f"{seconds:,} seconds" in body["detail"]
    return seconds


def test_the_sixth_write_is_refused_on_whichever_worker(tmp_path: Path):
    limits = {"SENECA_MAX_LEARNER_WRITES": "5", "SENECA_WORKERS": "2"}
    with running(tmp_path, **limits) as server:
        clients = clients_of_workers(server, 2)
        tara = sign_up(clients[0], "tara", role="admin")
        course = make_course(tara)
        alice, charlie = sign_up(clients[0], "alice"), sign_up(clients[0], "charlie")
        session_id = alice.start(course)
        for n, client in enumerate((clients[1], clients[0], clients[1])):
            alice.client = client
            alice.update(session_id, module("Integers", n))
        ended = alice.end(session_id)
        before = server.rows("SELECT * FROM sessions"), server.rows("SELECT * FROM results")
        start = {"courseIdentifier": course["id"], "topic": "Number"}
        for client in clients:
            alice.client = client
            assert 0 < exceeded(alice.post("/session/startSession", start)) <= 3600
            update = {"sessionId": session_id, "moduleStats": [module("Integers", 9)]}
            assert 0 < exceeded(alice.put("/session/updateSession", update)) <= 3600
            assert 0 < exceeded(alice.put("/session/endSession", {"sessionId": session_id})) <= 3600
        assert (server.rows("SELECT * FROM sessions"), server.rows("SELECT * FROM results")) == before
        assert alice.get(f"/session/{session_id}").json()["sessionEnd"] == ended
        assert alice.get("/auth/me/export").json()["hourlyQuota"]["writes"] == 5
        charlie.start(course)  # the bound is each learner's own
        for client in clients:
            client.close()
    errors = [line for line in server.log_lines() if '"status":429' in line]
    assert len(errors) == 6
    assert all(alice.id in line for line in errors)
    with running(tmp_path, **limits) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        alice.client = client
        exceeded(alice.post("/session/startSession", start))


def test_bytes_are_those_of_the_results_as_they_are_stored(tmp_path: Path):
    limit = {"SENECA_MAX_LEARNER_BYTES": str(MAX_BYTES)}
    with running(tmp_path, **limit) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara, alice = sign_up(client, "tara", role="admin"), sign_up(client, "alice")
        session_id = alice.start(make_course(tara))
        part = {"answers": ["x" * 1000] * 99, "isCompleted": True, "score": 1}
        stored = 0
        for n in range(9):
            alice.update(session_id, {"moduleName": f"M{n}", "adaptive": part})
            ((stored,),) = server.rows("SELECT bytes FROM sessions WHERE id = :id", id=session_id)
        assert MAX_BYTES - 110_000 < stored < MAX_BYTES
        update = {"sessionId": session_id, "moduleStats": [{"moduleName": "M9", "adaptive": part, "quiz": part}]}
        exceeded(alice.put("/session/updateSession", update))
        assert server.rows("SELECT bytes FROM sessions WHERE id = :id", id=session_id) == [(stored,)]
        alice.update(session_id, module("Small", 1))  # what is smaller still fits
        alice.end(session_id)


def test_an_erased_learner_leaves_no_row(tmp_path: Path):
    with running(tmp_path) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara, alice = sign_up(client, "tara", role="admin"), sign_up(client, "alice")
        alice.start(make_course(tara))
        assert "learner_quotas" in tables_with(server, alice.id)
        assert tara.delete(f"/users/{alice.id}").status_code == 204
        assert "learner_quotas" not in tables_with(server, alice.id)


# -- without HTTP ------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path):
    database = open_database(engine().url(tmp_path), 4)
    yield database
    database.close()


@pytest.fixture
def learner(database: Database) -> Learner:
    id_ = new_id()
    bucket = bucket_of(id_, database.buckets)
    with database.write_transaction() as tx:
        tx.execute(
            "INSERT INTO accounts (id, bucket, username, email, role, created_at) "
            "VALUES (:id, :bucket, 'alice', 'alice@example.org', 'user', 0)",
            id=id_,
            bucket=bucket,
        )
    return Learner(id_, bucket)


async def charge(quotas: LearnerQuotas, learner: Learner, size: int = 0, now: int = NOW) -> bool:
    try:
        async with quotas.charge(learner, size, now):
            await asyncio.sleep(0)
            return True
    except QuotaExceeded:
        return False


def test_many_at_once_and_many_workers_share_one_bound(database: Database, learner: Learner):
    async def main() -> None:
        workers = [LearnerQuotas(database, Amount(37, 10**9)) for _ in range(3)]
        outcomes = Counter(await asyncio.gather(*(charge(workers[n % 3], learner) for n in range(120))))
        assert outcomes == {True: 37, False: 83}

    asyncio.run(main())


def test_a_worker_reserves_a_hundredth_at_a_time(database: Database, learner: Learner):
    async def main() -> None:
        quotas = LearnerQuotas(database, Amount(20_000, 10**6))
        for n in range(1, 1001):
            assert await charge(quotas, learner, size=10)
            if n % 200 == 1:
                with database.read_transaction() as tx:
                    ((writes, size),) = tx.fetch_all("SELECT writes, bytes FROM learner_quotas")
                assert writes == (n // 200 + 1) * 20_000 // CHUNKS
                assert size == 10**6 // CHUNKS

    asyncio.run(main())


def test_the_bound_is_of_an_hour(database: Database, learner: Learner):
    async def main() -> None:
        first, second = (LearnerQuotas(database, Amount(4, 100)) for _ in range(2))
        assert [await charge(first, learner) for _ in range(5)] == [True] * 4 + [False]
        assert not await charge(second, learner, now=NOW + WINDOW_MS - 1)
        with pytest.raises(QuotaExceeded) as error:
            async with first.charge(learner, 0, NOW + WINDOW_MS - 1500):
                pass
        assert error.value.headers == {"Retry-After": "2"}
        for quotas in (first, second):
            assert [await charge(quotas, learner, now=NOW + WINDOW_MS) for _ in range(2)] == [True, True]
        assert not await charge(first, learner, now=NOW + WINDOW_MS)
        assert not await charge(second, learner, now=NOW + WINDOW_MS - 1000)  # another server's clock is behind
        assert await charge(second, learner, now=NOW - WINDOW_MS)  # the clock was set back: another hour begins
        assert not await charge(second, learner, size=101, now=NOW - WINDOW_MS)

    asyncio.run(main())


def test_what_is_refused_for_another_reason_is_not_counted(database: Database, learner: Learner):
    async def main() -> None:
        quotas = LearnerQuotas(database, Amount(3, 100))

        async def fail(error: Exception) -> None:
            async with quotas.charge(learner, 60, NOW):
                raise error

        for _ in range(10):
            with pytest.raises(SessionEnded):
                await fail(SessionEnded(0))
        with pytest.raises(ServiceUnavailable):  # that one may have been stored
            await fail(ServiceUnavailable())
        assert not await charge(quotas, learner, size=60)
        assert [await charge(quotas, learner, size=20) for _ in range(3)] == [True, True, False]

    asyncio.run(main())


def test_nobody_reserves_for_an_account_that_is_gone(database: Database):
    async def main() -> None:
        with pytest.raises(Unauthenticated):
            async with LearnerQuotas(database, Amount(3, 100)).charge(Learner(new_id(), 1), 0, NOW):
                pass

    asyncio.run(main())
    with database.read_transaction() as tx:
        assert tx.fetch_all("SELECT * FROM learner_quotas") == []
