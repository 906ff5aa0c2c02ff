"""Reads that wait for a slot check the caller's sign-in again afterwards."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from seneca.auth.caller import Caller
from seneca.common.fair_slots import FairSlots
from seneca.errors import Unauthenticated
from seneca.http.auth import CALLER
from seneca.http.limits import long_reads

pytestmark = pytest.mark.no_database


@pytest.mark.parametrize("read", [long_reads.scan, long_reads.export])
def test_a_caller_who_signs_out_while_waiting_for_a_slot_reads_nothing(read: Any):
    async def use() -> None:
        slots = FairSlots(1)
        ended: list[str] = []
        reads: list[str] = []
        amy = Caller("amy", "admin", 0, "her-sign-in")

        def verify(_token: str) -> Caller:
            if ended:
                raise Unauthenticated("signed-out")
            return amy

        async def scan(*_: object) -> None:
            reads.append("all")

        state = SimpleNamespace(
            list_slots=slots,
            export_slots=slots,
            token_verifier=SimpleNamespace(verify=verify),
            database=SimpleNamespace(scan=scan),
        )
        scope = {
            CALLER: amy,
            "headers": [(b"authorization", b"Bearer hers")],
            "litestar_app": SimpleNamespace(state={"services": state}),
        }
        request = cast("Any", SimpleNamespace(scope=scope))
        async with slots.slot("bob"):
            waiting = asyncio.create_task(read(request, lambda _: None))
            await asyncio.sleep(0)
            ended.append("her-sign-in")
        with pytest.raises(Unauthenticated):
            await waiting
        assert not reads
        async with asyncio.timeout(1), slots.slot("carol"):
            pass

    asyncio.run(use())
