"""What a refused sign-in costs says nothing of whether the name exists."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from seneca.api.auth import set_error_account
from seneca.errors import TooManyRequests

pytestmark = pytest.mark.no_database


@pytest.mark.parametrize("known", [None, "amy"])
def test_a_refusal_asks_for_the_account_whether_or_not_it_is_known(known: str | None):
    names: list[str] = []

    async def read(_: object, name: str) -> Any:
        names.append(name)
        return SimpleNamespace(id="amy")

    refusal = TooManyRequests(1000)
    refusal.account = known
    asyncio.run(set_error_account(cast("Any", SimpleNamespace(database=SimpleNamespace(read=read))), "Amy", refusal))
    assert names == ["Amy"]
    assert refusal.account == "amy"
