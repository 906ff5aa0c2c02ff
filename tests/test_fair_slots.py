"""An account's long reads delay another account by one job at most."""

import asyncio
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest

from seneca.common.fair_slots import FairSlots
from tests.helpers.accounts import sign_in
from tests.helpers.commands import seneca
from tests.helpers.exchange import ALICE_ID, CHARLIE_ID, course, session, user, write
from tests.helpers.exchange import module as line_of_module
from tests.helpers.load import wait_for
from tests.helpers.server import PASSWORD, running


async def hold(slots: FairSlots, account: str, order: list[str], done: asyncio.Event) -> None:
    async with slots.slot(account):
        order.append(account)
        await done.wait()


@pytest.mark.no_database
def test_a_slot_goes_to_the_account_that_holds_the_fewest():
    async def main() -> None:
        slots, order = FairSlots(2), []
        events = [asyncio.Event() for _ in range(8)]
        accounts = ["greedy"] * 6 + ["other", "third"]
        tasks = [
            asyncio.create_task(hold(slots, account, order, event))
            for account, event in zip(accounts, events, strict=True)
        ]
        await asyncio.sleep(0.01)
        assert order == ["greedy", "greedy"]
        events[0].set()
        await asyncio.sleep(0.01)
        assert order == ["greedy", "greedy", "other"]
        events[1].set()
        await asyncio.sleep(0.01)
        assert order == ["greedy", "greedy", "other", "third"]
        for event in events:
            event.set()
        await asyncio.gather(*tasks)
        assert Counter(order) == {"greedy": 6, "other": 1, "third": 1}

    asyncio.run(main())


@pytest.mark.no_database
def test_a_cancelled_task_takes_no_slot_and_keeps_none():
    async def main() -> None:
        slots, order = FairSlots(1), []
        events = [asyncio.Event() for _ in range(4)]
        tasks = [asyncio.create_task(hold(slots, f"a{n}", order, event)) for n, event in enumerate(events)]
        await asyncio.sleep(0.01)
        tasks[1].cancel()  # it waits
        tasks[0].cancel()  # it holds the slot, which goes to a2
        await asyncio.sleep(0.01)
        assert order == ["a0", "a2"]
        events[2].set()
        tasks[3].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(3):
            async with asyncio.timeout(1), slots.slot("later"):
                pass

    asyncio.run(main())


def test_lists_and_sessions_do_not_wait_for_exports(tmp_path: Path):
    answers = {"answers": ["x" * 1000] * 10, "isCompleted": True, "score": 1}
    long = [session(modulesStats=[line_of_module(f"M{n}", adaptive=answers) for n in range(10)]) for _ in range(1000)]
    mine = session(userId=CHARLIE_ID)
    people = [user(), user(id=CHARLIE_ID, username="charlie")]
    done = seneca("import", write(tmp_path / "in.jsonl", course(), *people, *long, mine), "--data", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    for name in ("alice", "charlie"):
        seneca("admin", "password", name, "--data", tmp_path / "data", input=PASSWORD)
    with running(tmp_path / "data") as server, httpx.Client(base_url=server.url, timeout=60) as client:
        alice, charlie = sign_in(client, "alice", id=ALICE_ID), sign_in(client, "charlie")
        begun, finished = [], []
        may_read = threading.Event()

        def export() -> None:
            headers = {"Authorization": f"Bearer {alice.token}"}
            with (
                httpx.Client(base_url=server.url, timeout=120) as own,
                own.stream("GET", "/auth/me/export", headers=headers) as answer,
            ):
                begun.append(answer.status_code)
                may_read.wait(60)
                finished.append(sum(map(len, answer.iter_bytes())))

        threads = [threading.Thread(target=export) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(begun) >= 2)
        assert charlie.get(f"/session/{mine['id']}").status_code == 200
        for path in ("/stats/user/sessions", "/course"):
            assert charlie.get(path).status_code == 200
        assert finished == []
        may_read.set()
        for thread in threads:
            thread.join()
        assert begun == [200] * 4
        assert min(finished) > 100_000_000
