"""The use cases of the domain, without a web request: as pages and the command line call them."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from seneca import accounts, audit, courses, school
from seneca.accounts import commands, registration
from seneca.accounts.registration import Registration
from seneca.auth import login, password_hashes, password_policy, passwords
from seneca.auth.authorisation import COMMAND_LINE
from seneca.auth.caller import Caller
from seneca.auth.password_hasher_pool import PasswordHasherPool
from seneca.auth.services import Services
from seneca.auth.signing_keys import load_signing_keys
from seneca.auth.token_verifier import TokenVerifier
from seneca.common.fair_slots import FairSlots
from seneca.common.ids import bucket_of, new_id
from seneca.courses import CourseChange, NewCourse, Topic, marks
from seneca.courses import commands as course_commands
from seneca.courses.marks import CourseSettingsChange
from seneca.database import Database, open_database
from seneca.errors import (
    CourseNotFound,
    InvalidCredentials,
    LastAdministrator,
    OwnAccount,
    RegistrationClosed,
    TooManyRequests,
    Unauthenticated,
)
from seneca.privacy import data_export, erasure
from seneca.school import SettingsChange
from seneca.settings import Settings
from tests.helpers.engines import engine

ADDRESS = "192.0.2.1"
PASSWORD = "correct-horse-42"
NEW = "another-secret-42"
HASH = passwords.hash_password(PASSWORD)
ADA = Registration("ada", "ada@example.org", PASSWORD, "admin")
RAE = Registration("rae", "rae@example.org", PASSWORD)
MATHEMATICS = NewCourse("Mathematics", "GCSE", [Topic("Number", [])])
FIRST_ENTRIES = (audit.FIRST_PAGE, 100)


def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(engine().url(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def services(tmp_path: Path, database: Database) -> Iterator[Services]:
    settings = Settings(data=tmp_path)
    verifier = TokenVerifier(database, load_signing_keys(settings), database.buckets)
    verifier.load_revocations()
    pool = PasswordHasherPool(1)
    yield Services(
        settings=settings,
        clock=now,
        database=database,
        token_verifier=verifier,
        password_hashers=pool,
        password_policy=password_policy.DEFAULT,
        sign_in_slots=FairSlots(1),
    )
    pool.close()


def run(database: Database, f: Any, *args: Any, **kwargs: Any) -> Any:
    """The result of a domain function, which is committed."""
    return asyncio.run(database.write(f, *args, **kwargs))


def register(database: Database, account: Registration = RAE, password_hash: str = HASH) -> str:
    return run(database, registration.register, COMMAND_LINE, account, password_hash, now())


def entries(database: Database) -> list[tuple[str | None, str, str | None]]:
    """Actor, action and target of the audit entries, oldest first."""
    page = run(database, audit.page, *FIRST_ENTRIES)
    return [(entry.actor, entry.action, entry.target) for entry in reversed(page.items)]


def counted(database: Database) -> int:
    """How many failed attempts are counted in all."""
    with database.read_transaction() as tx:
        return sum(row[0] for row in tx.fetch_all("SELECT tries FROM throttles"))


def test_the_command_line_may_do_everything_and_is_audited(database: Database):
    ada, rae = register(database, ADA), register(database)
    account, ended = run(database, commands.change, COMMAND_LINE, rae, role="admin", password_hash=HASH, now=now())
    assert (account.role, ended) == ("admin", [])
    course = run(database, course_commands.create, COMMAND_LINE, MATHEMATICS, now())
    change = CourseChange(qualification="A-level")
    changed = run(database, course_commands.change, COMMAND_LINE, course.id, change, if_match=None, now=now())
    assert changed.qualification == "A-level"
    settings = run(database, school.change, COMMAND_LINE, SettingsChange(pass_mark=40.5), now())
    assert settings.pass_mark == 40.5
    own = run(database, marks.change, COMMAND_LINE, "Mathematics", CourseSettingsChange(full_mark=80.0), now())
    assert (own.in_force.pass_mark, own.in_force.full_mark) == (40.5, 80)
    run(database, course_commands.delete, COMMAND_LINE, course.id, now())
    run(database, erasure.erase_another, COMMAND_LINE, rae, now())
    assert sorted(entries(database)[:4]) == sorted(
        [
            (None, "account.registered", ada),
            (None, "account.registered", rae),
            (None, "account.role-changed", rae),
            (None, "account.password-set", rae),
        ]
    )
    assert [action for _, action, _ in entries(database)[4:]] == [
        "course.created",
        "course.changed",
        "settings.changed",
        "course.settings-changed",
        "course.deleted",
        "account.erased",
    ]
    with pytest.raises(CourseNotFound), database.read_transaction() as tx:
        courses.get(tx, course.id)
    with pytest.raises(LastAdministrator):
        run(database, commands.change, COMMAND_LINE, ada, role="user", now=now())


def test_an_administrator_who_has_signed_out_does_nothing(database: Database):
    ada, rae = register(database, ADA), register(database)
    former = Caller(ada, "admin", bucket_of(ada, database.buckets), new_id())
    before = entries(database)
    for f, arguments in (
        (registration.register, (Registration("eve", "eve@example.org", PASSWORD), HASH, now())),
        (course_commands.create, (MATHEMATICS, now())),
        (course_commands.delete, ("Mathematics", now())),
        (school.change, (SettingsChange(pass_mark=1), now())),
        (marks.change, ("Mathematics", CourseSettingsChange(pass_mark=1), now())),
        (erasure.erase_another, (rae, now())),
        (data_export.record, (rae, now())),
    ):
        with pytest.raises(Unauthenticated):
            run(database, f, former, *arguments)
    with pytest.raises(Unauthenticated):
        run(database, commands.change, former, rae, role="admin", now=now())
    with pytest.raises(OwnAccount):
        run(database, erasure.erase_another, former, ada, now())
    assert entries(database) == before


def test_nobody_registers_themselves_as_a_second_administrator(database: Database):
    """Whatever the caller of the function has checked."""
    first = run(database, registration.register_self, ADA, HASH, ADDRESS, now())
    assert entries(database) == [(first, "account.registered", first)]
    eve = Registration("eve", "eve@example.org", PASSWORD, "admin")
    with pytest.raises(RegistrationClosed):
        run(database, registration.register_self, eve, HASH, ADDRESS, now())
    run(database, registration.register_self, RAE, HASH, ADDRESS, now())
    assert len(entries(database)) == 1, "a learner's own registration is not an administrative action"


def test_signs_in_refreshes_and_signs_out(database: Database, services: Services):
    rae = register(database)

    async def use() -> None:
        tokens = await login.sign_in(services, " rae ", PASSWORD, ADDRESS)
        assert tokens.account_id == rae
        again = await login.refresh(services, tokens.refresh_token)
        caller = services.token_verifier.verify(again.access_token)
        assert (caller.id, caller.role) == (rae, "user")
        await login.sign_out(services, caller)
        with pytest.raises(Unauthenticated):
            services.token_verifier.verify(again.access_token)

    asyncio.run(use())
    assert counted(database) == 0


def test_a_wrong_password_and_an_unknown_name_are_the_same_error(database: Database, services: Services):
    rae = register(database)
    for name, account in (("rae", rae), ("nobody", None)):
        with pytest.raises(InvalidCredentials) as caught:
            asyncio.run(login.sign_in(services, name, "wrong", ADDRESS))
        assert caught.value.account == account, "which is for the log"


def test_a_password_that_changes_after_it_was_verified_is_wrong(database: Database, services: Services):
    rae = register(database)

    async def sign_in_late() -> None:
        async with login.authenticate(services, "rae", PASSWORD, ADDRESS) as verified:
            new_hash = await verified.slot.hash(NEW)
            await database.write(commands.change, COMMAND_LINE, rae, password_hash=new_hash, now=now())
            await database.write(login.sign_ins.start, verified.account, verified.attempt, now())

    with pytest.raises(InvalidCredentials):
        asyncio.run(sign_in_late())
    assert asyncio.run(login.sign_in(services, "rae", NEW, ADDRESS)).account_id == rae


def test_an_attempt_counts_until_it_succeeds_or_could_not_be_made(database: Database, services: Services):
    register(database)

    async def fail(error: Exception) -> None:
        async with login.authenticate(services, "rae", PASSWORD, ADDRESS):
            raise error

    with pytest.raises(InvalidCredentials):
        asyncio.run(fail(InvalidCredentials()))
    after_failure = counted(database)
    assert after_failure > 0
    with pytest.raises(TooManyRequests):
        asyncio.run(fail(TooManyRequests(1)))
    assert counted(database) == after_failure


def test_an_outdated_hash_is_renewed_once(database: Database, services: Services):
    outdated = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    rae = register(database, password_hash=outdated)

    async def sign_in_at_once() -> None:
        await asyncio.gather(*(login.sign_in(services, "rae", PASSWORD, ADDRESS) for _ in range(3)))

    asyncio.run(sign_in_at_once())
    with database.read_transaction() as tx:
        credentials = accounts.credentials_of(tx, rae)
    assert credentials is not None
    assert passwords.is_current(str(credentials.password_hash))
    assert not run(database, password_hashes.renew, rae, outdated, HASH), "the outdated hash is no longer stored"
