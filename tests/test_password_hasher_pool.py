"""The threads that hash, and the fair queue before them."""

import asyncio
import time
from contextlib import ExitStack

import pytest

from seneca.auth.password_hasher_pool import (
    MAX_HASHES_OF_ADDRESS,
    MAX_OF_ACCOUNT,
    MAX_OF_ADDRESS,
    MAX_WAITING,
    FairQueue,
    PasswordHasherPool,
)
from seneca.errors import ServiceUnavailable, TooManyRequests

pytestmark = pytest.mark.no_database


def test_hashes_and_verifies():
    async def use() -> None:
        stored = await pool.hash("secret")
        with pool.slot("here", "alice") as slot:
            assert await slot.verify(stored, "secret")
            assert not await slot.verify(stored, "Secret")
            assert await slot.verify(await slot.hash("new"), "new")

    pool = PasswordHasherPool()
    asyncio.run(use())
    pool.close()


@pytest.mark.parametrize("password", ["", "nobody's", "secret"])
def test_without_a_hash_no_password_is_right(password: str):
    async def use() -> bool:
        with pool.slot("here", "nobody") as slot:
            return await slot.verify(None, password)

    pool = PasswordHasherPool()
    assert not asyncio.run(use())
    pool.close()


def test_too_many_waiting_are_refused_and_the_rest_is_done():
    async def use() -> list[str | BaseException]:
        return await asyncio.gather(*(pool.hash("secret") for _ in range(4)), return_exceptions=True)

    pool = PasswordHasherPool()
    pool._waiting = MAX_WAITING - 2
    outcomes = asyncio.run(use())
    pool.close()
    assert [isinstance(outcome, str) for outcome in outcomes] == [True, True, False, False]
    error = outcomes[-1]
    assert isinstance(error, ServiceUnavailable)
    assert error.status == 503
    assert int(error.headers["Retry-After"]) > 0
    assert pool._waiting == MAX_WAITING - 2


def test_a_slot_is_refused_before_anything_is_done_and_holds_for_several_things():
    async def use() -> None:
        with pool.slot("here", "alice") as slot:
            with pytest.raises(ServiceUnavailable), pool.slot("here", "bob"):
                pass
            with pytest.raises(ServiceUnavailable):
                await pool.hash("secret")
            assert await slot.verify(await slot.hash("secret"), "secret")
        assert await pool.hash("secret")

    pool = PasswordHasherPool()
    pool._waiting = MAX_WAITING - 1
    asyncio.run(use())
    pool.close()


@pytest.mark.parametrize(
    ("limit", "account"), [(MAX_OF_ACCOUNT, lambda _: "alice"), (MAX_OF_ADDRESS, lambda number: f"learner-{number}")]
)
def test_an_account_and_an_address_have_few_slots_at_once(limit: int, account):
    pool = PasswordHasherPool()
    slots = [pool.slot("here", account(number)) for number in range(limit)]
    for slot in slots:
        slot.__enter__()
    with pytest.raises(TooManyRequests) as refused, pool.slot("here", account(limit)):
        pass
    assert refused.value.headers == {"Retry-After": "1"}
    with pool.slot("elsewhere", "bob"):
        pass
    slots.pop().__exit__(None, None, None)
    with pool.slot("here", account(limit)):
        pass
    for slot in slots:
        slot.__exit__(None, None, None)
    assert pool._waiting == 0
    assert not pool._of_account
    assert not pool._of_address
    pool.close()


def test_who_floods_an_account_from_elsewhere_takes_no_slot_of_its_owner():
    pool = PasswordHasherPool()
    with ExitStack() as flood:
        for _ in range(MAX_OF_ACCOUNT):
            flood.enter_context(pool.slot("elsewhere", "alice"))
        with pytest.raises(TooManyRequests), pool.slot("elsewhere", "alice"):
            pass
        with pool.slot("here", "alice"):
            pass
    pool.close()


def test_registrations_of_one_address_leave_room_for_sign_ins():
    async def use() -> None:
        flood = [asyncio.create_task(pool.hash(str(number), "flood")) for number in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with ExitStack() as others:
            for number in range(MAX_OF_ADDRESS):
                others.enter_context(pool.slot("flood", f"learner-{number}"))
            with pool.slot("elsewhere", "alice"):
                pass
        assert await pool.hash("secret", "elsewhere")
        for task in flood:
            task.cancel()
        ends = await asyncio.gather(*flood, return_exceptions=True)
        assert sum(isinstance(end, ServiceUnavailable) for end in ends) == MAX_WAITING - MAX_HASHES_OF_ADDRESS

    pool = PasswordHasherPool(1)
    asyncio.run(use())
    assert pool._waiting == 0
    assert not pool._hashes
    pool.close()


def test_of_an_account_at_an_address_few_take_a_turn_at_once():
    pool = PasswordHasherPool()
    with ExitStack() as flood:
        for _ in range(MAX_OF_ACCOUNT):
            flood.enter_context(pool.permit("elsewhere", "alice"))
        with pytest.raises(TooManyRequests), pool.permit("elsewhere", "alice"):
            pass
        with pool.permit("here", "alice"), pool.permit("elsewhere", "bob"):
            pass
    assert not pool._permits
    pool.close()


def test_addresses_take_turns_and_so_do_the_accounts_of_one():
    queue = FairQueue()
    for address, account, job in (
        ("school", "flood", "f1"),
        ("school", "flood", "f2"),
        ("school", "flood", "f3"),
        ("school", "alice", "a1"),
        ("home", "bob", "b1"),
        ("school", "carol", "c1"),
        ("home", "bob", "b2"),
    ):
        queue.push(address, account, job)
    served = []
    while queue:
        served.append(queue.pop())
    assert served == ["f1", "b1", "a1", "b2", "c1", "f2", "f3"]


def test_another_address_does_not_wait_behind_a_full_one():
    async def use() -> tuple[int, int]:
        served: list[str] = []
        stored = await pool.hash("secret")

        async def sign_in(address: str, account: str) -> None:
            with pool.slot(address, account) as slot:
                assert await slot.verify(stored, "secret")
            served.append(address)

        flood = [asyncio.create_task(sign_in("flood", f"learner-{number}")) for number in range(MAX_OF_ADDRESS)]
        await asyncio.sleep(0)
        await sign_in("school", "alice")
        before = len(served)
        await asyncio.gather(*flood)
        return before, len(served)

    pool = PasswordHasherPool(1)
    before, in_all = asyncio.run(use())
    pool.close()
    assert before <= 3
    assert in_all == MAX_OF_ADDRESS + 1


def test_who_has_gone_is_not_hashed_for():
    async def use() -> None:
        waiting = [asyncio.create_task(pool.hash(str(number))) for number in range(20)]
        await asyncio.sleep(0.001)
        for task in waiting[2:]:
            task.cancel()
        began = time.monotonic()
        await asyncio.gather(*waiting, return_exceptions=True)
        await pool.hash("another")
        assert time.monotonic() - began < 10
        assert pool._waiting == 0
        assert not pool._queue

    pool = PasswordHasherPool(1)
    asyncio.run(use())
    pool.close()
