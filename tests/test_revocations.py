"""How a worker learns which sign-ins have ended."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from seneca.auth import access_tokens, token_verifier
from seneca.auth.caller import ACCESS_TOKEN_TTL_SECONDS
from seneca.auth.signing_keys import SigningKey, SigningKeys
from seneca.auth.token_verifier import TokenVerifier
from seneca.common.ids import new_id
from seneca.database import Database, open_database
from seneca.errors import Unauthenticated
from tests.helpers.engines import engine

HOUR = ACCESS_TOKEN_TTL_SECONDS * 1000
INSERT = "INSERT INTO revocations (bucket, sign_in, ended_at) VALUES (:bucket, :sign_in, :ended_at)"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(engine().url(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def sign_ins(database: Database) -> TokenVerifier:
    return TokenVerifier(database, SigningKeys([SigningKey.of(secrets.token_hex(32))]), database.buckets)


def now() -> int:
    return time.time_ns() // 1_000_000


def end(database: Database, *ended_at: int) -> list[str]:
    """Sign-ins that another worker has ended, at these times."""
    rows = [{"bucket": 0, "sign_in": new_id(), "ended_at": time} for time in ended_at]
    with database.write_transaction() as tx:
        tx.insert_many(INSERT, rows)
    return [str(row["sign_in"]) for row in rows]


def refused(sign_ins: TokenVerifier, ended: list[str]) -> list[bool]:
    """Whether the tokens of these sign-ins are refused."""
    outcomes = []
    for sign_in in ended:
        token = access_tokens.issue(sign_ins.keys, account_id="account", role="user", sign_in=sign_in, now=now())
        try:
            sign_ins.verify(token)
        except Unauthenticated:
            outcomes.append(True)
        else:
            outcomes.append(False)
    return outcomes


def test_the_first_look_reads_all_of_the_last_hour(database: Database, sign_ins: TokenVerifier):
    ended = end(database, now() - HOUR + 1000, now() - HOUR // 2, now())
    asyncio.run(sign_ins.refresh_revocations())
    assert refused(sign_ins, ended) == 3 * [True]


def test_a_look_reads_what_was_committed_late_or_by_a_late_clock(database: Database, sign_ins: TokenVerifier):
    async def look() -> list[bool]:
        await sign_ins.refresh_revocations()
        ended = end(database, now() - token_verifier.OVERLAP_MS + 2000, now(), now() + 1000)
        await sign_ins.refresh_revocations()
        return refused(sign_ins, ended)

    assert asyncio.run(look()) == 3 * [True]


def test_what_was_committed_very_late_is_found_when_all_are_read(database: Database, sign_ins: TokenVerifier):
    async def look() -> list[bool]:
        await sign_ins.refresh_revocations()
        ended = end(database, now() - HOUR // 2)
        await sign_ins.refresh_revocations()
        before = refused(sign_ins, ended)
        await sign_ins.reload_revocations()
        return before + refused(sign_ins, ended)

    assert asyncio.run(look()) == [False, True]


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_set_hides_nothing(
    database: Database, sign_ins: TokenVerifier, monkeypatch: pytest.MonkeyPatch, hours: int
):
    async def look() -> list[bool]:
        await sign_ins.refresh_revocations()
        ended = end(database, now())
        monkeypatch.setattr(token_verifier, "_now_ms", lambda: now() + hours * HOUR)
        ended += end(database, now() + hours * HOUR)
        await sign_ins.refresh_revocations()
        return refused(sign_ins, ended)

    assert asyncio.run(look()) == [True, True]


def test_what_ended_here_stays_refused_while_all_are_read_and_afterwards(database: Database, sign_ins: TokenVerifier):
    async def look() -> list[bool]:
        (before,) = end(database, now())
        sign_ins.revoke([before])
        reading = asyncio.create_task(sign_ins.reload_revocations())
        await asyncio.sleep(0)
        (between,) = end(database, now())
        sign_ins.revoke([between])
        during = refused(sign_ins, [before, between])
        await reading
        return during + refused(sign_ins, [before, between])

    asyncio.run(sign_ins.refresh_revocations())
    assert asyncio.run(look()) == 4 * [True]


def test_what_ended_longer_ago_than_a_token_is_good_is_let_go(database: Database, sign_ins: TokenVerifier):
    async def look() -> int:
        await sign_ins.refresh_revocations()
        sign_ins.revoke([new_id()])  # which the database does not have
        end(database, now() - 2 * HOUR)
        await sign_ins.reload_revocations()
        await sign_ins.reload_revocations()
        return sum(map(len, sign_ins._ended))

    assert asyncio.run(look()) == 0


def test_a_fault_while_all_are_read_loses_nothing(tmp_path: Path):
    database = open_database(engine().url(tmp_path))
    sign_ins = TokenVerifier(database, SigningKeys([SigningKey.of(secrets.token_hex(32))]), database.buckets)
    ended = end(database, now())
    asyncio.run(sign_ins.refresh_revocations())
    database.close()
    with pytest.raises(Exception, match=r".*"):
        asyncio.run(sign_ins.reload_revocations())
    assert refused(sign_ins, ended) == [True]


def test_a_look_does_not_reread_what_is_long_known(database: Database, sign_ins: TokenVerifier):
    """300,000 sign-ins within the hour: a look every two seconds took 108 to 162 ms on the event loop."""
    with database.write_transaction() as tx:
        tx.copy_rows(INSERT, ((number % 64, new_id(), now() - HOUR // 2) for number in range(100_000)))

    async def look() -> tuple[float, float]:
        began = time.perf_counter()
        await sign_ins.refresh_revocations()
        all_of_them = time.perf_counter() - began
        took = []
        for _ in range(5):
            began = time.perf_counter()
            await sign_ins.refresh_revocations()
            took.append(time.perf_counter() - began)
        return all_of_them, min(took)

    all_of_them, few = asyncio.run(look())
    assert few < all_of_them / 10
