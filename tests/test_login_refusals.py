"""The response time of a rejected login does not reveal whether the name exists."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from seneca.auth.login import set_error_account
from seneca.errors import TooManyRequests

pytestmark = pytest.mark.no_database


@pytest.mark.parametrize("known", [None, "amy"])
def test_the_account_is_read_whether_or_not_the_error_has_one(known: str | None):
    names: list[str] = []

    async def read(_: object, name: str) -> Any:
        names.append(name)
        return SimpleNamespace(id="amy")

    error = TooManyRequests(1000)
    error.account = known
    asyncio.run(set_error_account(cast("Any", SimpleNamespace(database=SimpleNamespace(read=read))), "Amy", error))
    assert names == ["Amy"]
    assert error.account == "amy"
